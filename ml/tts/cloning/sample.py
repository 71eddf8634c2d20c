"""Whether a voice can be learned from a recording, and the recording as engines get it: cut, cleaned and levelled."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ml import errors
from ml.audio.decode import SAMPLE_RATE, decode
from ml.stt import vad
from ml.stt.frontend import noise
from ml.stt.quality import score_quality
from ml.stt.vad import SpeechSpan
from ml.tts.cloning import speakers
from ml.types import PcmSamples

SPEECH_SECONDS = (5.0, 300.0)
LEAST_SNR_DB = 12.0
MOST_CLIPPING = 0.01

_PAUSE_SECONDS = 0.3  # that is left between two stretches of speech
_HELPED_DB = 3.0  # that the suppressor must gain for its result to be taken
_LEVEL_DB = -20.0  # of the speech, root mean square beside full scale
_PEAK = 0.95


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording that a voice can be learned from."""

    samples: PcmSamples  # (T,) at 16 kHz: the speech, with short pauses
    speech_seconds: float
    snr_db: float | None  # as it came; None: it has no pause to measure the noise in
    clipping_ratio: float
    denoised: bool
    speakers_told_by: Literal["embedding", "acoustic"]  # how it was found that there is one

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def examine(
    path: str | os.PathLike[str], *, max_duration_seconds: float = 900.0, cancel: threading.Event | None = None
) -> Sample:
    """Checks and cleans a recording of one speaker.

    Raises `SampleUnsuitable` with what to record differently; `AudioUndecodable`, `AudioEmpty`, `AudioTooLong`,
    `Cancelled`, `EngineFailed`.
    """
    with decode(Path(path), max_duration_seconds=max_duration_seconds, cancel=cancel) as audio:
        activity = vad.measure_activity(audio, cancel=cancel)
        seconds = vad.speech_seconds(activity)
        _check_length(seconds)
        quality = score_quality(activity, audio.source.clipping_ratio)
        _check_quality(quality.snr_db, quality.clipping_ratio)
        spans = vad.find_windows(activity)
        samples = np.array(audio.samples)
    told_by = _check_speakers(samples, spans)
    cleaned, denoised = _denoised(samples, quality.snr_db, cancel)
    return Sample(
        samples=_levelled(_cut(cleaned, spans)),
        speech_seconds=round(seconds, 2),
        snr_db=None if quality.snr_db is None else round(quality.snr_db, 1),
        clipping_ratio=round(quality.clipping_ratio, 5),
        denoised=denoised,
        speakers_told_by=told_by,
    )


def _check_length(seconds: float) -> None:
    least, most = SPEECH_SECONDS
    if seconds < least:
        raise errors.SampleUnsuitable(
            f"The recording has {seconds:.1f} seconds of speech; record at least {least:g}, better 30, without music.",
            reason="sample_too_short",
        )
    if seconds > most:
        raise errors.SampleUnsuitable(
            f"The recording has {seconds:.0f} seconds of speech; send the best {most:g} of them at the most.",
            reason="sample_too_long",
        )


def _check_quality(snr_db: float | None, clipping_ratio: float) -> None:
    if clipping_ratio > MOST_CLIPPING:
        raise errors.SampleUnsuitable(
            f"{100 * clipping_ratio:.1f}% of the recording is clipped: record again with a lower gain, or farther from "
            "the microphone.",
            reason="sample_clipped",
        )
    if snr_db is not None and snr_db < LEAST_SNR_DB:
        raise errors.SampleUnsuitable(
            f"Speech stands only {max(snr_db, 0):.0f} dB out of the noise; {LEAST_SNR_DB:g} are needed: record in a "
            "quiet room, near the microphone.",
            reason="sample_noisy",
        )


def _check_speakers(samples: PcmSamples, spans: tuple[SpeechSpan, ...]) -> Literal["embedding", "acoustic"]:
    verdict = speakers.count([_piece(samples, span) for span in spans])
    if verdict.several:
        raise errors.SampleUnsuitable(
            "More than one person speaks in the recording: record one alone, with no one else and no television near.",
            reason="sample_several_speakers",
        )
    return verdict.told_by


def _denoised(samples: PcmSamples, snr_db: float | None, cancel: threading.Event | None) -> tuple[PcmSamples, bool]:
    """Cleaned where it is noisy, if that makes it less so: suppression hurts clean speech."""
    if snr_db is None or snr_db >= noise.MAX_SNR_DB or not noise.available():
        return samples, False
    cleaned = noise.suppress_samples(samples, cancel=cancel)
    detector = vad.SpeechDetector()
    probabilities = np.concatenate([detector.push(cleaned), detector.flush()])
    activity = vad.SpeechActivity(probabilities, vad.frame_powers(cleaned), len(cleaned) / SAMPLE_RATE)
    after = score_quality(activity, 0.0).snr_db
    return (cleaned, True) if after is not None and after >= snr_db + _HELPED_DB else (samples, False)


def _cut(samples: PcmSamples, spans: tuple[SpeechSpan, ...]) -> PcmSamples:
    """The speech, with pauses of `_PAUSE_SECONDS` at the most; what is said is never cut."""
    longest = round(_PAUSE_SECONDS * SAMPLE_RATE)
    parts: list[PcmSamples] = []
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        parts.append(_piece(samples, span))
        if following is not None:
            start = round(span.end * SAMPLE_RATE)
            parts.append(samples[start : min(round(following.start * SAMPLE_RATE), start + longest)])
    return np.concatenate(parts)


def _piece(samples: PcmSamples, span: SpeechSpan) -> PcmSamples:
    return samples[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)]


def _levelled(samples: PcmSamples) -> PcmSamples:
    sound = speakers.to_float(samples)
    loud = np.sqrt(np.mean(np.square(sound[np.abs(sound) > 1e-3]))) if sound.any() else 1.0
    gain = min(10 ** (_LEVEL_DB / 20) / max(float(loud), 1e-6), _PEAK / max(float(np.abs(sound).max()), 1e-6))
    return np.rint(sound * gain * 32767).astype(np.int16)
