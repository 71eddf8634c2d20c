"""The last seconds of a session's sound, by sample number."""

from __future__ import annotations

from collections import deque

import numpy as np

from ml.audio.decode import SAMPLE_RATE
from ml.types import NO_SOUND, PcmSamples

_KEPT_SAMPLES = 2 * SAMPLE_RATE
"""Kept while nobody speaks: what may turn out to be the beginning of speech, and the padding before it."""


class Tape:
    """Samples are numbered from the start of the session; those that nobody needs any more are let go."""

    def __init__(self) -> None:
        self._pieces: deque[PcmSamples] = deque()
        self._start = 0
        self.end = 0
        self._kept: dict[int, int] = {}  # sample numbers that readers have said they need

    def append(self, samples: PcmSamples) -> None:
        if len(samples):
            self._pieces.append(samples)
            self.end += len(samples)

    def read(self, start: int, end: int) -> PcmSamples:
        """(end - start,), or fewer where the tape does not have them any more, or not yet."""
        start, end = max(start, self._start), min(end, self.end)
        parts, place = [], self._start
        for piece in self._pieces:
            if place + len(piece) > start and place < end:
                parts.append(piece[max(0, start - place) : end - place])
            place += len(piece)
        return np.concatenate(parts) if parts else NO_SOUND

    def keep(self, reader: int, start: int) -> None:
        """Keeps everything from `start` on until the reader releases it."""
        self._kept[reader] = start

    def release(self, reader: int) -> None:
        self._kept.pop(reader, None)

    def forget(self, *, before: int) -> None:
        limit = min([before - _KEPT_SAMPLES, *self._kept.values()])
        while self._pieces and self._start + len(self._pieces[0]) <= limit:
            self._start += len(self._pieces.popleft())
