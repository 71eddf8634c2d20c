"""What the runtime tells of itself, to whoever measures it. Nobody has to listen, and then it costs next to nothing.

    observe.listen(note)              # note(BatchComputed(…)), note(ModelLoaded(…)), …: quick, from any thread
    observe.trace_with(tracer)        # activities as a tree: request → batch → engine's process

Events name models and causes, never tenants or what was said.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchComputed:
    """An engine's one call for several items."""

    model_id: str  # "<task>/<name>"
    size: int  # items
    wait_seconds: tuple[float, ...]  # in the queue, of each item; empty where a batch is computed again singly
    compute_seconds: float
    failed: bool


@dataclass(frozen=True, slots=True)
class ItemRefused:
    """A model's queue was full."""

    model_id: str


@dataclass(frozen=True, slots=True)
class ModelLoaded:
    model_id: str
    device: str  # "cpu" or "cuda:0", …
    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelLoadFailed:
    model_id: str
    code: str  # of `ml.errors`


@dataclass(frozen=True, slots=True)
class ModelBroke:
    """A loaded engine that computes no more; it is loaded again at its next use."""

    model_id: str


@dataclass(frozen=True, slots=True)
class ModelFreed:
    model_id: str
    device: str
    reason: str  # "idle", "room" or "removed", which a newer version does too


@dataclass(frozen=True, slots=True)
class ProcessDied:
    """An engine's child process that ended by itself."""

    target: str  # "module:Class"


Event = BatchComputed | ItemRefused | ModelLoaded | ModelLoadFailed | ModelBroke | ModelFreed | ProcessDied
Listener = Callable[[Event], None]

_listeners: tuple[Listener, ...] = ()


def listen(listener: Listener) -> None:
    """Has `listener` told of every event from now on. Told once however often it is added."""
    global _listeners  # noqa: PLW0603  (replaced whole, so that `tell` needs no lock)
    if listener not in _listeners:
        _listeners = (*_listeners, listener)


def tell(event: Event) -> None:
    """A listener that fails is logged: it breaks nothing."""
    for listener in _listeners:
        try:
            listener(event)
        except Exception:
            log.exception("a listener failed")


# ── Activities ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Tracer(Protocol):
    """Whoever draws activities as a tree. Marks are its own: to the runtime they are opaque."""

    def here(self) -> Any:
        """A mark of the activity that this thread is in; None: in none."""
        ...

    def activity(
        self, name: str, parents: Sequence[Any], facts: dict[str, Any]
    ) -> contextlib.AbstractContextManager[None]:
        """The time of the block. parents: marks; the first is what it belongs to, the others are served by it too."""
        ...


_tracer: Tracer | None = None


def trace_with(tracer: Tracer | None) -> None:
    """None: nobody traces."""
    global _tracer  # noqa: PLW0603  (one a process)
    _tracer = tracer


def here() -> Any:
    """What work that is handed to another thread takes along, for `activity` there."""
    return None if _tracer is None else _tracer.here()


@contextlib.contextmanager
def activity(name: str, parents: Sequence[Any] | None = None, **facts: Any) -> Iterator[None]:
    """Something that takes time, as part of what this thread does, or of `parents`; what is part of nothing is not
    traced. facts: strings, numbers and booleans that say nothing of tenants."""
    tracer = _tracer
    known = () if tracer is None else [mark for mark in (parents or [tracer.here()]) if mark is not None]
    if tracer is None or not known:
        yield
        return
    with tracer.activity(name, known, facts):
        yield
