"""Numbers in a row of words: cardinals, ordinals and decimals by text2num, telephone-like digits by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ml.stt.text.itn import Rewrite
from ml.stt.text.tokens import split_marks
from ml.types import Word

SPOKEN_NUMBER_LANGUAGES = frozenset({"en", "fr", "es", "pt", "de", "it", "nl", "ca"})
"""Those that text2num reads."""

SPELLED_UP_TO = 12
"""Whole numbers up to here stay words unless a unit stands beside them, as style guides have it."""

_SEPARATING_PAUSE_SECONDS = 0.6


@dataclass(frozen=True, slots=True)
class Item:
    """A word, or words that make a number; both by their place in the row of words."""

    start: int
    end: int
    core: str  # lower case, without marks
    closed: bool  # a mark follows
    value: float | None = None
    digits: str = ""  # as text2num writes the value: "05", "3.2", "21st"
    ordinal: bool = False

    @property
    def whole(self) -> int | None:
        """The value of a cardinal without decimals."""
        if self.value is None or self.ordinal or self.value != int(self.value) or "." in self.digits:
            return None
        return int(self.value)


class _Token:
    """What text2num asks of a word."""

    def __init__(self, word: Word, previous: Word | None) -> None:
        self._core = "o" if core(word) == "oh" and previous is not None else core(word)  # nineteen oh five
        self._separated = previous is not None and (
            bool(split_marks(previous.text)[2]) or word.start - previous.end >= _SEPARATING_PAUSE_SECONDS
        )

    def text(self) -> str:
        return self._core

    def nt_separated(self, previous: _Token) -> bool:
        return self._separated

    def not_a_number_part(self) -> bool:
        return False


class NumberNormalizer:
    """Nothing but numbers, for languages without a grammar of their own."""

    def __init__(self, language: str) -> None:
        self._language = language

    def rewrites(self, words: Sequence[Word]) -> list[Rewrite]:
        items = read_items(words, self._language)
        return [
            Rewrite(item.start, item.end, item.digits)
            for item in items
            if item.value is not None and (item.value > SPELLED_UP_TO or item.value != int(item.value))
        ]


def core(word: Word) -> str:
    return split_marks(word.text)[1].lower()


def read_items(words: Sequence[Word], language: str) -> list[Item]:
    """The words with their numbers found, in order."""
    from text_to_num import find_numbers

    tokens = [_Token(word, words[index - 1] if index else None) for index, word in enumerate(words)]
    found = {number.start: number for number in find_numbers(tokens, language, 0.0)}
    items: list[Item] = []
    at = 0
    while at < len(words):
        number = found.get(at)
        end = number.end if number else at + 1
        closed = bool(split_marks(words[end - 1].text)[2])
        text = " ".join(core(word) for word in words[at:end])
        if number:
            items.append(_scaled(items, Item(at, end, text, closed, number.value, number.text, number.is_ordinal)))
        else:
            items.append(Item(at, end, text, closed))
        at = end
    return items


def _scaled(items: list[Item], item: Item) -> Item:
    """Two point five, million → 2.5 million: text2num leaves decimals apart from what multiplies them."""
    before = items[-1] if items else None
    if (
        before is None
        or before.closed
        or "." not in before.digits
        or item.core not in ("million", "billion", "trillion")
    ):
        return item
    items.pop()
    value = (before.value or 0.0) * (item.value or 0.0)
    return Item(
        before.start, item.end, f"{before.core} {item.core}", item.closed, value, f"{before.digits} {item.core}"
    )


_MILLION, _BILLION, _TRILLION = 10**6, 10**9, 10**12
_SCALES = ((_TRILLION, "trillion"), (_BILLION, "billion"), (_MILLION, "million"))


def write_number(item: Item) -> str:
    """ "3.2 million", "25,000", "2024", "0.5", "21st"."""
    whole = item.whole
    if whole is None or item.digits.startswith("0"):
        return item.digits
    for scale, name in _SCALES:
        if whole >= scale and whole % (scale // 10) == 0:
            return f"{whole / scale:g} {name}"
    return f"{whole:,}" if whole >= 10_000 else str(whole)


def write_digits(digits: str) -> str:
    """Grouped as telephone numbers are, where the length is one of theirs."""
    if len(digits) == 7:
        return f"{digits[:3]}-{digits[3:]}"
    if len(digits) == 10:
        return f"{digits[:3]}-{digits[3:6]}-{digits[6:]}"
    if len(digits) == 11 and digits[0] == "1":
        return f"1-{digits[1:4]}-{digits[4:7]}-{digits[7:]}"
    return digits


PHONE_DIGITS = 7
CODE_DIGITS = 3


def is_counting(digits: str) -> bool:
    """ "one two three" counts; "three four seven" is a code."""
    steps = {int(b) - int(a) for a, b in itertools.pairwise(digits)}
    return steps in ({1}, {-1})
