"""How a model is loaded, and what it takes.

Memory is what the engine says (`memory_bytes()`), or else by how much the process grew while it loaded, which two
loads side by side blur; on a GPU, where an engine says nothing, it is the estimate.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml import devices, errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to load a model. Whatever `load` returns has `close()`, and may have `memory_bytes() -> int`, and
    `process_bytes() -> int` where it computes in processes of its own."""

    id: str  # "<task>/<name>": the same for all versions
    task: str
    name: str
    version: str
    engine: str  # e.g. "sherpa"
    load: Callable[[], Any]  # raises `ModelInvalid`, `EngineFailed` or anything else
    device: str = devices.CPU  # or "cuda:0", …
    estimated_bytes: int = 0  # of the device's memory; room for it is made before loading
    pinned: bool = False  # once loaded, freed only when unregistered or replaced
    max_batch: int | None = None  # items that one call computes; None: as the engine's capabilities say
    concurrency: int | None = None  # calls side by side; None: as the engine's capabilities say


def load_measured(spec: ModelSpec) -> tuple[Any, int]:
    """The engine, and the bytes that it takes. Raises `MlError` only."""
    before = devices.resident_bytes()
    try:
        with _weights_apart:
            engine = spec.load()
        told = getattr(engine, "memory_bytes", None)
        if callable(told):
            return engine, int(told())
    except errors.MlError:
        raise
    except BaseException as error:  # SystemExit too: who waits for the load has to hear of it
        log.exception("model did not load", extra={"model": spec.id})
        raise errors.EngineFailed(f"{spec.id} could not be loaded: {type(error).__name__}: {error}") from error
    grown = devices.resident_bytes() - before
    return engine, grown if devices.memory_kind(spec.device) == "host" and grown > 0 else spec.estimated_bytes


def return_memory() -> None:
    """glibc keeps what was freed in its arenas, so that a server that swapped models would look as if it leaked."""
    gc.collect()
    _weights_apart.settle()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


class _WeightsApart:
    """While a model loads, glibc maps each block from 256 kB on by itself, so that freeing the model gives it back.

    Otherwise weights lie in the arenas among what requests allocate for milliseconds, the holes between them fit no
    next version's weights, and resident memory grows with every reload until all arenas are full: measured with the
    tiny Whisper, 16 threads and 16 reloads, from 214 to 361 MB at rest, and so from 194 to 211. Requests cost no more.
    """

    _TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them
    _OWN_MAPPING_BYTES = 256 << 10
    _USUAL_BYTES = 32 << 20
    """To which glibc raises the threshold by itself when large blocks are freed; it stops once one is set."""
    _TRIM_BYTES = 1 << 20
    """Free memory at the end of an arena, from which on it is given back at once (`malloc_trim` leaves that alone):
    while a model loads, and for some seconds after one was freed, in which threads that compute give theirs back."""
    _SETTLING_SECONDS = 10.0
    _USUAL_TRIM_BYTES = 2 * _USUAL_BYTES
    """As glibc has it by itself. With less, what an engine computes with is given back and faulted in again for every
    layer: Whisper base on padded windows took a fifth longer."""
    _OPERATORS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loads = 0
        self._settled: threading.Timer | None = None
        self._mallopt: Callable[[int, int], int] | None = None
        if not any(name in os.environ for name in self._OPERATORS):
            with contextlib.suppress(AttributeError, OSError):  # another C library
                self._mallopt = ctypes.CDLL(None).mallopt

    def __enter__(self) -> None:
        with self._lock:
            self._loads += 1
            self._set(self._OWN_MAPPING_BYTES, self._TRIM_BYTES)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._loads -= 1
        self.settle()

    def settle(self) -> None:
        """Has threads give back what they computed with, when they next free some of it."""
        with self._lock:
            if self._loads:
                return
            self._set(self._USUAL_BYTES, self._TRIM_BYTES)
            if self._settled is not None:
                self._settled.cancel()
            self._settled = threading.Timer(self._SETTLING_SECONDS, self._end_settling)
            self._settled.daemon = True
            self._settled.start()

    def _end_settling(self) -> None:
        with self._lock:
            if not self._loads:
                self._set(self._USUAL_BYTES, self._USUAL_TRIM_BYTES)

    def _set(self, mapped_bytes: int, trimmed_bytes: int) -> None:
        if self._mallopt is not None:
            self._mallopt(self._MMAP_THRESHOLD, mapped_bytes)
            self._mallopt(self._TRIM_THRESHOLD, trimmed_bytes)


_weights_apart = _WeightsApart()
