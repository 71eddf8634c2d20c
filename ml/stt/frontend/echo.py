"""Echo cancellation by WebRTC's AEC3: takes out of a recording what the loudspeaker played.

The far end's signal is given as a file of its own. How much later it comes back is estimated first, by
cross-correlation with the phase transform (Knapp and Carter, "The Generalized Correlation Method for Estimation of Time
Delay", 1976), and taken out, since AEC3 looks for echoes within a quarter of a second only.

The library is the one of the livekit wheel. It runs in worker processes, which read and write files of samples.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ml.audio.decode import SAMPLE_RATE, DecodedAudio
from ml.stt.frontend.pcm import BLOCK_SAMPLES, map_blocks, write_named
from ml.types import PcmSamples
from ml.workers import WorkerPool

MAX_DELAY_SECONDS = 2.0
"""Recordings that were started this far apart can still be aligned, either way round."""

_DELAY_SEARCH_SECONDS = 60.0  # from the first sound of the far end on
_MARGIN_SAMPLES = SAMPLE_RATE // 100  # left of the delay, so that no echo comes before its cause
_FRAME = SAMPLE_RATE // 100  # samples; AEC3 takes 10 ms at a time
_LAG = 165  # samples by which the library's output lags, measured
_MIN_CORRELATION = 8.0  # times the correlation's deviation; chance stays under


def available() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("livekit") is not None


def cancel_echo(audio: DecodedAudio, reference: DecodedAudio, *, cancel: threading.Event | None = None) -> DecodedAudio:
    """The audio, of the same length, without the reference's echo. Raises `Cancelled`, `EngineFailed`."""
    delay = estimate_delay(audio.samples, reference.samples)
    paths = []
    try:
        for samples in (audio.samples, reference.samples):
            paths.append(write_named(samples))
        descriptor, target = tempfile.mkstemp(prefix="cleaned-", suffix=".s16")
        os.close(descriptor)
        paths.append(target)
        limit = 30 + audio.duration_seconds / 4
        worker_pool().call(
            "cancel_echo", *paths, delay - _MARGIN_SAMPLES, cancel=cancel, timeout_seconds=limit, repeatable=True
        )
        with open(target, "rb") as file:
            return map_blocks(_blocks(file), audio.source)
    finally:
        for path in paths:
            os.unlink(path)


def estimate_delay(near: PcmSamples, far: PcmSamples) -> int:
    """Samples by which the far end's signal comes back later in the near end's; 0 where it is not found."""
    begin = int(np.argmax(np.abs(far.astype(np.int32)) > 300)) if len(far) else 0
    length = int(_DELAY_SEARCH_SECONDS * SAMPLE_RATE)
    first = max(0, begin - int(MAX_DELAY_SECONDS * SAMPLE_RATE))
    near_part, far_part = (
        near[first : first + length].astype(np.float32),
        far[first : first + length].astype(np.float32),
    )
    if not near_part.any() or not far_part.any():
        return 0
    correlation = _phase_correlation(near_part, far_part)
    reach = min(int(MAX_DELAY_SECONDS * SAMPLE_RATE), len(correlation) // 2 - 1)
    lags = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    peak = int(np.argmax(lags))
    return peak - reach if lags[peak] > _MIN_CORRELATION * float(np.std(lags)) else 0


def _phase_correlation(near: NDArray[np.float32], far: NDArray[np.float32]) -> NDArray[np.float32]:
    """Circular, of both padded to twice their length; index = lag of `near`."""
    size = 1 << (len(near) + len(far)).bit_length()
    cross = np.fft.rfft(near, size) * np.conj(np.fft.rfft(far, size))
    return np.asarray(np.fft.irfft(cross / np.maximum(np.abs(cross), 1e-9), size), np.float32)


def _blocks(file: BinaryIO) -> Iterator[PcmSamples]:
    while block := file.read(BLOCK_SAMPLES * 2):
        yield np.frombuffer(block, np.int16)


@functools.lru_cache(maxsize=1)
def worker_pool() -> WorkerPool:
    """The cancelling processes; for health pages and warming up."""
    return WorkerPool("ml.stt.frontend.echo:Canceller", size=os.cpu_count() or 1)


# ── In the child ────────────────────────────────────────────────────────────────────────────────────────────────────


class Canceller:
    """What runs in the worker process."""

    def cancel_echo(self, near_path: str, far_path: str, target_path: str, delay: int) -> None:
        """Files of 16 kHz mono s16; `delay` in samples, negative where the far end's recording began later."""
        from livekit.rtc import AudioFrame, AudioProcessingModule

        apm = AudioProcessingModule(echo_cancellation=True)
        with open(near_path, "rb") as near, open(far_path, "rb") as far, open(target_path, "wb") as target:
            far.seek(max(0, -delay) * 2)
            silence = max(0, delay)  # samples still to come before the far end's first
            skipped, remaining = _LAG * 2, os.fstat(near.fileno()).st_size
            while remaining:
                chunk = near.read(_FRAME * 2)
                far_chunk, silence = _read_far(far, silence)
                apm.process_reverse_stream(AudioFrame(far_chunk, SAMPLE_RATE, 1, _FRAME))
                frame = AudioFrame(bytearray(chunk.ljust(_FRAME * 2, b"\0")), SAMPLE_RATE, 1, _FRAME)
                apm.set_stream_delay_ms(0)
                apm.process_stream(frame)
                cleaned = bytes(frame.data)
                kept = cleaned[min(skipped, len(cleaned)) :][:remaining]
                skipped -= min(skipped, len(cleaned))
                remaining -= target.write(kept)


def _read_far(far: BinaryIO, silence: int) -> tuple[bytearray, int]:
    """The next 10 ms, and how much silence is left before the far end begins."""
    quiet = min(silence, _FRAME)
    chunk = b"\0" * (quiet * 2) + far.read((_FRAME - quiet) * 2)
    return bytearray(chunk.ljust(_FRAME * 2, b"\0")), silence - quiet
