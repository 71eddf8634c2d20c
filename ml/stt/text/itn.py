"""Inverse text normalisation: what was said as words is written as people write it, "twenty three" as "23".

Each language has a `Normalizer` that says which words become what; the stage joins those words into one, which lasts
from the first's start to the last's end. English and Hindi have rules of their own, further languages their numbers;
`ml.grammars` may do it instead.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ml import grammars
from ml.stt.engines.base import EngineCapabilities
from ml.stt.registry import primary_language
from ml.stt.stages import Recognition, forced, wanted
from ml.stt.text.tokens import map_words, merge, split_marks
from ml.types import TranscriptionOptions, Word


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Words [start, end) are written as `text`, without the marks around them."""

    start: int
    end: int
    text: str


class Normalizer(Protocol):
    def rewrites(self, words: Sequence[Word]) -> list[Rewrite]:
        """In order and without overlap; each covers at least one word."""
        ...


@dataclass(frozen=True, slots=True)
class InverseNormalization:
    name: str = "itn"

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        return wanted(self.name, options) and (not capabilities.inverse_normalization or forced(self.name, options))

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition:
        found = normalizer(primary_language(recognition.language))
        if found is None:
            return recognition
        return map_words(recognition, lambda words: apply(words, found.rewrites(words)))


def normalizer(language: str) -> Normalizer | None:
    """Of a language (ISO 639-1), or None: a grammar where one is wanted and ready, else our rules."""
    own = rules(language)
    grammar = grammars.ready("itn", language)
    if grammar is None:
        return own
    from ml.stt.text.itn_grammar import GrammarNormalizer

    return GrammarNormalizer(grammar, own)


@functools.lru_cache(maxsize=32)
def rules(language: str) -> Normalizer | None:
    """Our own, which are always there."""
    from ml.stt.text.itn_english import EnglishNormalizer
    from ml.stt.text.itn_hindi import HindiNormalizer
    from ml.stt.text.numbers import SPOKEN_NUMBER_LANGUAGES, NumberNormalizer

    if language == "en":
        return EnglishNormalizer()
    if language == "hi":
        return HindiNormalizer()
    return NumberNormalizer(language) if language in SPOKEN_NUMBER_LANGUAGES else None


def apply(words: Sequence[Word], rewrites: Sequence[Rewrite]) -> list[Word]:
    """The words as rewritten; the marks before a rewrite's first word and behind its last stay."""
    written: list[Word] = []
    done = 0
    for rewrite in rewrites:
        written += words[done : rewrite.start]
        replaced = words[rewrite.start : rewrite.end]
        before, after = split_marks(replaced[0].text)[0], split_marks(replaced[-1].text)[2]
        if rewrite.text.endswith(".") and after.startswith("."):
            after = after[1:]
        written.append(merge(replaced, before + rewrite.text + after))
        done = rewrite.end
    return [*written, *words[done:]]


def normalize(text: str, language: str) -> str:
    """A line of text, for tests and tools."""
    found = normalizer(language)
    words = [Word(part, 0.0, 0.0, 1.0) for part in text.split()]
    return " ".join(word.text for word in (apply(words, found.rewrites(words)) if found else words))
