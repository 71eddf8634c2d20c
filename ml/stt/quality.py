"""How good a recording is for recognition, from what decoding and voice activity detection measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np

from ml.stt.vad import FRAMES_PER_SECOND, SpeechActivity, speech_seconds
from ml.types import AudioQuality

_SPEECH, _PAUSE = 0.5, 0.15  # frame probabilities; what lies between is neither for sure
_MIN_SECONDS = 0.25  # of each, to measure it
_QUANTISATION_POWER = 1 / (12 * 32768**2)  # of 16-bit samples: digital silence is no infinite SNR
_GOOD_SNR_DB = 30.0
_CLIPPING_TOLERANCE = 0.05


def score_quality(activity: SpeechActivity, clipping_ratio: float) -> AudioQuality:
    """Scores a recording 0–1.

    snr_db = 10 log10((S - N) / N), S the mean power of speech frames and N that of pause frames; None where either
    lasts less than a quarter of a second.
    score = clamp(snr_db / 30) * (1 - clamp(clipping_ratio / 0.05)); without speech 0, with an unknown SNR 15 dB is
    assumed: 30 dB is a quiet room, and 5% of samples at full scale makes speech hard to recognise.
    """
    snr_db = _snr_db(activity)
    seconds = speech_seconds(activity)
    level = 0.5 if snr_db is None else _clamp(snr_db / _GOOD_SNR_DB)
    score = level * (1 - _clamp(clipping_ratio / _CLIPPING_TOLERANCE)) if seconds else 0.0
    ratio = seconds / activity.duration_seconds if activity.duration_seconds else 0.0
    return AudioQuality(snr_db=snr_db, speech_ratio=_clamp(ratio), clipping_ratio=clipping_ratio, score=score)


def mean_quality(qualities: Sequence[AudioQuality]) -> AudioQuality:
    """Of the channels of one recording, each measured by itself."""
    known = [quality.snr_db for quality in qualities if quality.snr_db is not None]
    return AudioQuality(
        snr_db=fmean(known) if known else None,
        speech_ratio=fmean(quality.speech_ratio for quality in qualities),
        clipping_ratio=fmean(quality.clipping_ratio for quality in qualities),
        score=fmean(quality.score for quality in qualities),
    )


def _snr_db(activity: SpeechActivity) -> float | None:
    speech = activity.powers[activity.probabilities >= _SPEECH]
    pause = activity.powers[activity.probabilities < _PAUSE]
    if min(len(speech), len(pause)) < _MIN_SECONDS * FRAMES_PER_SECOND:
        return None
    noise = max(float(np.mean(pause, dtype=np.float64)), _QUANTISATION_POWER)
    signal = max(float(np.mean(speech, dtype=np.float64)) - noise, noise / 100)
    return 10 * math.log10(signal / noise)


def _clamp(value: float) -> float:
    return min(1.0, max(0.0, value))
