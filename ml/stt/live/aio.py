"""A live session for asyncio: `push` waits without a thread, events are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Self

from ml.stt.live.events import Closed, LiveEvent
from ml.stt.live.options import LiveOptions
from ml.stt.live.recogniser import LiveRecognizer
from ml.stt.live.recogniser import recognizer as shared
from ml.stt.live.session import PUSH_SECONDS, LiveSession, too_far_behind
from ml.types import Caller


class AsyncLiveSession:
    """One session of one event loop. Iterating it gives the events, `Closed` last."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[LiveEvent] = asyncio.Queue()
        self.session: LiveSession

    @classmethod
    def start(
        cls,
        options: LiveOptions | None = None,
        *,
        caller: Caller = Caller(),  # noqa: B008  frozen
        on_heard: Callable[[float], None] | None = None,
        recognizer: LiveRecognizer = shared,
    ) -> Self:
        """As `LiveRecognizer.start`, and as quick. `on_heard` is called in a thread, and may wait for a database."""
        self = cls()
        self.session = recognizer.start(options, caller=caller, on_event=self._tell, on_heard=on_heard)
        return self

    async def push(self, data: bytes, *, timeout: float = PUSH_SECONDS) -> None:
        """Takes sound; waits for room, which holds whoever sends too fast back. Raises `TooFarBehind`."""
        while True:
            room: asyncio.Future[None] = self._loop.create_future()
            if self.session.offer(data, when_room=lambda room=room: self._call(_set, room)):  # type: ignore[misc]
                return
            try:
                async with asyncio.timeout(timeout):
                    await room
            except TimeoutError:
                if not self.session.loading:
                    raise too_far_behind() from None

    def finalize(self) -> None:
        self.session.finalize()

    def clear(self) -> None:
        self.session.clear()

    def stop(self) -> None:
        self.session.stop()

    def abort(self) -> None:
        self.session.abort()

    async def __aiter__(self) -> AsyncIterator[LiveEvent]:
        while True:
            event = await self._events.get()
            yield event
            if isinstance(event, Closed):
                return

    def _tell(self, event: LiveEvent) -> None:
        self._call(self._events.put_nowait, event)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop has closed: nobody is left
            self.session.abort()


def _set(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)
