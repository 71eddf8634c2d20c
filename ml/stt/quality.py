"""How good a recording is for recognition, from what decoding and voice activity detection measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ml.stt.vad import FRAMES_PER_SECOND, SpeechActivity, speech_seconds
from ml.types import AudioQuality, PcmSamples

_SPEECH, _PAUSE = 0.5, 0.15  # frame probabilities; what lies between is neither for sure
_MIN_SECONDS = 0.25  # of each, to measure it
_QUANTISATION_POWER = 1 / (12 * 32768**2)  # of 16-bit samples: digital silence is no infinite SNR
_GOOD_SNR_DB = 30.0
_CLIPPING_TOLERANCE = 0.05
_FULL_SCALE = 32_750  # of 32,768: where 16-bit samples count as clipped


class QualityMeter:
    """Measures sound as it is heard, frame by frame."""

    def __init__(self) -> None:
        self._powers = {"speech": [0.0, 0], "pause": [0.0, 0]}  # sum of mean squares, frames
        self._clipped = self._samples = 0

    def add(self, probabilities: NDArray[np.float32], powers: NDArray[np.float32]) -> None:
        """(frames,) each: of speech, and the mean square."""
        for name, chosen in (("speech", probabilities >= _SPEECH), ("pause", probabilities < _PAUSE)):
            self._powers[name][0] += float(np.sum(powers[chosen], dtype=np.float64))
            self._powers[name][1] += int(np.count_nonzero(chosen))

    def count(self, samples: PcmSamples) -> None:
        """Looks for full scale, where nobody has before resampling."""
        self._clipped += int(np.count_nonzero(np.abs(samples.astype(np.int32)) >= _FULL_SCALE))
        self._samples += len(samples)

    def score(
        self, speech_seconds: float, duration_seconds: float, clipping_ratio: float | None = None
    ) -> AudioQuality:
        """As `score_quality` describes. clipping_ratio: None for what was counted."""
        if clipping_ratio is None:
            clipping_ratio = self._clipped / self._samples if self._samples else 0.0
        snr_db = self._snr_db()
        level = 0.5 if snr_db is None else _clamp(snr_db / _GOOD_SNR_DB)
        score = level * (1 - _clamp(clipping_ratio / _CLIPPING_TOLERANCE)) if speech_seconds else 0.0
        ratio = speech_seconds / duration_seconds if duration_seconds else 0.0
        return AudioQuality(snr_db=snr_db, speech_ratio=_clamp(ratio), clipping_ratio=clipping_ratio, score=score)

    def _snr_db(self) -> float | None:
        (speech, speech_frames), (pause, pause_frames) = self._powers["speech"], self._powers["pause"]
        if min(speech_frames, pause_frames) < _MIN_SECONDS * FRAMES_PER_SECOND:
            return None
        noise = max(pause / pause_frames, _QUANTISATION_POWER)
        signal = max(speech / speech_frames - noise, noise / 100)
        return 10 * math.log10(signal / noise)


def score_quality(activity: SpeechActivity, clipping_ratio: float) -> AudioQuality:
    """Scores a recording 0–1.

    snr_db = 10 log10((S - N) / N), S the mean power of speech frames and N that of pause frames; None where either
    lasts less than a quarter of a second.
    score = clamp(snr_db / 30) * (1 - clamp(clipping_ratio / 0.05)); without speech 0, with an unknown SNR 15 dB is
    assumed: 30 dB is a quiet room, and 5% of samples at full scale makes speech hard to recognise.
    """
    meter = QualityMeter()
    meter.add(activity.probabilities, activity.powers)
    return meter.score(speech_seconds(activity), activity.duration_seconds, clipping_ratio)


def mean_quality(qualities: Sequence[AudioQuality]) -> AudioQuality:
    """Of the channels of one recording, each measured by itself."""
    known = [quality.snr_db for quality in qualities if quality.snr_db is not None]
    return AudioQuality(
        snr_db=fmean(known) if known else None,
        speech_ratio=fmean(quality.speech_ratio for quality in qualities),
        clipping_ratio=fmean(quality.clipping_ratio for quality in qualities),
        score=fmean(quality.score for quality in qualities),
    )


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))
