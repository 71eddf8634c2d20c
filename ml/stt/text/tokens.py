"""Segments as words and back: what the text stages change."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ml.stt.stages import Recognition
from ml.types import Segment, Word

_EDGES = re.compile(r"^([\"'“‘(¿¡]*)(.*?)([\"'”’),.;:!?।؟۔…]*)$", re.DOTALL)

UNSPACED_LANGUAGES = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue"})
"""Written without spaces between words: stages that work word by word leave them alone."""


def words_of(segment: Segment) -> list[Word] | None:
    """The words that the segment's text consists of; None where they cannot be told.

    A segment that came without words gets some without times of their own.
    """
    if not segment.words:
        return [Word(text, segment.start, segment.end, segment.confidence) for text in segment.text.split()]
    if segment.text.split() != " ".join(word.text for word in segment.words).split():
        return None
    return [replace(word, text=word.text.strip()) for word in segment.words]


def with_words(segment: Segment, words: Sequence[Word]) -> Segment:
    """The segment saying these words; it keeps none where it had none."""
    text = " ".join(word.text for word in words)
    return replace(segment, text=text, words=tuple(words) if segment.words else ())


def map_words(recognition: Recognition, change: Callable[[list[Word]], Sequence[Word]]) -> Recognition:
    """Changes the words of every segment whose words can be told."""
    segments = []
    for segment in recognition.segments:
        words = words_of(segment)
        segments.append(segment if words is None else with_words(segment, change(words)))
    return replace(recognition, segments=tuple(segments))


def merge(words: Sequence[Word], text: str) -> Word:
    """One word for several: from the first's start to the last's end, the confidence weighted by duration."""
    seconds = sum(word.end - word.start for word in words)
    weighted = sum(word.confidence * (word.end - word.start) for word in words)
    mean = weighted / seconds if seconds else sum(word.confidence for word in words) / len(words)
    return Word(text, words[0].start, words[-1].end, round(mean, 4))


def split_marks(text: str) -> tuple[str, str, str]:
    """Opening marks, the word itself, closing marks: "“Hello,”" → ("“", "Hello", ",”")."""
    match = _EDGES.match(text)
    return (match[1], match[2], match[3]) if match else ("", text, "")
