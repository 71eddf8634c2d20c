"""How a live session hears, and when it takes an utterance to have ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from ml import errors
from ml.audio.decode import SAMPLE_RATE
from ml.audio.stream import Encoding
from ml.types import TranscriptionOptions


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When an utterance ends. Seconds, but for the thresholds, which are probabilities of speech."""

    enabled: bool = True  # False: only `finalize` ends one, and its length
    silence_seconds: float = 0.5  # 0.1–5: after speech
    max_utterance_seconds: float = 20.0  # 2–30, and no longer than the model can hear at once
    utterance_end_seconds: float | None = None  # 0.2–30: tell `UtteranceEnd` after so long without a word
    min_speech_seconds: float = 0.1  # shorter bursts are clicks
    padding_seconds: float = 0.3  # kept around speech
    threshold: float = 0.5
    end_threshold: float = 0.35

    def check(self) -> None:
        """Raises `InvalidRequest`."""
        _check("silence_seconds", self.silence_seconds, 0.1, 5)
        _check("max_utterance_seconds", self.max_utterance_seconds, 2, 30)
        _check("threshold", self.threshold, 0.05, 0.95)
        if self.utterance_end_seconds is not None:
            _check("utterance_end_seconds", self.utterance_end_seconds, 0.2, 30)


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What a session is started with. Verified by `LiveRecognizer.start`."""

    transcription: TranscriptionOptions = field(default_factory=TranscriptionOptions)
    encoding: Encoding = "pcm_s16le"
    sample_rate: int = SAMPLE_RATE  # hertz, 8,000–48,000; Opus says its own
    interim_results: bool = True  # tell `Partial`
    endpointing: Endpointing = field(default_factory=Endpointing)
    max_seconds: float | None = None  # of audio; the session then ends as `too_long`
    buffer_seconds: float = 5.0  # of audio that may wait to be heard

    def check(self) -> None:
        """Raises `InvalidRequest` for what a live session cannot do."""
        self.endpointing.check()
        for name, unfit in (
            ("diarize", self.transcription.diarize),
            ("reference_audio", self.transcription.reference_audio is not None),
        ):
            if unfit:
                raise errors.InvalidRequest("This is done to recordings only, not to live speech.", param=name)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise errors.InvalidRequest(f"{name} must be between {low:g} and {high:g}.", param=name)
