"""The pitch of speech, frame by frame, after Boersma.

P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
sound", 1993: the autocorrelation of a windowed frame, divided by that of its window, and the cheapest path through the
candidates of all frames. The costs are those that the paper proposes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.types import Samples

HOP_SECONDS = 0.01
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0

_FRAME_SECONDS = 0.04
_CANDIDATES = 5
_SILENCE, _VOICING = 0.03, 0.45  # thresholds: of the loudest frame, and of the correlation
_OCTAVE, _OCTAVE_JUMP, _VOICING_CHANGE = 0.01, 0.35, 0.14  # costs
_BLOCK_FRAMES = 2000


def track(samples: Samples, rate: int) -> NDArray[np.float64]:
    """(T,) → (frames,), a frame each `HOP_SECONDS`: hertz, 0 where nothing is voiced."""
    frames = _frames(samples, rate)
    if not len(frames):
        return np.zeros(0)
    hertz, strengths = (np.concatenate(parts) for parts in zip(*_each_block(frames, rate), strict=True))
    peaks = np.concatenate([np.abs(block).max(axis=1) for block in _blocks(frames)])
    loudest = max(float(peaks.max()), 1e-9)
    unvoiced = _VOICING + np.maximum(0.0, 2.0 - (peaks / loudest) / (_SILENCE / (1.0 + _VOICING)))
    return _cheapest_path(
        np.concatenate([np.zeros((len(hertz), 1)), hertz], axis=1),
        np.concatenate([unvoiced[:, None], strengths], axis=1),
    )


def _frames(samples: Samples, rate: int) -> NDArray[np.float32]:
    """A view, (frames, samples of one)."""
    length = round(_FRAME_SECONDS * rate)
    if len(samples) < length:
        return np.zeros((0, length), np.float32)
    return np.lib.stride_tricks.sliding_window_view(samples, length)[:: round(HOP_SECONDS * rate)]


def _blocks(frames: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    return [frames[at : at + _BLOCK_FRAMES] for at in range(0, len(frames), _BLOCK_FRAMES)]


def _each_block(frames: NDArray[np.float32], rate: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    return [_candidates(block, rate) for block in _blocks(frames)]


def _candidates(frames: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two of (frames, _CANDIDATES): hertz, and how strong each is; a candidate that is none has a strength of -1."""
    correlations = _correlations(frames)
    first, last = int(rate / HIGHEST_HZ), int(np.ceil(rate / LOWEST_HZ))
    before, here, after = (correlations[:, first + by : last + by] for by in (-1, 0, 1))
    is_peak = (here > before) & (here >= after) & (here > _VOICING / 2)
    curvature = np.minimum(before - 2 * here + after, -1e-9)
    offset = np.where(is_peak, 0.5 * (before - after) / curvature, 0.0)
    height = here - 0.25 * (before - after) * offset
    lags = np.arange(first, last) + offset
    strength = np.where(is_peak, height - _OCTAVE * np.log2(LOWEST_HZ / rate * lags), -1.0)
    best = np.argsort(-strength, axis=1)[:, :_CANDIDATES]
    return rate / np.take_along_axis(lags, best, 1), np.take_along_axis(strength, best, 1)


def _correlations(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """(frames, lags): 1 for lag 0, and for every period of what repeats itself."""
    length = frames.shape[1]
    window = np.hanning(length)
    size = 1 << (2 * length - 1).bit_length()
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    powers = np.square(np.abs(np.fft.rfft(centred, size)))
    of_frames = np.fft.irfft(powers)[:, : length // 2]
    of_window = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, size))))[: length // 2]
    own: NDArray[np.float64] = np.maximum(of_frames[:, :1], 1e-12)
    return of_frames / own / (of_window / of_window[0])


def _cheapest_path(hertz: NDArray[np.float64], strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """(frames, 1 + candidates) → (frames,). The first candidate of each is 0: not voiced."""
    octaves = np.log2(np.where(hertz > 0, hertz, 1.0))
    voiced = hertz > 0
    scores, came_from = strengths[0], np.zeros(hertz.shape, np.intp)
    for at in range(1, len(hertz)):
        both = voiced[at - 1][:, None] & voiced[at]
        jump = _OCTAVE_JUMP * np.abs(octaves[at - 1][:, None] - octaves[at])
        change = np.where(voiced[at - 1][:, None] != voiced[at], _VOICING_CHANGE, 0.0)
        totals = scores[:, None] - np.where(both, jump, change)
        came_from[at] = totals.argmax(axis=0)
        scores = totals.max(axis=0) + strengths[at]
    path = np.empty(len(hertz), np.intp)
    path[-1] = scores.argmax()
    for at in range(len(hertz) - 1, 0, -1):
        path[at - 1] = came_from[at, path[at]]
    return np.take_along_axis(hertz, path[:, None], 1)[:, 0]
