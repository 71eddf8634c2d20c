"""Plain text made safe to speak, and cut into sentences.

Works on any script: the classes come from the Unicode character database, through the `regex` package.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterator, Sequence

import regex

MAX_WEIGHT = 300
"""About the letters in the longest piece: 20 seconds of speech, 10–15 ms of computing."""

OPENING = (20, 60, 180)
"""Where somebody listens: the first pieces end with the first clause of so many letters at least, so that sound comes
soon. Each is about three times as long as the one before, so that an engine that takes up to a third of the time of
what it says keeps ahead of the listener. espeak-ng says a clause that stands alone as it says it in its sentence."""

_LOOK_AHEAD = 64
"""Letters behind a piece that is too long which may still tell where to cut it."""

_CONTROLS = regex.compile(
    r"[\p{Cs}\p{Cn}"
    r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # C0 and C1; \x01 starts espeak's own commands
    r"\u00ad\u200b\u200e\u200f\u2060-\u206f\u202a-\u202e\u061c\ufeff\ufff0-\uffff\U000e0000-\U000e0fff"
    # Private use, but for Klingon's conventional place: espeak uses U+E000–E0FF for commands of its own.
    r"\ue000-\uf8cf\U000f0000-\U0010ffff]"
)
_LINE_ENDS = regex.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPEAKABLE = regex.compile(r"[\p{L}\p{N}\p{S}\p{Co}]")

_CLOSERS = r"[\p{Pe}\p{Pf}\"'”’»]*"
_SENTENCE_END = regex.compile(
    rf"[.!?…]+{_CLOSERS}(?=\s|$)"  # Latin, Greek, Cyrillic: followed by a space, or it is "3.14" or "?q="
    rf"|(?![.!?…])\p{{Sentence_Break=STerm}}+{_CLOSERS}"  # 。！？।॥؟۔። and the like need no space after them
    rf"|[。．｡]+{_CLOSERS}"
    r"|\n\s*(?!\p{Ll})(?=\S)"  # a line break, unless the sentence plainly goes on in the next line
    r"|\n\s*\n"
)
_CLAUSE_END = regex.compile(rf"[,;:—–،؛、，；：]{_CLOSERS}(?=\s|(?<=[、，；：،؛]))")
_SPACE = regex.compile(r"\s+")
_NO_SPACE = regex.compile(r"\S")
_GRAPHEME = regex.compile(r"\X")
_ABBREVIATION = regex.compile(
    r"(?:^|[\s(\p{Ps}])(?:\p{L}|(?:Mr|Mrs|Ms|Dr|Prof|Rev|Gen|Col|Capt|Sgt|Lt|St|Sr|Jr|Mt|No|Nr|vs|etc|cf|ca|approx|Fig"
    r"|Inc|Ltd|Co|bzw|Hr|Fr|Sra|Sta|Mme|Mlle|e\.g|i\.e|z\.B|d\.h|p\.ej|\p{L}\.\p{L}))\.$"
)
_LAST_WORD = regex.compile(r"(?:^|[\s(\p{Ps}])([\p{L}.]{2,9})\.$")


@functools.cache
def _titles() -> frozenset[str]:
    """What stands before a name or a number and so ends no sentence. English alone: in other languages the lists hold
    words that end many ("in", "on")."""
    from pysbd.lang.english import English

    return frozenset(English.Abbreviation.PREPOSITIVE_ABBREVIATIONS)


def _ends_with_abbreviation(text: str) -> bool:
    last = text[-12:]
    if _ABBREVIATION.search(last):
        return True
    word = _LAST_WORD.search(last)
    return word is not None and word.group(1).lower() in _titles()


def clean(text: str) -> str:
    """`text` without what has no sound and may upset an engine.

    Control characters, lone surrogates, unassigned and private-use characters, bidirectional controls, byte-order marks
    and tag characters go; joiners stay, because Indic scripts, Persian and emoji are spelt with them.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))


def is_speakable(text: str) -> bool:
    """Whether there is a letter, digit or symbol in it; punctuation alone has no sound."""
    return _SPEAKABLE.search(text) is not None


def ends_sentence(text: str) -> bool:
    """Whether a full stop or its like closes `text`."""
    stripped = text.rstrip()
    ends = [found.end() for found in _SENTENCE_END.finditer(stripped, max(0, len(stripped) - 12))]
    return bool(ends) and ends[-1] == len(stripped) and not _ends_with_abbreviation(stripped)


def weight(text: str) -> int:
    """How long `text` takes to say, in letters of an alphabet: "7" and "語" are words, "🎉" is two."""
    return len(text) if text.isascii() and not _HEAVY.search(text) else sum(map(_character_weight, text))


_HEAVY = regex.compile(r"[0-9$%&+<=>@#^|~]")
_WEIGHTS = {"So": 10, "Sm": 6, "Sc": 6, "Sk": 6, "Nd": 5, "No": 6, "Nl": 6, "Lo": 2}


def _character_weight(character: str) -> int:
    return _WEIGHTS.get(unicodedata.category(character), 1)


def split(text: str, *, opening: Sequence[int] = ()) -> Iterator[str]:
    """Cuts cleaned `text` into pieces of a sentence each, `MAX_WEIGHT` at the most; joined, they are `text`.

    A sentence that is too long is cut after a clause, else at a space, else between graphemes. `opening`: the letters
    with which the first pieces may end with a clause already, such as `OPENING`.
    """
    position = 0
    for least in itertools.chain(opening, itertools.repeat(None)):
        if position >= len(text):
            return
        end = piece_end(text, position, least)
        yield text[position:end]
        position = end


def piece_end(text: str, start: int, least: int | None = None) -> int:
    """Where the piece from `start` ends. least: the letters with which it may end with a clause; None: it may not."""
    return _piece_end(text, start, least)[0]


def settled_end(text: str, start: int, least: int | None = None) -> int | None:
    """`piece_end` of a text that is still being written; None where what follows may change it.

    A full stop may turn out to belong to a number, an abbreviation or a row of dots, a closing quote may follow.
    """
    end, settled = _piece_end(text, start, least)
    return end if settled and _NO_SPACE.search(text, end) else None


def _piece_end(text: str, start: int, least: int | None) -> tuple[int, bool]:
    """The end, and whether it is one however the text goes on behind the next letter."""
    horizon = _horizon(text, start)
    end = _sentence_end(text, start, horizon)
    settled = end is not None or len(text) > horizon + _LOOK_AHEAD
    if end is None:
        end = len(text) if horizon == len(text) else _forced_end(text, start, horizon)
    clause = None if least is None else _CLAUSE_END.search(text, start + least - 1, end)
    return (end, settled) if clause is None else (clause.end(), True)


def _horizon(text: str, start: int) -> int:
    """The furthest that a piece from `start` may reach."""
    window = text[start : start + MAX_WEIGHT]
    if weight(window) <= MAX_WEIGHT:
        return start + len(window)
    total = 0
    for index, character in enumerate(window):
        total += _character_weight(character)
        if total > MAX_WEIGHT:
            return start + max(index, 1)
    return start + len(window)


def _sentence_end(text: str, start: int, horizon: int) -> int | None:
    # A little further than the horizon, to see what follows; to search the whole text each time would be quadratic.
    for found in _SENTENCE_END.finditer(text, start, min(len(text), horizon + 8)):
        if found.end() > horizon:
            return None
        piece = text[start : found.end()]
        if is_speakable(piece) and not _is_abbreviation(text, found, piece):
            return found.end()
    return None


def _is_abbreviation(text: str, found: regex.Match[str], piece: str) -> bool:
    if not found.group().startswith(".") or found.group() != ".":
        return False
    following = text[found.end() : found.end() + 3].strip()
    return following[:1].islower() or (bool(following) and _ends_with_abbreviation(piece))


def _forced_end(text: str, start: int, horizon: int) -> int:
    half = start + (horizon - start) // 3
    return (
        _last_end(_CLAUSE_END, text, half, horizon)
        or _last_end(_SPACE, text, start + 1, horizon)
        or _grapheme_end(text, start, horizon)
    )


def _last_end(pattern: regex.Pattern[str], text: str, start: int, end: int) -> int | None:
    last = None
    for found in pattern.finditer(text, start, end):
        last = found.end()
    return last


def _grapheme_end(text: str, start: int, horizon: int) -> int:
    """The last boundary between graphemes up to `horizon`; one that is longer than the whole piece is cut."""
    last = start
    for found in _GRAPHEME.finditer(text, start, min(len(text), horizon + _LOOK_AHEAD)):
        if found.end() > horizon:
            break
        last = found.end()
    return last if last > start else horizon
