"""Likenesses as bytes, in the format of safetensors, which holds numbers and text and can run nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ml import errors
from ml.tts.engines.base import EQUALISER_HZ, Adaptation, Likeness, Reference, SpeakerLatents

_KIND, _RATE = "kind", "sample_rate"


def pack(likeness: Likeness) -> bytes:
    from safetensors.numpy import save

    if isinstance(likeness, SpeakerLatents):
        return bytes(save({"conditioning": likeness.conditioning, "embedding": likeness.embedding}, {_KIND: "latents"}))
    if isinstance(likeness, Reference):
        metadata = {_KIND: "reference", _RATE: str(likeness.sample_rate)}
        return bytes(save({"samples": likeness.samples}, metadata))
    if not isinstance(likeness, Adaptation):
        raise TypeError("A mixture is named, not stored.")
    numbers = [likeness.lowest_hz, likeness.highest_hz, likeness.formants, likeness.speed, *likeness.equaliser_db]
    return bytes(save({"numbers": np.array(numbers, np.float64)}, {_KIND: "adaptation"}))


def unpack(stored: bytes) -> Likeness:
    """Raises `ModelInvalid` for what `pack` did not write."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(stored)
        return _likeness(_metadata(stored), tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise errors.ModelInvalid("What was stored of the voice is damaged.") from error


def _likeness(metadata: dict[str, str], tensors: dict[str, Any]) -> Likeness:
    kind = metadata.get(_KIND, "")
    if kind == "latents":
        return SpeakerLatents(tensors["conditioning"], tensors["embedding"])
    if kind == "reference":
        return Reference(tensors["samples"], int(metadata[_RATE]))
    if kind == "adaptation":
        lowest, highest, formants, speed, *gains = (float(value) for value in tensors["numbers"])
        if len(gains) != len(EQUALISER_HZ):
            raise ValueError("another number of bands")
        return Adaptation(lowest, highest, formants, speed, tuple(gains))
    raise ValueError(f"another kind: {kind[:20]}")


def _metadata(stored: bytes) -> dict[str, str]:
    """Of the header: its length in 8 bytes, little-endian, then JSON (https://github.com/huggingface/safetensors)."""
    length = int.from_bytes(stored[:8], "little")
    return dict(json.loads(stored[8 : 8 + length]).get("__metadata__", {}))
