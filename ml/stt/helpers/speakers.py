"""Who speaks when, and how alike two voices are: what such helpers offer. See `base` for the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.types import PcmSamples


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """One speaker, without a break."""

    start: float  # seconds
    end: float  # seconds
    speaker: int  # from 0, by first appearance


class Diarizer(Protocol):
    """Task "diarization"."""

    def diarize(
        self, samples: PcmSamples, *, speakers: int | None = None, cancel: threading.Event | None = None
    ) -> Sequence[SpeakerTurn]:
        """(T,) int16, 16 kHz → turns by start; they may overlap. speakers: how many there are, where that is known.

        Raises `Cancelled`, `EngineFailed`.
        """
        ...


class SpeakerEmbedder(Protocol):
    """Task "speaker"."""

    dimension: int

    def embed(self, samples: PcmSamples) -> NDArray[np.float32]:
        """(T,) int16, 16 kHz, half a second and more of one speaker → (dimension,), of length 1. `EngineFailed`."""
        ...


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Cosine of two embeddings: 1 for the same voice, about 0 for others."""
    return float(np.dot(one, other))
