"""How does audio come in? Mono float32 at the model's rate, exactly as the server hears it (resampled by soxr)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono audio, shape (samples,), float32 in [-1, 1]."""


def read_audio(path: Path, *, sample_rate: int) -> Samples:
    """The samples of a file, channels averaged, at `sample_rate` Hz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Samples = np.ascontiguousarray(samples.mean(axis=1), dtype=np.float32)
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)


class AudioStore:
    """The recordings of a data set by index, decoded again at each use or kept as 16-bit samples in memory."""

    def __init__(self, paths: Sequence[Path], *, sample_rate: int, cache: bool) -> None:
        self.sample_rate = sample_rate
        self._paths = list(paths)
        self._cache = [_to_int16(read_audio(path, sample_rate=sample_rate)) for path in paths] if cache else None

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, index: int) -> Samples:
        """The samples of one recording."""
        if self._cache is None:
            return read_audio(self._paths[index], sample_rate=self.sample_rate)
        return self._cache[index].astype(np.float32) / 32768.0


def _to_int16(samples: Samples) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
