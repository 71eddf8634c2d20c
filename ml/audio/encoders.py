"""What turns samples into the bytes of a format: one encoder each, over a seekable file or a stream.

wav and pcm need no codec library; the others are FFmpeg's, through PyAV.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ml.audio.riff import wav_header
from ml.types import PcmSamples

if TYPE_CHECKING:
    import av.container

NO_TAGS: Mapping[str, str] = MappingProxyType({})


class Sink:
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


class Encoder(Protocol):
    def write(self, samples: PcmSamples) -> None: ...

    def pad(self) -> int:
        """Writes as much silence as pushes out what is held back, without ending; in samples."""
        ...

    def finish(self) -> None:
        """Writes what is held back, and true lengths if the sink is seekable."""

    def close(self) -> None:
        """Releases; without `finish` the output is incomplete. May be called twice."""


def make(format: str, sample_rate: int, sink: Any, tags: Mapping[str, str] = NO_TAGS) -> Encoder:
    """sink: a `Sink`, or a seekable file, whose header then tells the length.

    tags: by FFmpeg's names ("artist", "comment", …); they stand before the sound. pcm and aac (ADTS) have no room for
    any.
    """
    if format == "pcm":
        return _Pcm(sink)
    if format == "wav":
        return _Wav(sink, sample_rate, tags)
    return _Compressed(sink, format, sample_rate, tags)


class _Pcm:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, samples: PcmSamples) -> None:
        self._sink.write(samples.astype("<i2", copy=False).tobytes())

    def pad(self) -> int:
        return 0

    def finish(self) -> None:
        return

    def close(self) -> None:
        return


class _Wav(_Pcm):
    """RIFF/WAVE, PCM. https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html"""

    def __init__(self, sink: Any, sample_rate: int, tags: Mapping[str, str] = NO_TAGS) -> None:
        super().__init__(sink)
        self._sample_rate = sample_rate
        self._info = _wav_info(tags)
        self._bytes = 0
        self._sink.write(wav_header("pcm_s16le", sample_rate, info=self._info))

    def write(self, samples: PcmSamples) -> None:
        super().write(samples)
        self._bytes += 2 * len(samples)

    def finish(self) -> None:
        if isinstance(self._sink, Sink):
            return
        self._sink.seek(0)
        self._sink.write(wav_header("pcm_s16le", self._sample_rate, size_bytes=self._bytes, info=self._info))


_INFO_NAMES = {
    "artist": b"IART", "comment": b"ICMT", "copyright": b"ICOP", "date": b"ICRD", "genre": b"IGNR", "title": b"INAM",
    "encoder": b"ISFT",
}  # fmt: skip


def _wav_info(tags: Mapping[str, str]) -> bytes:
    """The chunk LIST of the type INFO, as FFmpeg writes and reads it; what INFO has no name for is in its comment."""
    named = {_INFO_NAMES[name]: value for name, value in tags.items() if name in _INFO_NAMES}
    parts = []
    for name, value in named.items():
        data = value.replace("\0", "").encode() + b"\0"
        parts.append(struct.pack("<4sI", name, len(data)) + data + b"\0" * (len(data) % 2))
    body = b"INFO" + b"".join(parts)
    return struct.pack("<4sI", b"LIST", len(body)) + body if parts else b""


_CONTAINERS = {
    "mp3": "mp3", "opus": "ogg", "aac": "adts", "flac": "flac", "mulaw": "mulaw", "alaw": "alaw", "wav_mulaw": "wav",
    "wav_alaw": "wav",
}  # fmt: skip
_CODECS = {
    "mp3": "libmp3lame", "opus": "libopus", "aac": "aac", "flac": "flac", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw",
    "wav_mulaw": "pcm_mulaw", "wav_alaw": "pcm_alaw",
}  # fmt: skip
_BITS_PER_SECOND = {"mp3": 64_000, "opus": 32_000, "aac": 64_000}
"""For mono speech: transparent, or nearly. MPEG's low rates (below 16 kHz) allow 64 kbit/s at the most."""
_CODEC_OPTIONS = {
    "aac": {"aac_coder": "fast"},  # five times faster than the default search, at the same size
    "mp3": {"compression_level": "7"},  # LAME's -q: twice as fast as the default
    "opus": {"application": "voip", "compression_level": "5"},
}
_FILE_PAGE_MICROSECONDS, _STREAM_PAGE_MICROSECONDS = "200000", "60000"
"""Of Ogg. A page is written when the one after it is full, and costs 30 bytes: 4 kbit/s where they are short."""
_PADDING_FRAMES = {"mp3": 6, "aac": 3, "opus": 9, "flac": 1, "mulaw": 0, "alaw": 0, "wav_mulaw": 0, "wav_alaw": 0}
"""What encoder and muxer hold back, in the codec's frames: look-ahead, LAME's bit reservoir, Ogg's pages."""


class _Compressed:
    """One of FFmpeg's encoders, through PyAV."""

    def __init__(self, sink: Any, format: str, sample_rate: int, tags: Mapping[str, str] = NO_TAGS) -> None:
        self._format = format
        self._sample_rate = sample_rate
        self._container: av.container.OutputContainer | None = self._open(sink, format)
        self._container.metadata.update({name: value.replace("\0", "") for name, value in tags.items()})
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
            streamed = isinstance(sink, Sink)
            options["page_duration"] = _STREAM_PAGE_MICROSECONDS if streamed else _FILE_PAGE_MICROSECONDS
        if format == "mp3" and isinstance(sink, Sink):
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

    def pad(self) -> int:
        if not self._samples:  # the codec has not been opened
            return 0
        samples = _PADDING_FRAMES[self._format] * int(self._stream.codec_context.frame_size)
        self.write(np.zeros(samples, dtype=np.int16))
        return samples

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
