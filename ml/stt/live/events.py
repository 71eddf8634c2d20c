"""What a live session tells, in order. Times are seconds of the audio heard, from its start; segments count from 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml.types import Word

CloseReason = Literal["stopped", "aborted", "failed", "too_long"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded; sound may have been pushed before."""

    model: str
    language: str  # BCP-47


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody began to speak. A `Final` of the segment follows."""

    segment: int
    start: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The segment has ended, and its `Final` is being made."""

    segment: int
    end: float
    cut: bool  # it was too long: the speaker goes on


@dataclass(frozen=True, slots=True)
class Partial:
    """What is understood so far, as heard: without the marks, capitals and digits that a `Final` gets.

    `text` begins with `stable`, which every later `Partial` of the segment begins with too, and whose words the
    `Final` says as well. `words` are those of `text`, where the engine gives times.
    """

    segment: int
    text: str
    stable: str
    start: float
    end: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Final:
    """What was said, as a file's transcription writes it. `text` is empty where the sound was no speech after all."""

    segment: int
    text: str
    start: float
    end: float
    confidence: float
    words: tuple[Word, ...]
    language: str  # BCP-47
    language_confidence: float
    model: str
    fallback_reason: str | None = None


@dataclass(frozen=True, slots=True)
class UtteranceEnd:
    """Nobody has spoken for `Endpointing.utterance_end_seconds` since the last word."""

    last_word_end: float


@dataclass(frozen=True, slots=True)
class Finalized:
    """A `finalize` is done: all finals up to it have been told."""

    at: float


@dataclass(frozen=True, slots=True)
class Cleared:
    """A `clear` is done: what was heard up to it belongs to no utterance any more, unless it was final before."""

    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The session cannot go on; `Closed` follows. Finals that were told stand."""

    error: Exception  # an `MlError`, or what `on_heard` raised


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event, always."""

    reason: CloseReason
    audio_seconds: float  # heard


LiveEvent = Ready | SpeechStarted | SpeechEnded | Partial | Final | UtteranceEnd | Finalized | Cleared | Failed | Closed
