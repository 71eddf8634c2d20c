"""Speech of engines with different rates, at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml.types import AudioChunk

if TYPE_CHECKING:
    import soxr


def resampled(chunks: Iterator[AudioChunk], rate: int) -> Iterator[AudioChunk]:
    """All chunks at `rate`."""
    resampler = Resampler(rate)
    for chunk in chunks:
        yield from resampler.push(chunk)
    yield from resampler.rest()


class Resampler:
    """Chunks of any rate in, of one rate out.

    One stream runs through neighbours of one rate, so that there is no click between two of one engine.
    """

    def __init__(self, rate: int) -> None:
        """rate: hertz, of what comes out."""
        self._rate = self._source = rate
        self._stream: soxr.ResampleStream | None = None

    def push(self, chunk: AudioChunk) -> Iterator[AudioChunk]:
        if chunk.sample_rate != self._source:
            yield from self.rest()
            self._open(chunk.sample_rate)
        samples = chunk.samples if self._stream is None else self._stream.resample_chunk(chunk.samples)
        if len(samples) or chunk.marks:
            yield replace(chunk, samples=samples, sample_rate=self._rate)

    def rest(self) -> Iterator[AudioChunk]:
        """The few milliseconds that are held back. What is pushed then begins anew."""
        if self._stream is None:
            return
        rest = self._stream.resample_chunk(np.zeros(0, dtype=np.int16), last=True)
        self._open(self._source)
        if len(rest):
            yield AudioChunk(rest, self._rate, "")

    def _open(self, source: int) -> None:
        self._source, self._stream = source, None
        if source != self._rate:
            import soxr

            self._stream = soxr.ResampleStream(source, self._rate, 1, dtype="int16")
