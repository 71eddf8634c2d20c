"""The body of one answer. It holds no thread and no database connection while it waits."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable

from django.conf import settings
from django.db import connection

from common import errors
from jobs.events import hub, listeners, reading
from jobs.events.hub import Listener
from jobs.events.reading import Scope, encode

RETRY_MILLISECONDS = 3000
"""How long a browser waits before it connects again."""


class EventStream:
    """A snapshot, then what happens; a comment now and then, so that proxies keep the connection.

    still_allowed: looks at the credential again, in a thread; the stream ends where it answers False or raises.
    """

    def __init__(self, listener_id: uuid.UUID, scope: Scope, still_allowed: Callable[[], bool]) -> None:
        self._listener_id, self._scope, self._still_allowed = listener_id, scope, still_allowed
        self._forget: Callable[[], object] = lambda: None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body()

    def close(self) -> None:
        """Called in a thread when the answer has ended, however it did."""
        self._forget()
        try:
            listeners.leave(self._listener_id)
        finally:
            connection.close()

    async def _body(self) -> AsyncIterator[bytes]:
        listener, here = Listener(self._listener_id, self._scope), hub.current()
        loop = asyncio.get_running_loop()
        self._forget = lambda: loop.call_soon_threadsafe(here.discard, listener)
        yield f"retry: {RETRY_MILLISECONDS}\n\n".encode()
        if not await here.add(listener):
            yield encode("end", {"reason": "unavailable"})
            return
        yield await self._snapshot(self._scope)
        async for piece in self._news(listener):
            yield piece

    async def _news(self, listener: Listener) -> AsyncIterator[bytes]:
        beat_at = time.monotonic() + settings.JOB_EVENTS_BEAT_SECONDS
        while True:
            events = await listener.news(max(0.0, beat_at - time.monotonic()))
            if events:
                yield b"".join(event.encoded() for event in events)
            if listener.closing:
                yield encode("end", {"reason": "server_stopping"})
                return
            if listener.lost:
                listener.lost = False
                yield encode("resync", {})
                yield await self._snapshot(self._scope.coming_back())
            if time.monotonic() >= beat_at:
                if not await self._allowed():
                    yield encode("end", {"reason": "credential_ended"})
                    return
                yield b": still here\n\n"
                beat_at = time.monotonic() + settings.JOB_EVENTS_BEAT_SECONDS

    async def _snapshot(self, scope: Scope) -> bytes:
        return encode("snapshot", await hub.in_thread(reading.snapshot, scope))

    async def _allowed(self) -> bool:
        try:
            return await hub.in_thread(self._still_allowed)
        except errors.ApiError:
            return False
