"""What waits for a live session: sound, in order with the commands that follow it, and results of engines.

One thread at a time works through it, lent by the recogniser, so that whatever it calls needs no lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_BLOCK_SECONDS = 0.25  # of sound that is handled at a time: other work comes between
_ITEMS_A_TURN = 8
"""So many items, and the thread goes on to the next session."""

Step = Callable[[], None]


class Inbox:
    """Safe to use from any thread.

    lend: has a thread run a step, or says False. hear: takes a piece of sound. do: takes a command or a result. behind:
    whether no more sound is to be handled now; asked again after every result.
    """

    def __init__(
        self,
        *,
        lend: Callable[[Step], bool],
        hear: Callable[[bytes], None],
        do: Callable[[Step], None],
        behind: Callable[[], bool],
        bytes_a_second: int,
        buffer_seconds: float,
    ) -> None:
        self._lend, self._hear, self._do, self._behind = lend, hear, do, behind
        self._lock = threading.Lock()
        self._results: deque[Step] = deque()
        self._sound: deque[bytes | Step] = deque()
        self.sound_bytes = 0
        self._most_bytes = round(buffer_seconds * bytes_a_second)
        self._block_bytes = max(8, round(_BLOCK_SECONDS * bytes_a_second) // 8 * 8)
        self._lent = False  # a thread works here, or is about to
        self._shut = False  # nothing more is taken in but results
        self._room_wanted: list[Step] = []

    def offer(self, data: bytes, when_room: Step | None) -> bool:
        """Takes sound, all of it or nothing: False where there is no room, and `when_room` is called once there is."""
        with self._lock:
            if self._shut or not data:
                return True
            if self.sound_bytes and self.sound_bytes + len(data) > self._most_bytes:
                if when_room is not None:
                    self._room_wanted.append(when_room)
                return False
            for start in range(0, len(data), self._block_bytes):
                self._sound.append(bytes(data[start : start + self._block_bytes]))
            self.sound_bytes += len(data)
            self._call_thread()
            return True

    def command(self, step: Step, *, last: bool = False) -> None:
        """Done when the sound before it has been handled. last: nothing more is taken in."""
        with self._lock:
            if not self._shut:
                self._sound.append(step)
                self._shut = last
                self._call_thread()

    def post(self, step: Step) -> None:
        """Done next."""
        with self._lock:
            self._results.append(step)
            self._call_thread()

    def shut(self, *, drop: bool) -> None:
        """Takes nothing more in but results. drop: what waits is forgotten, and whoever waits for room goes on."""
        with self._lock:
            self._shut = True
            if drop:
                self._sound.clear()
                self.sound_bytes = 0
                self._tell_room()

    def forget_sound(self) -> None:
        """Drops the sound that waits, and none of the commands."""
        with self._lock:
            self._sound = deque(item for item in self._sound if not isinstance(item, bytes))
            self.sound_bytes = 0
            self._tell_room()

    def _call_thread(self) -> None:
        if not self._lent:
            self._lent = self._lend(self._work)

    def _work(self) -> None:
        for _ in range(_ITEMS_A_TURN):
            item = self._next()
            if item is None:
                return
            if isinstance(item, bytes):
                self._hear(item)
            else:
                self._do(item)
        with self._lock:
            self._lent = self._lend(self._work)

    def _next(self) -> bytes | Step | None:
        with self._lock:
            if self._results:
                return self._results.popleft()
            if self._sound and not self._behind():
                item = self._sound.popleft()
                if isinstance(item, bytes):
                    self.sound_bytes -= len(item)
                    self._tell_room()
                return item
            self._lent = False
            return None

    def _tell_room(self) -> None:
        wanted, self._room_wanted = self._room_wanted, []
        for callback in wanted:
            callback()
