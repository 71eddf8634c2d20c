"""Turns at a resource, in the order of asking."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

from ml import errors

_POLL_SECONDS = 0.05


class Turns:
    """At most `size` at once, first come, first served.

    A long text asks again for each of its sentences. Python's own queues and semaphores let the thread that just gave
    its turn back take it again before a waiting one wakes up, so a long text would keep short ones waiting.
    """

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._free = size
        self._waiting: deque[threading.Event] = deque()

    @contextlib.contextmanager
    def turn(self, cancel: threading.Event | None) -> Iterator[None]:
        """Waits for a turn and holds it. Raises `Cancelled` when `cancel` is set before it comes."""
        self._wait(cancel)
        try:
            yield
        finally:
            self._pass_on()

    def _wait(self, cancel: threading.Event | None) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        while not mine.wait(None if cancel is None else _POLL_SECONDS):
            if cancel is not None and cancel.is_set():
                self._give_up(mine)
                raise errors.Cancelled("The request was cancelled.")

    def _give_up(self, mine: threading.Event) -> None:
        with self._lock:
            if not mine.is_set():
                self._waiting.remove(mine)
                return
        self._pass_on()  # it came between the last look and now

    def _pass_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # a turn goes over without ever being free
            else:
                self._free += 1
