"""Whether this process is about to end."""

from __future__ import annotations

import signal


def server_is_stopping() -> bool:
    """uvicorn waits for answers that are under way and tells nobody; its signal handler belongs to what knows."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return bool(getattr(server, "should_exit", False))
