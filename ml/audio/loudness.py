"""Loudness by EBU R128 (ITU-R BS.1770): measured, and brought to a target under a true-peak limit.

FFmpeg's filters do it, through PyAV: `ebur128` measures, `alimiter` at four times the rate limits. Memory is constant
in length; a minute of speech takes 0.2 s each.

    levelled(chunks, rate, target)      a finished text: measured first, then turned up or down as a whole
    turned(chunks, rate, gain_db)       a stream: one gain from beginning to end, so that it does not pump
"""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import IO, Any

import numpy as np

from ml.types import AudioChunk, PcmSamples

LEAST_LUFS, MOST_LUFS = -40.0, -8.0
"""Of what may be asked for. Broadcasters take −23, streaming services −16 to −14, telephony about −20."""
CEILING_DB = -1.0
"""dBTP, which EBU R128 allows at the most."""

_TOLERANCE_LU = 0.3
_ATTEMPTS = 3
_SILENCE_LUFS = -69.0
_GATE_SECONDS = 0.4  # the shortest stretch that BS.1770 measures
_MAX_GAIN_DB = 40.0
_SPOOL_BYTES = 2 << 20


class Meter:
    """Measures samples as they come."""

    def __init__(self, rate: int) -> None:
        """rate: hertz."""
        self._graph = _Graph(rate, [("ebur128", "metadata=1:peak=true:framelog=quiet")])
        self._rate = rate
        self._short: list[PcmSamples] = []
        self._samples = 0
        self._integrated = self._peak = -math.inf

    def push(self, samples: PcmSamples) -> None:
        """shape (samples,), int16."""
        if self._samples < 2 * _GATE_SECONDS * self._rate:
            self._short.append(samples)
        self._samples += len(samples)
        self._read(self._graph.push(samples))

    def finish(self) -> tuple[float, float] | None:
        """Integrated loudness in LUFS, and the true peak in dBTP; None of silence."""
        missing = round(2 * _GATE_SECONDS * self._rate) - self._samples
        if self._samples and missing > 0:  # too short to be measured: it is heard again
            whole = np.concatenate(self._short)
            self._read(self._graph.push(np.resize(whole, missing)))
        self._read(self._graph.finish())
        return (self._integrated, self._peak) if self._integrated > _SILENCE_LUFS else None

    def _read(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            told = dict(frame.metadata)
            self._integrated = float(told.get("lavfi.r128.I", self._integrated))
            peak = float(told.get("lavfi.r128.true_peaks_ch0", 0.0))
            self._peak = max(self._peak, 20 * math.log10(peak) if peak > 0 else -math.inf)


class Limiter:
    """Turns samples up or down, and holds their true peak under `CEILING_DB`."""

    def __init__(self, rate: int, gain_db: float) -> None:
        limit = 10 ** (CEILING_DB / 20)
        self._graph = _Graph(
            rate,
            [
                ("aresample", f"{4 * rate}"),
                ("volume", f"{gain_db:.3f}dB:precision=float"),
                ("alimiter", f"limit={limit:.4f}:attack=5:release=50:level=0:latency=1"),
                ("aresample", f"{rate}"),
                ("aformat", f"sample_fmts=s16:sample_rates={rate}:channel_layouts=mono"),
            ],
        )

    def push(self, samples: PcmSamples) -> PcmSamples:
        """shape (samples,), int16; some are held back."""
        return _joined(self._graph.push(samples))

    def finish(self) -> PcmSamples:
        return _joined(self._graph.finish())


def measure(samples: PcmSamples, rate: int) -> tuple[float, float] | None:
    """As `Meter.finish`, of samples of shape (samples,), int16."""
    meter = Meter(rate)
    meter.push(samples)
    return meter.finish()


def turned(chunks: Iterable[AudioChunk], rate: int, gain_db: float) -> Iterator[AudioChunk]:
    """Chunks with one gain for all, each with its text and times; what is held back comes with the next."""
    limiter = Limiter(rate, max(-_MAX_GAIN_DB, min(_MAX_GAIN_DB, gain_db)))
    for chunk in chunks:
        yield AudioChunk(limiter.push(chunk.samples), rate, chunk.text, chunk.words, chunk.marks, chunk.estimated)
    yield AudioChunk(limiter.finish(), rate, "")


def levelled(chunks: Iterable[AudioChunk], rate: int, target: float) -> Iterator[AudioChunk]:
    """All of `chunks` first, then their sound at `target` LUFS, in pieces of a second without text. Silence stays."""
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
        meter = Meter(rate)
        for chunk in chunks:
            meter.push(chunk.samples)
            file.write(chunk.samples.tobytes())
        measured = meter.finish()
        gain = 0.0 if measured is None else _gain_for(file, rate, target, *measured)
        for samples in _limited(file, rate, gain):
            yield AudioChunk(samples, rate, "")


def _gain_for(file: IO[bytes], rate: int, target: float, loudness: float, peak: float) -> float:
    """Decibels. Where the limiter has to work, it takes loudness away, which is given back."""
    gain = target - loudness
    if peak + gain <= CEILING_DB:
        return gain
    for _ in range(_ATTEMPTS):
        meter = Meter(rate)
        for samples in _limited(file, rate, gain):
            meter.push(samples)
        reached = meter.finish()
        if reached is None or abs(target - reached[0]) < _TOLERANCE_LU:
            break
        gain = min(_MAX_GAIN_DB, gain + target - reached[0])
    return gain


def _limited(file: IO[bytes], rate: int, gain_db: float) -> Iterator[PcmSamples]:
    limiter = Limiter(rate, gain_db)
    file.seek(0)
    while block := file.read(2 * rate):
        yield limiter.push(np.frombuffer(block, dtype=np.int16))
    yield limiter.finish()


class _Graph:
    """A chain of FFmpeg's audio filters for mono samples."""

    def __init__(self, rate: int, filters: list[tuple[str, str]]) -> None:
        import av.filter

        self._rate, self._samples = rate, 0
        self._graph = graph = av.filter.Graph()
        source = graph.add_abuffer(sample_rate=rate, format="s16", layout="mono", time_base=Fraction(1, rate))
        nodes = [source, *(graph.add(name, options) for name, options in filters), graph.add("abuffersink")]
        for before, after in itertools.pairwise(nodes):
            before.link_to(after)
        graph.configure()

    def push(self, samples: PcmSamples) -> list[Any]:
        """The frames that come out."""
        import av

        if not len(samples):
            return []
        row = np.ascontiguousarray(samples).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(row, format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate, self._samples
        frame.time_base = Fraction(1, self._rate)
        self._samples += len(samples)
        self._graph.push(frame)
        return self._pull()

    def finish(self) -> list[Any]:
        if not self._samples:
            return []
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> list[Any]:
        import av

        frames = []
        while True:
            try:
                frames.append(self._graph.pull())
            except (av.error.BlockingIOError, av.error.EOFError):
                return frames


def _joined(frames: list[Any]) -> PcmSamples:
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
