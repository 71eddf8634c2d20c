"""Waiting for a future while its caller may leave."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from ml import errors

Result = TypeVar("Result")

CANCEL_POLL_SECONDS = 0.05
"""How long a cancelled wait may go unnoticed."""


def wait_for(future: Future[Result], cancel: threading.Event | None = None, *, deadline: float | None = None) -> Result:
    """The future's result. The future goes on when its caller leaves.

    deadline: of `time.monotonic()`. Raises what the future raises; `Cancelled` when `cancel` is set first, or the
    future was cancelled; `EngineUnavailable` at the deadline.
    """
    poll = None if cancel is None and deadline is None else CANCEL_POLL_SECONDS
    while True:
        try:
            return future.result(poll)
        except CancelledError:
            raise errors.Cancelled("The request was cancelled.") from None
        except TimeoutError:
            if future.done():  # it came just now, or raised a time-out of its own
                return future.result()
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        if deadline is not None and time.monotonic() > deadline:
            raise errors.EngineUnavailable("The model is still being loaded.")


class JointCancel(threading.Event):
    """Set when every caller has left: one who stays gets his result."""

    def __init__(self, events: Sequence[threading.Event]) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return all(event.is_set() for event in self._events)

    def wait(self, timeout: float | None = None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (deadline is None or time.monotonic() < deadline):
            time.sleep(CANCEL_POLL_SECONDS)
        return self.is_set()
