"""Hostile media in, 16 kHz mono PCM out.

`decode(path)` reads any container and codec that FFmpeg knows, in a child process with a memory and a time limit: a
file that crashes or bloats the decoder costs one request, not the server. The PCM crosses as a temporary file that the
parent maps, so an hour of audio takes 115 MB of disk and next to no memory.

The child (`ml.audio.decoder`) opens the file itself and hands FFmpeg only a Python reader of it. Playlists,
concatenations and other formats that name further files are not among its `CONTAINERS`, and opening a second file or
address is refused besides.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ml import errors
from ml.audio.decoder import SAMPLE_RATE, time_limit
from ml.types import PcmSamples
from ml.workers import WorkerPool

__all__ = ["MAX_DURATION_SECONDS", "MEMORY_BYTES", "SAMPLE_RATE", "DecodedAudio", "SourceInfo", "decode", "worker_pool"]

MAX_DURATION_SECONDS = 4 * 3600.0
MEMORY_BYTES = 1 << 30
"""Address space of a decoding process; FFmpeg, numpy and soxr map about 400 MB of it."""


class DecodedAudio:
    """16 kHz mono audio on disk, mapped read-only. Close it, or use it as a context manager.

    samples: (T,) int16; still readable after `close` by whoever kept a view.
    """

    def __init__(self, samples_map: mmap.mmap, source: SourceInfo) -> None:
        self._map: mmap.mmap | None = samples_map
        self.source = source
        self.samples: PcmSamples = np.frombuffer(samples_map, dtype=np.int16)

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def blocks(self, length: int) -> Iterator[PcmSamples]:
        """Consecutive views of up to `length` samples; the pages of those passed leave this process's memory."""
        for start in range(0, len(self.samples), length):
            yield self.samples[start : start + length]
            self.release_pages()

    def release_pages(self) -> None:
        """Gives the mapped pages back; they are read from the file again when touched."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        self._map = None  # The mapping itself goes with the last view: closing it under a view would be an error.
        self.samples = np.zeros(0, np.int16)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What the file was before decoding."""

    container: str  # FFmpeg's name, e.g. "wav", "matroska,webm"
    codec: str  # FFmpeg's name, e.g. "opus"
    sample_rate: int  # hertz
    channels: int
    clipping_ratio: float  # samples at full scale / samples, over all channels, before resampling
    truncated: bool  # decoding ended at a fault; what came before it was kept


def decode(
    path: str | os.PathLike[str],
    *,
    max_duration_seconds: float = MAX_DURATION_SECONDS,
    cancel: threading.Event | None = None,
    channel: int | None = None,
) -> DecodedAudio:
    """Decodes the first sound track of a file to 16 kHz mono.

    A damaged file is decoded up to the damage. Channels are averaged, a low-frequency effects channel left out; or only
    the one with the number `channel` is taken (from 0; one that is not there is silent).

    Raises `AudioEmpty` (no bytes or no samples), `AudioUndecodable`, `AudioTooLong` (as soon as it is known),
    `Cancelled` (within 50 ms; the work stops), `EngineFailed` (the decoding process died).
    """
    source_path = Path(path).resolve()
    _check_readable(source_path)
    descriptor, target = tempfile.mkstemp(prefix="decoded-", suffix=".s16")
    with os.fdopen(descriptor, "rb") as pcm:
        try:
            info = worker_pool().call(
                "decode",
                str(source_path),
                target,
                float(max_duration_seconds),
                channel,
                cancel=cancel,
                # The child gives up by itself first, with a better error; this ends one that hangs in native code.
                timeout_seconds=time_limit(max_duration_seconds) + 10,
                repeatable=True,
            )
        finally:
            os.unlink(target)
        return DecodedAudio(mmap.mmap(pcm.fileno(), 0, access=mmap.ACCESS_READ), SourceInfo(**info))


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise errors.AudioUndecodable("The audio file does not exist.")
    if path.stat().st_size == 0:
        raise errors.AudioEmpty("The audio file is empty.")


_shared_pool: WorkerPool | None = None
_shared_pool_lock = threading.Lock()


def worker_pool() -> WorkerPool:
    """The decoding processes; for health pages, tests and warming up."""
    global _shared_pool  # noqa: PLW0603  one pool a process, made when first needed
    with _shared_pool_lock:
        if _shared_pool is None:
            size = max(2, os.cpu_count() or 1)
            _shared_pool = WorkerPool("ml.audio.decoder:Decoder", size=size, memory_bytes=MEMORY_BYTES, confined=True)
        return _shared_pool
