"""How a model is loaded, and what it takes.

Memory is what the engine says (`memory_bytes()`), or else by how much the process grew while it loaded, which two
loads side by side blur; on a GPU, where an engine says nothing, it is the estimate.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml import devices, errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How to load a model. Whatever `load` returns has `close()`, and may have `memory_bytes() -> int`."""

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
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
