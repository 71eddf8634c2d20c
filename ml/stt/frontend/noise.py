"""Noise suppression by RNNoise, for the utterances that it helps.

RNNoise (Valin, "A Hybrid DSP/Deep Learning Approach to Real-Time Full-Band Speech Enhancement", 2018) makes noisy
speech easier to recognise and clean speech harder. So each utterance's SNR is estimated first (see `snr.py`), and only
those under `MAX_SNR_DB` go through it. The figures are in docs/pipeline.md.

The library is the one that the pyrnnoise wheel carries, called through ctypes: importing the package itself would load
its plotting and audio dependencies. It runs in worker processes, one utterance a call with a lead-in for the network to
settle in, so that an utterance's result does not depend on the others.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ml.audio.decode import SAMPLE_RATE, DecodedAudio
from ml.stt.frontend.pcm import BLOCK_SAMPLES, map_blocks, to_pcm
from ml.stt.vad import SpeechSpan
from ml.types import PcmSamples
from ml.workers import WorkerPool

MAX_SNR_DB = 18.0
"""Utterances whose estimated SNR is under this are cleaned."""

LEAD_IN_SECONDS = 1.0
MEMORY_BYTES = 1 << 30

_RATE = 48_000  # hertz; what the network was trained at
_FRAME = 480  # samples
_DELAY = 960  # samples by which the library's output lags


def available() -> bool:
    """Whether the library is installed."""
    return _library_path() is not None


def suppress(
    audio: DecodedAudio, spans: Sequence[SpeechSpan], *, cancel: threading.Event | None = None
) -> DecodedAudio:
    """The audio with these spans, in order and without overlap, cleaned; the rest and the length are as before.

    Raises `Cancelled`, `EngineFailed`.
    """
    return map_blocks(_pieces(audio, spans, cancel), audio.source)


def suppress_samples(samples: PcmSamples, *, cancel: threading.Event | None = None) -> PcmSamples:
    """(n,) → (n,), all of it cleaned."""
    return _clean(samples, 0, cancel)


def _pieces(audio: DecodedAudio, spans: Sequence[SpeechSpan], cancel: threading.Event | None) -> Iterator[PcmSamples]:
    done = 0
    pool = worker_pool()
    with ThreadPoolExecutor(pool.size, thread_name_prefix="noise") as executor:
        # As many at a time as there are processes: a cleaned span is held in memory until its turn to be written.
        for first in range(0, len(spans), pool.size):
            edges = [_edges(span, len(audio.samples)) for span in spans[first : first + pool.size]]
            futures = [executor.submit(_clean_span, audio, start, end, cancel) for start, end in edges]
            for (start, end), future in zip(edges, futures, strict=True):
                yield from _copies(audio, done, start)
                yield future.result()
                done = end
            audio.release_pages()
        yield from _copies(audio, done, len(audio.samples))


def _edges(span: SpeechSpan, total: int) -> tuple[int, int]:
    return round(span.start * SAMPLE_RATE), min(total, round(span.end * SAMPLE_RATE))


def _copies(audio: DecodedAudio, start: int, end: int) -> Iterator[PcmSamples]:
    for at in range(start, end, BLOCK_SAMPLES):
        yield audio.samples[at : min(end, at + BLOCK_SAMPLES)]
        audio.release_pages()


def _clean_span(audio: DecodedAudio, start: int, end: int, cancel: threading.Event | None) -> PcmSamples:
    lead_in = min(start, round(LEAD_IN_SECONDS * SAMPLE_RATE))
    return _clean(audio.samples[start - lead_in : end], lead_in, cancel)


def _clean(samples: PcmSamples, lead_in: int, cancel: threading.Event | None) -> PcmSamples:
    """(lead_in + n,) → (n,)."""
    pcm = np.ascontiguousarray(samples).tobytes()
    limit = 30 + len(samples) / SAMPLE_RATE
    cleaned = worker_pool().call("suppress", pcm, cancel=cancel, timeout_seconds=limit, repeatable=True)
    return np.frombuffer(cleaned, np.int16)[lead_in:]


@functools.lru_cache(maxsize=1)
def worker_pool() -> WorkerPool:
    """The suppressing processes; for health pages and warming up."""
    return WorkerPool("ml.stt.frontend.noise:Suppressor", size=os.cpu_count() or 1, memory_bytes=MEMORY_BYTES)


@functools.lru_cache(maxsize=1)
def _library_path() -> Path | None:
    spec = importlib.util.find_spec("pyrnnoise")  # finds the folder without importing the package
    name = {"darwin": "librnnoise.dylib", "win32": "rnnoise.dll"}.get(sys.platform, "librnnoise.so")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, name)).is_file():
            return path
    return None


# ── In the child ────────────────────────────────────────────────────────────────────────────────────────────────────


class Suppressor:
    """What runs in the worker process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(_library_path()))
        self._library.rnnoise_create.restype = ctypes.c_void_p
        self._library.rnnoise_create.argtypes = [ctypes.c_void_p]
        self._library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
        self._library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
        self._library.rnnoise_process_frame.restype = ctypes.c_float

    def suppress(self, pcm: bytes) -> bytes:
        """16 kHz mono s16 → as much, cleaned."""
        import soxr

        samples = np.frombuffer(pcm, np.int16)
        if not len(samples):
            return b""
        wide = soxr.resample(samples.astype(np.float32), SAMPLE_RATE, _RATE)
        padded = np.zeros(-(-(len(wide) + _DELAY) // _FRAME) * _FRAME, np.float32)
        padded[: len(wide)] = wide
        self._process(padded)
        narrow = soxr.resample(padded[_DELAY : _DELAY + len(wide)], _RATE, SAMPLE_RATE)
        return to_pcm(np.resize(narrow, len(samples))).tobytes()

    def _process(self, samples: np.ndarray) -> None:
        """(frames * 480,) float32 in units of the least significant bit, in place."""
        state = self._library.rnnoise_create(None)
        try:
            for address in range(samples.ctypes.data, samples.ctypes.data + samples.nbytes, _FRAME * 4):
                self._library.rnnoise_process_frame(state, address, address)
        finally:
            self._library.rnnoise_destroy(state)
