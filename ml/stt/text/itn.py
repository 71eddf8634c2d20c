"""Inverse text normalisation: what was said as words is written as people write it, "twenty three" as "23".

Each language has a `Normalizer` that says which words become what; the stage joins those words into one, which lasts
from the first's start to the last's end. English and Hindi have grammars of their own, further languages their numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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
        rules = normalizer(primary_language(recognition.language))
        if rules is None:
            return recognition
        return map_words(recognition, lambda words: apply(words, rules.rewrites(words)))


@functools.lru_cache(maxsize=32)
def normalizer(language: str) -> Normalizer | None:
    """The rules of a language (ISO 639-1), or None where there are none."""
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
    rules = normalizer(language)
    words = [Word(part, 0.0, 0.0, 1.0) for part in text.split()]
    return " ".join(word.text for word in (apply(words, rules.rewrites(words)) if rules else words))
