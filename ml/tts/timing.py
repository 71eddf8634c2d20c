"""When each word is said: as the engine tells, or estimated from how long words take to say.

An estimate spreads the words over the stretch that is not silent, by the letters that each takes to say and the pauses
that punctuation makes, and moves each border to the softest moment near it.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ml.tts import text as plain
from ml.tts.script import Run, Utterance
from ml.types import PcmSamples

Span = tuple[int, int]
"""Characters of an utterance's text, from and to."""

_WORD = regex.compile(r"\S+")
_EDGES = regex.compile(r"^[\p{P}\p{Z}]+|[\p{P}\p{Z}]+$")
_FRAME_SECONDS = 0.01
_SNAP_FRAMES = 6
_SILENCE = 0.01  # of the loudest frame's amplitude: −40 dB
_PAUSES = {",": 3.0, ";": 4.0, ":": 4.0, "—": 4.0, ".": 6.0, "!": 6.0, "?": 6.0, "।": 6.0, "。": 6.0, "，": 3.0}
"""In letters, behind a word that ends so."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of an utterance."""

    span: Span
    start: float  # seconds from the utterance's beginning
    end: float


@dataclass(frozen=True, slots=True)
class Sound:
    """An utterance, spoken."""

    samples: PcmSamples
    words: tuple[TimedWord, ...] = ()  # where they were asked for
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class WeightedWord:
    span: Span
    weight: float  # letters that it takes to say
    pause: float  # letters' worth of silence behind it


def words_of(text: str) -> list[Span]:
    """Where its words stand, without the punctuation around them; what has no sound is no word."""
    return [found.span() for found in _WORD.finditer(text) if plain.is_speakable(found.group())]


def bare(word: str) -> str:
    """Without the punctuation around it."""
    return _EDGES.sub("", word) or word


def weigh(utterance: Utterance) -> list[WeightedWord]:
    """An utterance's words, by what is said for them."""
    text = utterance.source
    letters = np.concatenate([[0.0], np.cumsum([share for run in utterance.runs for share in _shares(run)])])
    return [
        WeightedWord((start, end), max(1.0, float(letters[end] - letters[start])), _PAUSES.get(text[end - 1], 0.5))
        for start, end in words_of(text)
    ]


def _shares(run: Run) -> list[float]:
    """What each character of a run's text takes to say, in letters."""
    if run.spoken is None:
        return [float(plain.weight(character)) for character in run.text]
    return [plain.weight(run.spoken) / max(1, len(run.text))] * len(run.text)


# ── Estimating ──────────────────────────────────────────────────────────────────────────────────────────────────────


def estimate(samples: PcmSamples, rate: int, words: Sequence[WeightedWord]) -> list[TimedWord]:
    """samples: shape (T,), int16, at `rate` hertz, in which `words` are said in order."""
    if not words or not len(samples):
        return []
    loudness = _loudness(samples, rate)
    first, last = _heard(loudness)
    total = sum(word.weight + word.pause for word in words) - words[-1].pause
    scale = (last - first) / total
    timed, position, start = [], first, first
    for number, word in enumerate(words):
        end = _softest(loudness, position + word.weight * scale, start) if number + 1 < len(words) else last
        position += (word.weight + word.pause) * scale
        timed.append(TimedWord(word.span, start * _FRAME_SECONDS, max(start, end) * _FRAME_SECONDS))
        start = max(end, position if word.pause > 1 else end)
    return timed


def _loudness(samples: PcmSamples, rate: int) -> np.ndarray:
    """Of frames of 10 ms: shape (frames,), amplitude."""
    size = max(1, round(rate * _FRAME_SECONDS))
    padded = np.zeros(-(-len(samples) // size) * size, dtype=np.float32)
    padded[: len(samples)] = samples
    return np.sqrt((padded.reshape(-1, size) ** 2).mean(axis=1))


def _heard(loudness: np.ndarray) -> tuple[float, float]:
    """The first frame that is not silent, and the frame behind the last."""
    loud = np.flatnonzero(loudness > max(1.0, _SILENCE * float(loudness.max())))
    return (float(loud[0]), float(loud[-1] + 1)) if len(loud) else (0.0, float(len(loudness)))


def _softest(loudness: np.ndarray, near: float, after: float) -> float:
    low = max(int(after) + 1, round(near) - _SNAP_FRAMES)
    high = min(len(loudness), round(near) + _SNAP_FRAMES + 1)
    return float(low + np.argmin(loudness[low:high])) if high > low else max(near, after)


# ── From an engine's events ─────────────────────────────────────────────────────────────────────────────────────────


def from_events(text: str, events: Sequence[tuple[int, float]], ends: Sequence[float]) -> tuple[TimedWord, ...]:
    """events: (character of `text`, seconds) where the engine began a word; ends: seconds where it ended a clause.

    Words for which it told nothing share the time of the word before them.
    """
    spans = words_of(text)
    starts: list[float | None] = [None] * len(spans)
    firsts = [start for start, _ in spans]
    for position, seconds in events:
        index = bisect.bisect_right(firsts, position) - 1
        if index >= 0 and starts[index] is None:
            starts[index] = seconds
    return tuple(_filled(spans, starts, sorted(ends)))


def _filled(spans: Sequence[Span], starts: Sequence[float | None], ends: Sequence[float]) -> list[TimedWord]:
    made: list[TimedWord] = []
    index = 0
    while index < len(spans):
        following = next((at for at in range(index + 1, len(spans)) if starts[at] is not None), len(spans))
        start = starts[index] if starts[index] is not None else (made[-1].end if made else 0.0)
        start = max(start or 0.0, made[-1].start if made else 0.0)
        limit = starts[following] if following < len(spans) else None
        clauses = [end for end in ends if start < end <= (ends[-1] if limit is None else limit)]
        end = clauses[-1] if clauses else start if limit is None else limit
        made += _shared(spans[index:following], start, max(start, end))
        index = following
    return made


def _shared(spans: Sequence[Span], start: float, end: float) -> list[TimedWord]:
    letters = sum(high - low for low, high in spans)
    made, position = [], start
    for low, high in spans:
        until = position + (end - start) * (high - low) / letters
        made.append(TimedWord((low, high), position, until))
        position = until
    return made
