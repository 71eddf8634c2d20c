"""A transcript in parts that a page can carry: a recording of hours has tens of thousands of words, each an element."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PART_WORDS = 400
"""What a part weighs at most, as some 35 kB of HTML: a page may have 200 kB, scripts and all."""
SEGMENT_WEIGHS = 5
"""As many words: its time, its speaker, in a form its label and its field."""
UNSURE, DOUBTFUL = 0.4, 0.7
"""Under these confidences words are marked."""

_RUN = re.compile(r"\S{1,20}\s*")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Part:
    """Some segments that follow each other; of a segment too long for any part, a stretch."""

    number: int  # from 1
    start: float  # seconds
    segment: int  # the place of the segment in which it begins, and of the word in that
    word: int
    weight: int  # in words


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float  # seconds
    end: float
    confidence: float
    marks: str  # classes


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment, or as much of one as its part holds."""

    place: int  # of the segment
    start: float  # seconds
    end: float
    speaker: str
    text: str
    words: tuple[Word, ...]  # none where the engine gave none, or somebody wrote the text anew

    @property
    def number(self) -> int:
        return self.place + 1


def parts(segments: Sequence[dict[str, Any]], *, whole: bool = False) -> list[Part]:
    """Segments stay whole as long as one fits a part. whole: all of them do, as they are corrected."""
    cuts: list[tuple[int, int, int]] = []  # segment, word, weight
    room = 0
    for place, segment in enumerate(segments):
        size = _size(segment)
        if size + SEGMENT_WEIGHS > room:
            begins = range(0, 1 if whole else size or 1, PART_WORDS)
            cuts += [(place, at, min(size - at, PART_WORDS) + SEGMENT_WEIGHS) for at in begins]
            room = PART_WORDS - cuts[-1][2]
        else:
            cuts[-1] = (*cuts[-1][:2], cuts[-1][2] + size + SEGMENT_WEIGHS)
            room -= size + SEGMENT_WEIGHS
    return [
        Part(number, _start(segments[place], word), place, word, weight)
        for number, (place, word, weight) in enumerate(cuts, start=1)
    ]


def pieces(segments: Sequence[dict[str, Any]], found: Sequence[Part], number: int, q: str = "") -> list[Piece]:
    """What stands in a part, to be read. q: words that are marked."""
    wanted = _words(q)
    return [_piece(segments[place], place, begin, end, wanted) for place, begin, end in _reach(segments, found, number)]


def editable(segments: Sequence[dict[str, Any]], found: Sequence[Part], number: int) -> list[Piece]:
    """The segments of one of those parts that cut none."""
    places = [place for place, _begin, _end in _reach(segments, found, number)]
    return [
        Piece(place, each["start"], each["end"], each.get("speaker") or "", each["text"], ())
        for place, each in zip(places, segments[places[0] :], strict=False)
    ]


def part_with(segments: Sequence[dict[str, Any]], found: Sequence[Part], q: str) -> int:
    """The number of the part in which the first segment with the most of these words begins; 1 where there are none."""
    wanted = _words(q)
    hits = [len(wanted & _words(segment["text"])) for segment in segments] if wanted else []
    if not any(hits):
        return 1
    place = hits.index(max(hits))
    return max(part.number for part in found if (part.segment, part.word) <= (place, 0))


def _reach(
    segments: Sequence[dict[str, Any]], found: Sequence[Part], number: int
) -> Iterator[tuple[int, int, int | None]]:
    """(segment, its first word, the word after its last) of a part; None for the end of the segment."""
    part, following = found[number - 1], found[number : number + 1]
    last, stop = (following[0].segment, following[0].word) if following else (len(segments), 0)
    for place in range(part.segment, last + bool(stop)):
        yield place, part.word if place == part.segment else 0, stop if place == last else None


def _piece(segment: dict[str, Any], place: int, begin: int, end: int | None, wanted: frozenset[str]) -> Piece:
    words = segment.get("words") or []
    held = words[begin:end]
    return Piece(
        place=place,
        start=_start(segment, begin),
        end=held[-1]["end"] if held and end is not None else segment["end"],
        speaker=segment.get("speaker") or "",
        text="" if words else "".join(itertools.islice(_runs(segment["text"]), begin, end)),
        words=tuple(_marked(word, wanted) for word in held),
    )


def _marked(word: dict[str, Any], wanted: frozenset[str]) -> Word:
    confidence = word["confidence"]
    doubt = " word-unsure" if confidence < UNSURE else " word-doubtful" if confidence < DOUBTFUL else ""
    hit = " word-found" if wanted and wanted & _words(word["text"]) else ""
    return Word(word["text"], round(word["start"], 2), round(word["end"], 2), confidence, f"word{doubt}{hit}")


def _size(segment: dict[str, Any]) -> int:
    return len(segment.get("words") or ()) or sum(1 for _ in _runs(segment["text"]))


def _start(segment: dict[str, Any], word: int) -> float:
    words = segment.get("words")
    return words[word]["start"] if word and words else segment["start"]


def _runs(text: str) -> Iterator[str]:
    """A text without words in pieces that weigh as much as a word, also where its script has no spaces."""
    return (match[0] for match in _RUN.finditer(text))


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))
