"""Speech to bytes: wav, mp3, opus, aac, flac and pcm, streamed or as a finished file. Memory is constant in length.

`encode_stream` gives bytes as chunks arrive, in containers that play from the first byte. `encode_to_file` writes a
file whose headers tell the true length. `encode` offers both as an iterator. wav and pcm need no codec library.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np

from ml import errors
from ml.types import AudioChunk, PcmSamples

if TYPE_CHECKING:
    import av.container

AudioFormat = Literal["wav", "mp3", "opus", "aac", "flac", "pcm"]

FORMATS: tuple[str, ...] = get_args(AudioFormat)

CONTENT_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "pcm": "audio/pcm",
}
"""`pcm` is mono, signed 16-bit, little-endian, and has no header: whoever serves it tells the rate another way."""

EXTENSIONS = {"wav": ".wav", "mp3": ".mp3", "opus": ".ogg", "aac": ".aac", "flac": ".flac", "pcm": ".pcm"}

_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_ALLOWED_RATES: dict[str, tuple[int, ...]] = {
    "mp3": _MPEG_RATES,
    "aac": _MPEG_RATES,
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
_RATE_LIMITS = (8_000, 48_000)

_BLOCK_BYTES = 64 << 10
_UNKNOWN_LENGTH = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class EncodedInfo:
    """A finished file."""

    duration_seconds: float
    sample_rate: int  # hertz
    bytes: int


def check_format(format: str, sample_rate: int | None = None) -> None:
    """Raises `InvalidRequest` for an unknown format, or a rate in hertz that it cannot carry; None: any rate."""
    if format not in FORMATS:
        raise errors.InvalidRequest(f"format is one of {', '.join(FORMATS)}.", param="format")
    if sample_rate is None:
        return
    allowed = _ALLOWED_RATES.get(format)
    least, most = _RATE_LIMITS
    if allowed and sample_rate not in allowed:
        listed = ", ".join(map(str, allowed))
        raise errors.InvalidRequest(f"The sample_rate of {format} is one of {listed}.", param="sample_rate")
    if not least <= sample_rate <= most:
        raise errors.InvalidRequest(f"sample_rate is from {least} to {most} hertz.", param="sample_rate")


def choose_sample_rate(format: str, requested: int | None, native: int) -> int:
    """The rate to encode at: the requested one, or the lowest that loses nothing of a `native` one.

    Raises `InvalidRequest` where the format cannot carry the requested one.
    """
    check_format(format, requested)
    if requested is not None:
        return requested
    allowed = _ALLOWED_RATES.get(format, (native,))
    return min((rate for rate in allowed if rate >= native), default=max(allowed))


def encode(
    chunks: Iterable[AudioChunk], format: str, *, sample_rate: int, streaming: bool
) -> EncodedStream | EncodedFile:
    """The bytes of `chunks`, all of which are at `sample_rate`.

    streaming: bytes come as chunks arrive; otherwise all is first encoded to a temporary file, so that headers tell the
    length. Raises `InvalidRequest` at once; what `chunks` raises comes through. Closing it closes `chunks`.
    """
    check_format(format, sample_rate)
    if streaming:
        return encode_stream(chunks, format, sample_rate=sample_rate)
    return EncodedFile(chunks, format, sample_rate)


def encode_stream(chunks: Iterable[AudioChunk], format: str, *, sample_rate: int) -> EncodedStream:
    """The bytes of `chunks` as they arrive; lengths in headers are "unknown". Errors as for `encode`."""
    check_format(format, sample_rate)
    return EncodedStream(chunks, format, sample_rate)


def encode_to_file(chunks: Iterable[AudioChunk], format: str, file: IO[bytes], *, sample_rate: int) -> EncodedInfo:
    """Writes a finished file to `file`, which is seekable and empty. Errors as for `encode`; closes `chunks`."""
    check_format(format, sample_rate)
    encoder = _encoder(format, sample_rate, file)
    samples = 0
    try:
        for chunk in chunks:
            encoder.write(_samples(chunk, sample_rate))
            samples += len(chunk.samples)
        encoder.finish()
    finally:
        encoder.close()
        _close(chunks)
    return EncodedInfo(samples / sample_rate, sample_rate, file.seek(0, 2))


class EncodedStream(Iterator[bytes]):
    """Bytes as they are made. A plain generator would not release anything if it were never started; this does."""

    def __init__(self, chunks: Iterable[AudioChunk], format: str, sample_rate: int) -> None:
        self._source = chunks
        self._chunks = iter(chunks)
        self._sink = _Sink()
        self._sample_rate = sample_rate
        self._encoder: _Encoder | None = None
        self._format = format
        self._finished = False

    def __next__(self) -> bytes:
        while not self._finished:
            made = self._step()
            if made:
                return made
        raise StopIteration

    def close(self) -> None:
        """Stops, and lets go of the encoder and of `chunks`. May be called twice."""
        self._finished = True
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        _close(self._chunks)
        _close(self._source)

    def __enter__(self) -> EncodedStream:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _step(self) -> bytes:
        try:
            if self._encoder is None:
                self._encoder = _encoder(self._format, self._sample_rate, self._sink)
            chunk = next(self._chunks, None)
            if chunk is not None:
                self._encoder.write(_samples(chunk, self._sample_rate))
            else:
                self._encoder.finish()
                self.close()
        except BaseException:
            self.close()
            raise
        return self._sink.take()


class EncodedFile(Iterator[bytes]):
    """Bytes of a finished file, encoded when the first of them is asked for."""

    def __init__(self, chunks: Iterable[AudioChunk], format: str, sample_rate: int) -> None:
        self._source = chunks
        self._format = format
        self._sample_rate = sample_rate
        self._file: IO[bytes] | None = None
        self._closed = False
        self.info: EncodedInfo | None = None  # known from the first bytes on

    def __next__(self) -> bytes:
        if self._closed:
            raise StopIteration
        if self._file is None:
            self._encode()
        block = self._file.read(_BLOCK_BYTES) if self._file is not None else b""
        if not block:
            self.close()
            raise StopIteration
        return block

    def close(self) -> None:
        """Deletes the file and lets go of `chunks`. May be called twice."""
        self._closed = True
        if self._file is not None:
            self._file.close()
        _close(self._source)

    def __enter__(self) -> EncodedFile:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _encode(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`, which is always called)
        try:
            self.info = encode_to_file(self._source, self._format, self._file, sample_rate=self._sample_rate)
        except BaseException:
            self.close()
            raise
        self._file.seek(0)


def _close(chunks: Iterable[AudioChunk]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _samples(chunk: AudioChunk, sample_rate: int) -> PcmSamples:
    if chunk.sample_rate != sample_rate:
        raise errors.EngineFailed(f"A chunk is at {chunk.sample_rate} hertz, not at {sample_rate}.")
    return chunk.samples


# ── Encoders ────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Sink:
    """What encoders write to while streaming; not seekable, so muxers leave lengths unknown."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _Encoder(Protocol):
    def write(self, samples: PcmSamples) -> None: ...

    def finish(self) -> None:
        """Writes what is held back, and true lengths if the sink is seekable."""

    def close(self) -> None:
        """Releases; without `finish` the output is incomplete. May be called twice."""


def _encoder(format: str, sample_rate: int, sink: Any) -> _Encoder:
    if format == "pcm":
        return _Pcm(sink)
    if format == "wav":
        return _Wav(sink, sample_rate)
    return _Compressed(sink, format, sample_rate)


class _Pcm:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, samples: PcmSamples) -> None:
        self._sink.write(samples.astype("<i2", copy=False).tobytes())

    def finish(self) -> None:
        return

    def close(self) -> None:
        return


class _Wav(_Pcm):
    """RIFF/WAVE, PCM. https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html"""

    def __init__(self, sink: Any, sample_rate: int) -> None:
        super().__init__(sink)
        self._sample_rate = sample_rate
        self._bytes = 0
        self._sink.write(_wav_header(sample_rate, None))

    def write(self, samples: PcmSamples) -> None:
        super().write(samples)
        self._bytes += 2 * len(samples)

    def finish(self) -> None:
        if isinstance(self._sink, _Sink):
            return
        self._sink.seek(0)
        self._sink.write(_wav_header(self._sample_rate, self._bytes))


def _wav_header(sample_rate: int, data_bytes: int | None) -> bytes:
    """44 bytes. None, or more than the 4 GiB that the format can tell: the unknown length that players accept."""
    known = data_bytes is not None and data_bytes + 36 < _UNKNOWN_LENGTH
    data = data_bytes if known and data_bytes is not None else _UNKNOWN_LENGTH
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", data + 36 if known else _UNKNOWN_LENGTH, b"WAVE"),
        *(b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16),
        *(b"data", data),
    )


_CONTAINERS = {"mp3": "mp3", "opus": "ogg", "aac": "adts", "flac": "flac"}
_CODECS = {"mp3": "libmp3lame", "opus": "libopus", "aac": "aac", "flac": "flac"}
_BITS_PER_SECOND = {"mp3": 64_000, "opus": 32_000, "aac": 64_000}
"""For mono speech: transparent, or nearly. MPEG's low rates (below 16 kHz) allow 64 kbit/s at the most."""
_CODEC_OPTIONS = {
    "aac": {"aac_coder": "fast"},  # five times faster than the default search, at the same size
    "mp3": {"compression_level": "7"},  # LAME's -q: twice as fast as the default
    "opus": {"application": "voip", "compression_level": "5"},
}
_PAGE_MICROSECONDS = "200000"


class _Compressed:
    """One of FFmpeg's encoders, through PyAV."""

    def __init__(self, sink: Any, format: str, sample_rate: int) -> None:
        self._format = format
        self._sample_rate = sample_rate
        self._container: av.container.OutputContainer | None = self._open(sink, format)
        stream: Any = self._container.add_stream(
            _CODECS[format], rate=sample_rate, options=_CODEC_OPTIONS.get(format, {})
        )
        stream.layout = "mono"
        if format in _BITS_PER_SECOND:
            stream.bit_rate = _BITS_PER_SECOND[format]
        self._stream = stream
        self._samples = 0

    @staticmethod
    def _open(sink: Any, format: str) -> av.container.OutputContainer:
        import av

        options = {"flush_packets": "1"}
        if format == "opus":
            options["page_duration"] = _PAGE_MICROSECONDS
        if format == "mp3" and isinstance(sink, _Sink):
            options["write_xing"] = "0"  # it holds the length, which nobody knows yet
        return av.open(sink, "w", format=_CONTAINERS[format], options=options)

    def write(self, samples: PcmSamples) -> None:
        import av

        if not len(samples):
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._sample_rate
        frame.pts = self._samples
        self._samples += len(samples)
        self._mux(frame)

    def finish(self) -> None:
        self._mux(None)
        self.close()

    def close(self) -> None:
        if self._container is not None:
            container, self._container = self._container, None
            container.close()

    def _mux(self, frame: av.AudioFrame | None) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(frame))
