"""How far speech stands out of the noise around it, utterance by utterance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ml.stt.vad import FRAMES_PER_SECOND, SpeechActivity, SpeechSpan

_SPEECH, _PAUSE = 0.5, 0.15  # frame probabilities; what lies between is neither for sure
_MIN_FRAMES = 8  # 0.25 s of pauses, to measure the noise in them
_NEAR_SECONDS = 3.0  # noise changes: pauses farther away than this tell little
_FLOOR_SHARE = 0.1  # the quietest share of an utterance without pauses stands for its noise
_QUANTISATION_POWER = 1 / (12 * 32768**2)  # of 16-bit samples: digital silence is no infinite SNR


def utterance_snr_db(activity: SpeechActivity, span: SpeechSpan) -> float | None:
    """10 log10((S - N) / N): S the mean power of the span's speech, N the median power of pauses in and near it.

    The median leaves out clicks and breath, which suppression does not help: clean recordings with a click in their
    pauses measured 20 dB too low by the mean.

    Speech without a pause near it has its quietest frames taken for the noise, which they are only an upper bound of.
    None where the span holds no sure speech.
    """
    start, end = int(span.start * FRAMES_PER_SECOND), math.ceil(span.end * FRAMES_PER_SECOND)
    speech = activity.powers[start:end][activity.probabilities[start:end] >= _SPEECH]
    if not len(speech):
        return None
    noise = max(_noise_power(activity, start, end), _QUANTISATION_POWER)
    signal = max(float(np.mean(speech, dtype=np.float64)) - noise, noise / 100)
    return 10 * math.log10(signal / noise)


def _noise_power(activity: SpeechActivity, start: int, end: int) -> float:
    reach = int(_NEAR_SECONDS * FRAMES_PER_SECOND)
    near = slice(max(0, start - reach), end + reach)
    pauses = _without_silence(activity.powers[near][activity.probabilities[near] < _PAUSE])
    if len(pauses) >= _MIN_FRAMES:
        return float(np.median(pauses))
    powers = np.sort(activity.powers[start:end])
    return float(np.mean(powers[: max(1, int(len(powers) * _FLOOR_SHARE))], dtype=np.float64))


def _without_silence(powers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Digital silence, as between spliced recordings, says nothing of the noise under the speech."""
    return powers[powers > _QUANTISATION_POWER]
