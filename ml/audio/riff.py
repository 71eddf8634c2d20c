"""The header that makes raw samples a WAV file."""

from __future__ import annotations

import struct

UNKNOWN_BYTES = 0xFFFF_FFFF

_PCM = 1
_FORMATS = {"pcm_s16le": (_PCM, 2), "pcm_f32le": (3, 4), "alaw": (6, 1), "mulaw": (7, 1)}
"""WAVE format tag (RFC 2361) and bytes a sample, by the encodings of `ml.audio.stream`."""


def is_raw(encoding: str) -> bool:
    """Whether it is one that `wav_header` can describe."""
    return encoding in _FORMATS


def wav_header(
    encoding: str, sample_rate: int, *, channels: int = 1, size_bytes: int | None = None, info: bytes = b""
) -> bytes:
    """What comes before the samples; as long for every size. info: further chunks.

    size_bytes: of the samples. None, or more than the 4 GiB that the format can tell: the unknown length that players
    accept.
    """
    tag, width = _FORMATS[encoding]
    frame = width * channels
    form = struct.pack("<HHIIHH", tag, channels, sample_rate, sample_rate * frame, frame, 8 * width)
    if tag != _PCM:
        form += struct.pack("<H", 0)  # of other formats readers want the size of what follows: nothing
    parts = b"WAVEfmt " + struct.pack("<I", len(form)) + form + info + b"data"
    rest = len(parts) + 4
    known = size_bytes is not None and size_bytes + rest < UNKNOWN_BYTES
    riff, data = (size_bytes + rest, size_bytes) if known and size_bytes is not None else (UNKNOWN_BYTES,) * 2
    return b"RIFF" + struct.pack("<I", riff) + parts + struct.pack("<I", data)
