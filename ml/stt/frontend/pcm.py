"""Processed audio goes where decoded audio is: into an unlinked temporary file that is mapped, not into memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import DecodedAudio, SourceInfo
from ml.types import PcmSamples

BLOCK_SAMPLES = 1 << 19
"""33 s: bounds memory, and how long a cancelled request computes on."""


def map_blocks(blocks: Iterable[PcmSamples], source: SourceInfo) -> DecodedAudio:
    """Writes the blocks, (n,) int16 each and at least one sample in all, one after the other."""
    with tempfile.TemporaryFile(prefix="cleaned-", suffix=".s16") as file:
        for block in blocks:
            file.write(np.ascontiguousarray(block, "<i2").data)
        file.flush()
        return DecodedAudio(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), source)


def to_pcm(samples: NDArray[np.floating]) -> PcmSamples:
    """(n,) in units of the least significant bit → (n,) int16, rounded and clipped."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def write_named(samples: PcmSamples) -> str:
    """The path of a new temporary file with the samples, for a child process; whoever asks removes it."""
    descriptor, path = tempfile.mkstemp(prefix="cleaning-", suffix=".s16")
    with os.fdopen(descriptor, "wb") as file:
        for start in range(0, len(samples), BLOCK_SAMPLES):
            file.write(np.ascontiguousarray(samples[start : start + BLOCK_SAMPLES], "<i2").data)
    return path
