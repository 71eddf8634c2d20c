"""Inverse normalisation by the optional grammars of `ml.grammars`, which cover more than our own: measures, fractions,
ordinals, addresses, telephone numbers.

A grammar writes a line of text; which words became what is found by comparing the two lines. Numbers end where a mark
stands, so that each stretch between marks is written by itself. Where the grammar fails, the rules of the language do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from ml import errors
from ml.grammars import Grammar
from ml.stt.text.itn import Normalizer, Rewrite
from ml.stt.text.numbers import core
from ml.stt.text.tokens import split_marks
from ml.types import Word

log = logging.getLogger(__name__)

_DIGITS = str.maketrans("०१२३४५६७८९", "0123456789")  # transcripts have 0–9 in every language, as the rules write them


class GrammarNormalizer:
    """`Normalizer` of any language that has a grammar."""

    def __init__(self, grammar: Grammar, rules: Normalizer | None) -> None:
        self._grammar = grammar
        self._rules = rules

    def rewrites(self, words: Sequence[Word]) -> list[Rewrite]:
        stretches = list(_stretches(words))
        try:
            written = self._grammar.write([" ".join(spoken) for _, spoken in stretches])
        except (errors.EngineFailed, errors.EngineUnavailable) as error:
            log.warning("grammar failed", extra={"error": str(error)})
            return self._rules.rewrites(words) if self._rules else []
        return [
            rewrite
            for (start, spoken), text in zip(stretches, written, strict=True)
            for rewrite in compare(start, spoken, text.translate(_DIGITS).split())
        ]


def compare(start: int, spoken: Sequence[str], written: Sequence[str]) -> Iterator[Rewrite]:
    """What became of the words that begin at `start`. Words that only vanished stay, and so does who counts aloud."""
    matcher = SequenceMatcher(None, spoken, written, autojunk=False)
    for kind, first, end, begin, last in matcher.get_opcodes():
        if kind == "replace" and not _counts(end - first, "".join(written[begin:last])):
            yield _unglued(Rewrite(start + first, start + end, " ".join(written[begin:last])), spoken[end - 1])


def _counts(words: int, written: str) -> bool:
    """Whether so many words are whole numbers one after another: "one two three" is no telephone number."""
    digits = re.sub(r"\D", "", written)
    rows = (range(int(digits[:length] or 0), 10**6)[:words] for length in (1, 2, 3))
    found = {"".join(map(str, row)) for row in rows}
    return words >= 3 and digits in found


def _unglued(rewrite: Rewrite, last: str) -> Rewrite:
    """Without a word that the grammar took for a part of the number: "twenty twenty four i" → "2024i"."""
    number = rewrite.text.removesuffix(last)
    glued = number != rewrite.text and last.isalpha() and re.search(r"\d$", number)
    return Rewrite(rewrite.start, rewrite.end - 1, number) if glued and rewrite.end > rewrite.start + 1 else rewrite


def _stretches(words: Sequence[Word]) -> Iterator[tuple[int, list[str]]]:
    """Words between marks, without them and in small letters, and the place of the first."""
    start = 0
    for place, word in enumerate(words):
        if split_marks(word.text)[2] or place + 1 == len(words):
            yield start, [core(each) for each in words[start : place + 1]]
            start = place + 1
