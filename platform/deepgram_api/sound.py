"""Raw samples: their channels mixed, and put into a container where they are to be a recording."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from common import errors

_TYPES: dict[str, Any] = {"pcm_s16le": np.dtype("<i2"), "pcm_f32le": np.dtype("<f4")}
_WAV_FORMATS = {"linear16": (1, 2), "linear32": (3, 4), "mulaw": (7, 1), "alaw": (6, 1)}
"""Number of the format in RIFF, and bytes a sample."""


class Mixer:
    """Interleaved samples, as they come, to one channel."""

    def __init__(self, encoding: str, channels: int) -> None:
        """encoding: of `ml.audio.stream`. Raises InvalidRequest."""
        if encoding not in _TYPES:
            raise errors.InvalidRequest(
                "Several channels can be mixed of linear16 and linear32 only.",
                code="parameter_invalid",
                param="channels",
            )
        self._type, self._channels = _TYPES[encoding], channels
        self._rest = b""

    def mix(self, data: bytes) -> bytes:
        data = self._rest + data
        frame = self._type.itemsize * self._channels
        whole = len(data) // frame * frame
        self._rest = data[whole:]
        samples = np.frombuffer(data[:whole], self._type).reshape(-1, self._channels)
        with np.errstate(all="ignore"):  # what is no number stays none, for the decoder to judge
            return samples.mean(axis=1, dtype=np.float64).astype(self._type).tobytes()


def wav_header(encoding: str, *, sample_rate: int, channels: int, size_bytes: int) -> bytes:
    """What makes raw samples of one of Deepgram's encodings a WAV file."""
    number, width = _WAV_FORMATS[encoding]
    frame = width * channels
    form = struct.pack("<HHIIHHH", number, channels, sample_rate, sample_rate * frame, frame, 8 * width, 0)
    parts = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size_bytes)
    return b"RIFF" + struct.pack("<I", len(parts) + size_bytes) + parts
