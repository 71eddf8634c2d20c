"""Speech to bytes: wav, mp3, opus, aac, flac and pcm, streamed or as a finished file. Memory is constant in length.

Telephony has G.711 at 8 kHz: `mulaw` and `alaw` without a header, `wav_mulaw` and `wav_alaw` in a wav file.

`encode_stream` gives bytes as chunks arrive, in containers that play from the first byte. `encode_to_file` writes a
file whose headers tell the true length. `encode` offers both as an iterator. `StreamEncoder` is for whoever has samples
to push. wav and pcm need no codec library.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Literal, get_args

from ml import errors
from ml.audio import encoders
from ml.audio.encoders import NO_TAGS
from ml.types import AudioChunk, PcmSamples

AudioFormat = Literal["wav", "mp3", "opus", "aac", "flac", "pcm", "mulaw", "alaw", "wav_mulaw", "wav_alaw"]

FORMATS: tuple[str, ...] = get_args(AudioFormat)

CONTENT_TYPES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg; codecs=opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "pcm": "audio/pcm",
    "mulaw": "audio/PCMU",
    "alaw": "audio/PCMA",
    "wav_mulaw": "audio/wav",
    "wav_alaw": "audio/wav",
}
"""`pcm` is mono, signed 16-bit, little-endian, and has no header: whoever serves it tells the rate another way."""

EXTENSIONS = {
    "wav": ".wav", "mp3": ".mp3", "opus": ".ogg", "aac": ".aac", "flac": ".flac", "pcm": ".pcm", "mulaw": ".ulaw",
    "alaw": ".alaw", "wav_mulaw": ".wav", "wav_alaw": ".wav",
}  # fmt: skip

_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_ALLOWED_RATES: dict[str, tuple[int, ...]] = {
    "mp3": _MPEG_RATES,
    "aac": _MPEG_RATES,
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
    **dict.fromkeys(("mulaw", "alaw", "wav_mulaw", "wav_alaw"), (8_000,)),
}
_RATE_LIMITS = (8_000, 48_000)

_BLOCK_BYTES = 64 << 10
_FIRST_SECONDS = 0.25
"""Of the first chunk so much is encoded at a time: mp3 takes a third as long for a sentence as espeak-ng for saying it,
and whoever listens waits for the first bytes only."""


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


def encode_stream(
    chunks: Iterable[AudioChunk], format: str, *, sample_rate: int, tags: Mapping[str, str] = NO_TAGS
) -> EncodedStream:
    """The bytes of `chunks` as they arrive; lengths in headers are "unknown". tags: as for `encoders.make`.

    Errors as for `encode`.
    """
    check_format(format, sample_rate)
    return EncodedStream(chunks, format, sample_rate, tags)


def encode_to_file(
    chunks: Iterable[AudioChunk],
    format: str,
    file: IO[bytes],
    *,
    sample_rate: int,
    tags: Mapping[str, str] = NO_TAGS,
) -> EncodedInfo:
    """Writes a finished file to `file`, which is seekable and empty. tags: as for `encoders.make`.

    Errors as for `encode`; closes `chunks`.
    """
    check_format(format, sample_rate)
    encoder = encoders.make(format, sample_rate, file, tags)
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


class StreamEncoder:
    """Samples in, bytes out, in a container that plays from the first byte.

    Encoders hold a little back: `pad` pushes it out. Close it, or let it go; without `finish` the end is missing.
    """

    def __init__(self, format: str, sample_rate: int, tags: Mapping[str, str] = NO_TAGS) -> None:
        """tags: as for `encoders.make`. Raises `InvalidRequest`."""
        check_format(format, sample_rate)
        self._sink = encoders.Sink()
        self._encoder: encoders.Encoder | None = encoders.make(format, sample_rate, self._sink, tags)
        self.samples = 0  # written, silence included

    def write(self, samples: PcmSamples) -> bytes:
        """shape (samples,), int16, at the encoder's rate → what of the stream is done, maybe nothing yet."""
        if self._encoder is not None:
            self._encoder.write(samples)
            self.samples += len(samples)
        return self._sink.take()

    def pad(self) -> bytes:
        """Everything written so far, followed by as much silence (under half a second) as pushes it out."""
        if self._encoder is not None:
            self.samples += self._encoder.pad()
        return self._sink.take()

    def finish(self) -> bytes:
        """The end of the stream. Nothing can be written any more."""
        if self._encoder is not None:
            self._encoder.finish()
        self.close()
        return self._sink.take()

    def close(self) -> None:
        """Lets go of the codec. May be called twice."""
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None

    def __del__(self) -> None:
        if hasattr(self, "_encoder"):
            self.close()


class EncodedStream(Iterator[bytes]):
    """Bytes as they are made. A plain generator would not release anything if it were never started; this does."""

    def __init__(
        self, chunks: Iterable[AudioChunk], format: str, sample_rate: int, tags: Mapping[str, str] = NO_TAGS
    ) -> None:
        self._source = chunks
        self._chunks = iter(chunks)
        self._format, self._sample_rate, self._tags = format, sample_rate, tags
        self._encoder: StreamEncoder | None = None
        self._waiting: deque[PcmSamples] = deque()  # of the first chunk
        self._first_length = 0 if format in ("wav", "pcm") else round(_FIRST_SECONDS * sample_rate)
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
                self._encoder = StreamEncoder(self._format, self._sample_rate, self._tags)
            samples = self._next_samples()
            if samples is not None:
                return self._encoder.write(samples)
            end = self._encoder.finish()
            self.close()
        except BaseException:
            self.close()
            raise
        return end

    def _next_samples(self) -> PcmSamples | None:
        """A chunk's, or of the first chunk the next part; None at the end."""
        if self._waiting:
            return self._waiting.popleft()
        chunk = next(self._chunks, None)
        if chunk is None:
            return None
        samples, length = _samples(chunk, self._sample_rate), self._first_length
        if length:
            self._first_length = 0
            self._waiting.extend(samples[at : at + length] for at in range(length, len(samples), length))
            return samples[:length]
        return samples


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
