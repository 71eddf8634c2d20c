"""What runs in a decoding process: one file, or a stream whose bytes still come, to 16 kHz mono PCM by FFmpeg.

Started by `ml.audio.decode` and `ml.audio.stream`. FFmpeg is handed a Python reader of the file and can open nothing
itself.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml import errors

if TYPE_CHECKING:
    import av

SAMPLE_RATE = 16_000
"""Hertz. What every recogniser and the voice activity detector work at."""

MIN_SOURCE_RATE, MAX_SOURCE_RATE = 4_000, 768_000
MAX_CHANNELS = 64
MAX_STREAMS = 64

CONTAINERS = (
    "wav,w64,aiff,au,caf,flac,mp3,ogg,aac,amr,amrnb,amrwb,ac3,eac3,dts,ape,wv,tta,tak,asf,mpc,mpc8,gsm,voc,sln,sox,"
    "nistsphere,ircam,latm,loas,mlp,truehd,qcp,qoa,rm,swf,flv,avi,mpeg,mpegts,mxf,nut,dsf,iff,"
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2"
)
"""FFmpeg demuxers that may be used: those that read one file and are made for sound or film."""

LIVE_CONTAINERS = "ogg,matroska,webm,wav,flac,mp3"
"""Those that can be read while they are written."""

_RELIABLE_DURATION = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flac")
"""Containers whose header states the duration, where others guess it from the bit rate."""

_FULL_SCALE = 0.9995
_UNBOUNDED_PLANES = 8
"""PyAV counts a frame's planes up to a null pointer, which nothing puts behind the eighth: it would read beyond."""

_BLOCK_BYTES = 1 << 20
_LIVE_BLOCK_BYTES = 4096


def time_limit(max_duration_seconds: float) -> float:
    """Seconds of computing granted: decoding runs 100 times faster than real time or more."""
    return 30 + max_duration_seconds / 10


class Decoder:
    """What runs in the decoding process."""

    def __init__(self) -> None:
        import av
        from av import logging

        logging.set_level(logging.PANIC)  # What a hostile file makes FFmpeg say is not worth a log.
        audio_codecs = (name for name in av.codecs_available if _is_audio_decoder(name))
        # Video decoders are never opened, not even to probe: cover art and picture tracks are none of our business.
        self._options = {
            "format_whitelist": CONTAINERS,
            "codec_whitelist": ",".join(sorted(audio_codecs)),
            "protocol_whitelist": "none",
            "max_streams": str(MAX_STREAMS),
        }

    def decode(
        self, source_path: str, target_path: str, max_duration_seconds: float, channel: int | None = None
    ) -> dict[str, Any]:
        """Writes the PCM to `target_path`; the fields of `SourceInfo`."""
        deadline = time.monotonic() + time_limit(max_duration_seconds)
        with (
            open(source_path, "rb") as source,
            open(target_path, "wb") as target,
            self._open(_Reader(source), buffer_size=_BLOCK_BYTES) as container,
        ):
            return _Decoding(container, target, max_duration_seconds, deadline, channel).run(_file_size(source))

    def follow(self, source: Any, target: Any) -> None:
        """Writes the PCM of a stream whose bytes still come, as it is made: WebM, Ogg, WAV, FLAC or MP3.

        source: its `read` waits for bytes, and gives none at the end. target: its `write` takes s16le at 16 kHz.
        """
        live = {"format_whitelist": LIVE_CONTAINERS, "analyzeduration": "0", "probesize": "8192"}
        with self._open(source, buffer_size=_LIVE_BLOCK_BYTES, options=live) as container:
            _Decoding(container, target, math.inf, math.inf).follow()

    def _open(
        self, source: Any, *, buffer_size: int, options: Mapping[str, str] = MappingProxyType({})
    ) -> av.container.InputContainer:
        import av

        try:
            return av.open(
                source,
                "r",
                container_options={**self._options, **options},
                metadata_errors="replace",
                io_open=_refuse,
                buffer_size=buffer_size,
            )
        except _faults() as error:
            raise errors.AudioUndecodable("The file is not audio in a format that can be decoded.") from error


class _Reader:
    """A file that answers absurd seeks instead of raising: PyAV keeps an exception for the next file to stumble on."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.read = file.read
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1  # which FFmpeg takes for an error


class _Decoding:
    """One file's way from packets to PCM."""

    def __init__(
        self,
        container: av.container.InputContainer,
        target: IO[bytes],
        max_duration_seconds: float,
        deadline: float,
        channel: int | None = None,
    ) -> None:
        self._container = container
        self._channel = channel
        self._writer = _Writer(target, max_duration_seconds)
        self._max_duration_seconds = max_duration_seconds
        self._deadline = deadline
        self._good_packets = self._bad_packets = 0
        self._broken_off = False
        self._clipping = _ClippingMeter()
        self._resampler: _Resampler | None = None

    def run(self, file_size: int) -> dict[str, Any]:
        stream = self._stream()
        self._check_declared_duration(stream, file_size)
        for frame in self._frames(stream):
            channels = _to_float(frame)
            self._clipping.add(channels, frame.format.bytes)
            self._resample(_mono(channels, frame, self._channel), frame.sample_rate)
        self._end()
        return {
            "container": self._container.format.name,
            "codec": stream.codec_context.name,
            "sample_rate": self._resampler.rate if self._resampler else 0,
            "channels": stream.codec_context.channels,
            "clipping_ratio": self._clipping.ratio,
            "truncated": self._broken_off or self._bad_packets > 0,
        }

    def follow(self) -> None:
        """A stream of unknown length, from which nothing but its sound is wanted."""
        for frame in self._frames(self._stream()):
            self._resample(_downmix(_to_float(frame), frame), frame.sample_rate)
        self._end()

    def _end(self) -> None:
        if self._resampler is not None:
            self._writer.write(self._resampler.flush())
        self._check_outcome()

    def _stream(self) -> av.AudioStream:
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        if not streams:
            raise errors.AudioUndecodable("The file holds no sound track that can be decoded.")
        stream = streams[0]
        _check_shape(stream.codec_context.sample_rate, stream.codec_context.channels)
        stream.codec_context.thread_type = "NONE"  # threads cost address space and gain nothing on sound
        return stream

    def _check_declared_duration(self, stream: av.AudioStream, file_size: int) -> None:
        """Refuses early what the header says is too long, where the header can be believed."""
        import av

        seconds = (self._container.duration or 0) / av.time_base
        reliable = self._container.format.name in _RELIABLE_DURATION
        if stream.codec_context.name.startswith("pcm_"):
            # A stream's header is written before its length is known, so the bytes must really be there.
            reliable = seconds * (stream.codec_context.bit_rate or sys.maxsize) / 8 <= file_size
        if reliable and seconds > self._max_duration_seconds + 1:
            raise _too_long(self._max_duration_seconds)

    def _frames(self, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        import av

        packets = self._container.demux(stream)
        while True:
            self._check_deadline()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:  # A stream that PyAV does not know began under way, as MPEG-TS may; read on past it.
                packets = self._container.demux(stream)
                continue
            except _faults():
                self._broken_off = True  # The rest of the file cannot be read; what came before it counts.
                return
            try:
                frames = packet.decode()
                self._good_packets += bool(frames)
            except _faults():
                self._bad_packets += 1
                continue
            yield from (frame for frame in frames if isinstance(frame, av.AudioFrame))

    def _resample(self, mono: NDArray[np.float32], rate: int) -> None:
        if self._resampler is None or self._resampler.rate != rate:
            # A chained Ogg, or AAC that turns out to be HE-AAC, changes its rate under way.
            if self._resampler is not None:
                self._writer.write(self._resampler.flush())
            self._resampler = _Resampler(rate)
        self._writer.write(self._resampler.push(mono))

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise errors.AudioUndecodable("The file takes too long to decode.")

    def _check_outcome(self) -> None:
        # FFmpeg sees MP3 in almost any bytes; what mostly fails to decode is noise, not a damaged recording.
        if self._bad_packets > self._good_packets or (self._broken_off and not self._writer.written):
            raise errors.AudioUndecodable("The file is damaged: its sound cannot be decoded.")
        if not self._writer.written:
            raise errors.AudioEmpty("The file holds no sound.")


class _Resampler:
    """Mono float32 at any rate → 16 kHz, statefully, with soxr's high quality (its passband ends at 0.91 Nyquist)."""

    def __init__(self, rate: int) -> None:
        import soxr

        _check_shape(rate, 1)
        self.rate = rate
        self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, mono: NDArray[np.float32]) -> NDArray[np.float32]:
        return mono if self.rate == SAMPLE_RATE else self._stream.resample_chunk(mono)

    def flush(self) -> NDArray[np.float32]:
        return self._stream.resample_chunk(np.zeros(0, np.float32), last=True)


class _Writer:
    """float32 (n,) in [-1, 1] → s16le in the target, up to the limit."""

    def __init__(self, target: IO[bytes], max_duration_seconds: float) -> None:
        self._target = target
        self._max_duration_seconds = max_duration_seconds
        self.written = 0  # samples

    def write(self, mono: NDArray[np.float32]) -> None:
        self.written += len(mono)
        if self.written > self._max_duration_seconds * SAMPLE_RATE:
            raise _too_long(self._max_duration_seconds)
        scaled = np.clip(np.rint(mono * 32768.0), -32768, 32767)
        self._target.write(scaled.astype("<i2").tobytes())


class _ClippingMeter:
    def __init__(self) -> None:
        self._clipped = self._total = 0

    def add(self, channels: NDArray[np.float32], sample_bytes: int) -> None:
        # Full scale in 8 bits is 127/128: the highest code, not a share of 1.0.
        full_scale = 127 / 128 if sample_bytes == 1 else _FULL_SCALE
        self._clipped += int(np.count_nonzero(np.abs(channels) >= full_scale))
        self._total += channels.size

    @property
    def ratio(self) -> float:
        return self._clipped / self._total if self._total else 0.0


def _to_float(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Any sample format → (channels, n) float32, full scale 1.0."""
    channels = len(frame.layout.channels)
    _check_shape(frame.sample_rate, channels)
    if frame.format.is_planar and channels >= _UNBOUNDED_PLANES:
        frame = _interleave(frame)
    raw: NDArray[Any] = frame.to_ndarray()  # planar: (channels, n); packed: (1, n * channels)
    if not frame.format.is_planar:
        raw = raw.reshape(-1, channels).T
    if raw.dtype == np.uint8:
        return ((raw.astype(np.float32) - 128) / 128).astype(np.float32)
    if np.issubdtype(raw.dtype, np.integer):
        return (raw / -float(np.iinfo(raw.dtype).min)).astype(np.float32)
    # A hostile float file may hold infinities and not-a-numbers, which would spread through the resampler's state.
    return np.clip(np.nan_to_num(raw, nan=0.0), -4.0, 4.0).astype(np.float32)


def _interleave(frame: av.AudioFrame) -> av.AudioFrame:
    import av

    packed = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
    (interleaved,) = packed.resample(frame)
    return interleaved


def _mono(channels: NDArray[np.float32], frame: av.AudioFrame, channel: int | None) -> NDArray[np.float32]:
    """(channels, n) → (n,): one of them, or all averaged."""
    if channel is None:
        return _downmix(channels, frame)
    return channels[channel] if channel < len(channels) else np.zeros(channels.shape[1], np.float32)


def _downmix(channels: NDArray[np.float32], frame: av.AudioFrame) -> NDArray[np.float32]:
    """(channels, n) → (n,)."""
    if len(channels) == 1:
        return channels[0]
    voices = [index for index, channel in enumerate(frame.layout.channels) if channel.name not in ("LFE", "LFE2")]
    return channels[voices or slice(None)].mean(axis=0, dtype=np.float32)


def _check_shape(rate: int, channels: int) -> None:
    if not MIN_SOURCE_RATE <= rate <= MAX_SOURCE_RATE:
        raise errors.AudioUndecodable(f"A sample rate of {rate} Hz is not supported.")
    if not 1 <= channels <= MAX_CHANNELS:
        raise errors.AudioUndecodable(f"A sound track of {channels} channels is not supported.")


def _too_long(limit_seconds: float) -> errors.AudioTooLong:
    return errors.AudioTooLong(f"The audio is longer than the limit of {limit_seconds:g} seconds.")


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("A media file may not open other files.")


def _faults() -> tuple[type[Exception], ...]:
    """What PyAV raises on a damaged file: FFmpeg's errors, and its own and our reader's on absurd numbers."""
    import av

    return (av.FFmpegError, OSError, ValueError, LookupError, OverflowError, MemoryError)


def _is_audio_decoder(name: str) -> bool:
    import av

    try:
        return av.Codec(name, "r").type == "audio"
    except ValueError:  # an encoder
        return False


def _file_size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
