"""Raw samples of several channels, mixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from common import errors

_TYPES: dict[str, Any] = {"pcm_s16le": np.dtype("<i2"), "pcm_f32le": np.dtype("<f4")}


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
