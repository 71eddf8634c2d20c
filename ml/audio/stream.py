"""Sound that arrives in pieces → 16 kHz mono PCM, piece by piece.

Raw samples (linear, µ-law, A-law) are converted here: numpy and soxr see well-formed arrays whatever the bytes say.
Opus in WebM or Ogg is demuxed and decoded by FFmpeg in a child process, as files are (`ml.audio.decode`): bytes that
crash or bloat it end the streams of the one tenant who shares that child, and nothing else.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

import numpy as np
import soxr

from ml import errors
from ml.audio.decode import MEMORY_BYTES
from ml.audio.decoder import SAMPLE_RATE, Decoder
from ml.types import PcmSamples
from ml.workers import WorkerPool

log = logging.getLogger(__name__)

Encoding = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw", "opus"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)

MIN_RATE, MAX_RATE = 8_000, 48_000
STREAMS_A_PROCESS = 8
MAX_MADE_BYTES = 2 * SAMPLE_RATE * 600
"""Of one piece: packets of silence would else make hours out of kilobytes."""

FEED_SECONDS = 20.0
"""A child that takes longer over one piece hangs."""


class StreamDecoder(Protocol):
    """One stream. Used by one thread at a time."""

    def feed(self, data: bytes) -> PcmSamples:
        """What the bytes complete, (n,) int16 at 16 kHz. Raises `AudioUndecodable`."""
        ...

    def finish(self) -> PcmSamples:
        """What was still on its way; nothing is fed after it."""
        ...

    def close(self) -> None: ...


def open_stream(encoding: Encoding, sample_rate: int = SAMPLE_RATE, *, tenant: str = "") -> StreamDecoder:
    """A decoder. `sample_rate` (hertz, 8,000–48,000) is of raw samples; containers say their own.

    tenant: streams of different tenants share no process. Raises `InvalidRequest`, `EngineFailed`.
    """
    if encoding not in ENCODINGS:
        raise errors.InvalidRequest(f"The encoding must be one of {', '.join(ENCODINGS)}.", param="encoding")
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise errors.InvalidRequest(
            f"The sample rate must be between {MIN_RATE:,} and {MAX_RATE:,}.", param="sample_rate"
        )
    if encoding == "opus":
        return _processes.open(tenant)
    return RawDecoder(encoding, sample_rate)


def bytes_per_second(encoding: Encoding, sample_rate: int) -> int:
    """Of raw samples exactly; of Opus a usual rate, for bounding buffers."""
    return _WIDTHS.get(encoding, 1) * sample_rate if encoding != "opus" else 16_000


# ── Raw samples ─────────────────────────────────────────────────────────────────────────────────────────────────────


class RawDecoder:
    """Samples without a container."""

    def __init__(self, encoding: Encoding, sample_rate: int) -> None:
        self._convert = _CONVERTERS[encoding]
        self._width = _WIDTHS[encoding]
        self._rest = b""
        self._resampler = (
            soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="int16", quality="HQ")
            if sample_rate != SAMPLE_RATE
            else None
        )

    def feed(self, data: bytes) -> PcmSamples:
        data = self._rest + data if self._rest else data
        whole = len(data) // self._width * self._width
        self._rest = data[whole:]
        samples = self._convert(data[:whole])
        return self._resampler.resample_chunk(samples) if self._resampler is not None else samples

    def finish(self) -> PcmSamples:
        if self._resampler is None:
            return np.zeros(0, np.int16)
        return self._resampler.resample_chunk(np.zeros(0, np.int16), last=True)

    def close(self) -> None:
        """Holds nothing."""


def _from_floats(data: bytes) -> PcmSamples:
    # Infinities and not-a-numbers would be undefined as integers.
    floats = np.nan_to_num(np.frombuffer(data, "<f4"), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(np.rint(floats * 32768.0), -32768, 32767).astype(np.int16)


def _mulaw_table() -> PcmSamples:
    """ITU-T G.711: 14 bits of magnitude in 8, scaled to 16."""
    codes = ~np.arange(256, dtype=np.uint8)
    magnitudes = ((((codes & 0x0F).astype(np.int32) << 3) + 132) << ((codes >> 4) & 0x07)) - 132
    return np.where(codes & 0x80, -magnitudes, magnitudes).astype(np.int16)


def _alaw_table() -> PcmSamples:
    """ITU-T G.711: 13 bits in 8, every second bit inverted."""
    codes = np.arange(256, dtype=np.uint8) ^ 0x55
    exponents = ((codes >> 4) & 0x07).astype(np.int32)
    mantissas = ((codes & 0x0F).astype(np.int32) << 4) + np.where(exponents > 0, 0x108, 8)
    magnitudes = mantissas << np.maximum(exponents - 1, 0)
    return np.where(codes & 0x80, magnitudes, -magnitudes).astype(np.int16)


_MULAW, _ALAW = _mulaw_table(), _alaw_table()
_WIDTHS: dict[str, int] = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
_CONVERTERS: dict[str, Callable[[bytes], PcmSamples]] = {
    "pcm_s16le": lambda data: np.frombuffer(data, "<i2").astype(np.int16),
    "pcm_f32le": _from_floats,
    "mulaw": lambda data: _MULAW[np.frombuffer(data, np.uint8)],
    "alaw": lambda data: _ALAW[np.frombuffer(data, np.uint8)],
}


# ── Opus, in child processes ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class _Process:
    pool: WorkerPool
    streams: int = 0


class _Processes:
    """Decoding processes by tenant, each for a few streams; the last stream ends its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_tenant: dict[str, list[_Process]] = collections.defaultdict(list)
        self._numbers = 0

    def open(self, tenant: str) -> StreamDecoder:
        with self._lock:
            self._numbers += 1
            number = self._numbers
            processes = self._by_tenant[tenant]
            process = next((each for each in processes if each.streams < STREAMS_A_PROCESS), None)
            if process is None:
                pool = WorkerPool("ml.audio.stream:Demuxers", size=1, memory_bytes=MEMORY_BYTES, confined=True)
                process = _Process(pool)
                processes.append(process)
            process.streams += 1
        decoder = _OpusDecoder(process.pool, number, lambda: self._leave(tenant, process))
        try:
            decoder.open()
        except BaseException:
            decoder.close()
            raise
        return decoder

    def _leave(self, tenant: str, process: _Process) -> None:
        with self._lock:
            process.streams -= 1
            unused = process.streams == 0
            if unused:
                self._by_tenant[tenant].remove(process)
                if not self._by_tenant[tenant]:
                    del self._by_tenant[tenant]
        if unused:
            process.pool.close()

    def __len__(self) -> int:
        with self._lock:
            return sum(len(processes) for processes in self._by_tenant.values())


_processes = _Processes()


def decoding_processes() -> int:
    """How many run now; for tests and diagnostics."""
    return len(_processes)


class _OpusDecoder:
    """The parent's side of one stream."""

    def __init__(self, pool: WorkerPool, number: int, leave: Callable[[], None]) -> None:
        self._pool = pool
        self._number = number
        self._leave: Callable[[], None] | None = leave

    def open(self) -> None:
        self._call("open")

    def feed(self, data: bytes) -> PcmSamples:
        return np.frombuffer(self._call("feed", data), np.int16)

    def finish(self) -> PcmSamples:
        return np.frombuffer(self._call("finish"), np.int16)

    def close(self) -> None:
        leave, self._leave = self._leave, None
        if leave is None:
            return
        try:
            self._pool.call("close", self._number, timeout_seconds=FEED_SECONDS)
        except errors.MlError:
            pass  # it has died, and its streams with it
        finally:
            leave()

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return self._pool.call(method, self._number, *args, timeout_seconds=FEED_SECONDS)
        except errors.EngineFailed:
            raise errors.AudioUndecodable("The sound cannot be decoded: its decoder broke.") from None


class Demuxers:
    """What runs in the child: a thread a stream, because FFmpeg reads where we would rather write."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._streams: dict[int, _Demuxing] = {}

    def open(self, number: int) -> None:
        self._streams[number] = _Demuxing(self._decoder)

    def feed(self, number: int, data: bytes) -> bytes:
        return self._stream(number).feed(data)

    def finish(self, number: int) -> bytes:
        return self._stream(number).finish()

    def close(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.close()

    def _stream(self, number: int) -> _Demuxing:
        stream = self._streams.get(number)
        if stream is None:  # the process that had it died, and this is its successor
            raise errors.AudioUndecodable("The sound cannot be decoded: its decoder broke.")
        return stream


@dataclass(eq=False)
class _Pipe:
    """What FFmpeg reads from: blocks until there is something, or the end."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    starving: bool = False  # the reader waits for bytes that have not come

    def read(self, size: int) -> bytes:
        with self.changed:
            while not self.data and not self.ended:
                self.starving = True
                self.changed.notify_all()
                self.changed.wait()
            self.starving = False
            piece = bytes(self.data[:size])
            del self.data[:size]
            return piece


class _Demuxing:
    """One stream: bytes in, PCM out. `feed` returns when all that can be made of its bytes is made."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._pipe = _Pipe()
        self._made = bytearray()
        self._error: errors.MlError | None = None
        self._done = False
        self._thread = threading.Thread(target=self._run, name="demux", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> bytes:
        with self._pipe.changed:
            self._pipe.data += data
            self._pipe.starving = False
            self._pipe.changed.notify_all()
        return self._take(lambda: self._pipe.starving)

    def finish(self) -> bytes:
        self.close()
        return self._take(lambda: False)

    def close(self) -> None:
        with self._pipe.changed:
            self._pipe.ended = True
            self._pipe.changed.notify_all()

    def _take(self, enough: Callable[[], bool]) -> bytes:
        deadline = time.monotonic() + FEED_SECONDS
        with self._pipe.changed:
            while not (self._done or enough()):
                if not self._pipe.changed.wait(deadline - time.monotonic()):
                    raise errors.AudioUndecodable("The sound takes too long to decode.")
            if self._error is not None:
                raise self._error
            made = bytes(self._made)
            self._made.clear()
            return made

    def _run(self) -> None:
        try:
            self._decoder.follow(self._pipe, self)
        except errors.MlError as error:
            self._error = error
        except Exception as error:  # what a decoder makes of hostile bytes is as manifold as they are
            log.info("sound that comes as it is made cannot be decoded", exc_info=True)
            self._error = errors.AudioUndecodable(f"The sound cannot be decoded ({type(error).__name__}).")
        with self._pipe.changed:
            self._done = True
            self._pipe.changed.notify_all()

    def write(self, pcm: bytes) -> None:
        """Called by the decoder."""
        with self._pipe.changed:
            self._made += pcm
            if len(self._made) > MAX_MADE_BYTES:
                raise errors.AudioUndecodable("The sound is packed tighter than speech can be.")
