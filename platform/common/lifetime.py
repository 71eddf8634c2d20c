"""The life of this process: what it keeps from its start, and whether it is about to end."""

from __future__ import annotations

import gc
import signal


def has_started() -> None:
    """Takes what the start has made, which lives as long as the process, out of the garbage collector's sight.

    A full collection looks at every object and holds all threads up meanwhile: in a server that had only just started,
    at 175,000 for 0.12 s of a core; without them it took 0.02 s.
    """
    gc.collect()
    gc.freeze()


def server_is_stopping() -> bool:
    """uvicorn waits for answers that are under way and tells nobody; its signal handler belongs to what knows."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
