"""What every recogniser offers: its capabilities, and windows in, hypotheses out.

An engine knows nothing of files, pauses or formats: the pipeline cuts the audio, and decides by `EngineCapabilities`
alone which of its stages an engine makes unnecessary. One `recognise` call is one batch, which may mix requests of
several callers, so each `Window` carries its own language and hints.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ml.types import PcmSamples, Word


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    languages: frozenset[str]  # ISO 639-1, e.g. {"en"}
    max_window_seconds: float = 30.0
    max_batch: int = 1  # windows that one call computes together
    concurrency: int = 1  # calls that run side by side without slowing each other down
    word_times: bool = False
    word_confidences: bool = False
    noise_confidence: float = 0.0  # a hypothesis under this was noise, by measurement, not words
    noise_word_confidence: float = 0.0  # and so was a word under this, where an utterance lies in noise
    punctuation: bool = False
    casing: bool = False
    inverse_normalization: bool = False  # writes "23", not "twenty three"
    translation: bool = False  # into English
    language_detection: bool = False
    prompt: bool = False
    hotwords: bool = False
    streaming: bool = False
    lead_seconds: float = 0.0  # of sound before live speech, where more than the usual padding helps
    settled_seconds: float = 0.6  # a word of live speech that ended so long ago seldom changes
    alternatives: bool = False  # gives a window's next best hypotheses, with scores
    confidence_map: tuple[tuple[float, float], ...] = ()  # (own confidence, share of words right), both rising
    device: str = "cpu"  # or cuda:<n>: where it computes


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of speech to recognise, with what its request says about it."""

    samples: PcmSamples  # (T,) int16, 16 kHz mono, often a read-only view of a mapped file
    language: str | None = None  # ISO 639-1; None: the engine detects it
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    alternatives: int = 0  # how many hypotheses are wanted besides, where the engine can


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What one window says; no speech is an empty text without words."""

    text: str
    words: tuple[Word, ...]  # seconds from the start of the window
    confidence: float  # 0–1, comparable within an engine only
    language: str | None = None  # ISO 639-1, where the engine detected it
    language_confidence: float | None = None
    score: float | None = None  # natural logarithm, in the scale of a language model; compares those of one window
    alternatives: tuple[
        Hypothesis, ...
    ] = ()  # the n-best with scores, this one's text among them; words may be missing


@runtime_checkable
class Recognizer(Protocol):
    """A loaded engine. Safe to call from several threads."""

    @property
    def capabilities(self) -> EngineCapabilities: ...

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        """One hypothesis a window, in order; a window's result does not depend on its batch-mates or on earlier calls.

        Raises `Cancelled`, `EngineFailed`.
        """
        ...

    def close(self) -> None:
        """Frees what the engine holds. No call is under way, and none follows."""
        ...
