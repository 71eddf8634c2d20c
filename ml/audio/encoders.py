"""What turns samples into the bytes of a format: one encoder each, over a seekable file or a stream.

wav and pcm need no codec library; the others are FFmpeg's, through PyAV.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ml.types import PcmSamples

if TYPE_CHECKING:
    import av.container

_UNKNOWN_LENGTH = 0xFFFFFFFF


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


def make(format: str, sample_rate: int, sink: Any) -> Encoder:
    """sink: a `Sink`, or a seekable file, whose header then tells the length."""
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

    def pad(self) -> int:
        return 0

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
        if isinstance(self._sink, Sink):
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
_FILE_PAGE_MICROSECONDS, _STREAM_PAGE_MICROSECONDS = "200000", "60000"
"""Of Ogg. A page is written when the one after it is full, and costs 30 bytes: 4 kbit/s where they are short."""
_PADDING_FRAMES = {"mp3": 6, "aac": 3, "opus": 9, "flac": 1}
"""What encoder and muxer hold back, in the codec's frames: look-ahead, LAME's bit reservoir, Ogg's pages."""


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
