"""One connection a process listens, however many streams are open: PostgreSQL's notifications, read once, to everyone
here whom they concern. Everything in this module runs in the server's event loop; rows are read in threads."""

from __future__ import annotations

import asyncio
import logging
import uuid
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from procrastinate.contrib.django.utils import connector_params

from common import lifetime
from common.concurrency import in_request_context
from jobs.events import listeners, reading
from jobs.events.reading import Event, Notice, Scope

log = logging.getLogger(__name__)

CHANNEL = "job_events"
NAME = "speech job events"
"""Of the connection, for who looks at pg_stat_activity."""
GATHER_SECONDS = 0.05
"""What happens within so long is read with one query. Of a job's progress only the newest is sent."""
CONNECT_SECONDS = 5.0
PING_SECONDS = 5.0

R = TypeVar("R")

_threads = ThreadPoolExecutor(4, thread_name_prefix="job-events")


async def in_thread(function: Callable[..., R], *args: Any) -> R:
    """For what touches the database; its connection is given back."""
    return await asyncio.get_running_loop().run_in_executor(_threads, in_request_context(function), *args)


class Listener:
    """What one stream still has to send."""

    def __init__(self, listener_id: uuid.UUID, scope: Scope) -> None:
        self.id, self.scope = listener_id, scope
        self._waiting: deque[Event] = deque()
        self._news = asyncio.Event()
        self.lost = False
        """Whether events were missed: the stream must send a snapshot."""
        self.closing = False
        self.settled = False
        """Whether it has been told that it hears everything."""

    def offer(self, event: Event) -> None:
        if self.lost or not self.scope.has(event):
            return
        if len(self._waiting) >= settings.JOB_EVENTS_MAX_BEHIND:
            self.lose()
            return
        self._waiting.append(event)
        self._news.set()

    def lose(self) -> None:
        self._waiting.clear()
        self.lost = True
        self._news.set()

    def close(self) -> None:
        self.closing = True
        self._news.set()

    async def news(self, timeout: float) -> list[Event]:
        """What is to be sent; nothing after `timeout` seconds, and where `lost` or `closing` is to be looked at."""
        try:
            async with asyncio.timeout(
                timeout
            ):  # wait_for would swallow the end of a stream that news come to just then
                await self._news.wait()
        except TimeoutError:
            return []
        self._news.clear()
        taken = list(self._waiting)
        self._waiting.clear()
        return taken


class Hub:
    def __init__(self) -> None:
        self._listeners: dict[uuid.UUID, Listener] = {}
        self._live = asyncio.Event()
        self._running: asyncio.Future[None] | None = None
        self._pending: dict[Notice, None] = {}
        self._something = asyncio.Event()

    async def add(self, listener: Listener) -> bool:
        """From here on the listener hears everything; False when the database does not answer."""
        self._listeners[listener.id] = listener
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._run())
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._live.wait()
        except TimeoutError:
            return False
        listener.settled = True
        return True

    def discard(self, listener: Listener) -> None:
        self._listeners.pop(listener.id, None)

    async def _run(self) -> None:
        """While anybody listens."""
        tasks = [asyncio.ensure_future(work()) for work in (self._distribute, self._look_after)]
        try:
            while self._listeners:
                try:
                    await self._listen()
                except psycopg.Error:
                    log.warning("lost the connection that listens for job events; connecting again", exc_info=True)
                    await asyncio.sleep(1)
                finally:
                    self._live.clear()
        finally:
            for task in tasks:
                task.cancel()

    async def _listen(self) -> None:
        parameters = await in_thread(connector_params)
        async with await psycopg.AsyncConnection.connect(
            **{**parameters, "application_name": NAME}, autocommit=True
        ) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            for listener in self._listeners.values():
                if listener.settled:
                    listener.lose()  # what happened while nobody listened
            self._live.set()
            while self._listeners:
                heard = False
                async for notification in connection.notifies(timeout=PING_SECONDS, stop_after=1):
                    heard = True
                    self._note(notification.payload)
                if not heard:
                    await connection.execute("SELECT 1")  # a connection that died silently is found out

    def _note(self, payload: str) -> None:
        notice = Notice.parse(payload)
        if any(listener.scope.organization_id == notice.organization_id for listener in self._listeners.values()):
            self._pending[notice] = None
            self._something.set()

    async def _distribute(self) -> None:
        while True:
            await self._something.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._something.clear()
            notices, self._pending = list(self._pending), {}
            try:
                events = await in_thread(reading.events_of, notices)
            except Exception:
                log.exception("could not read what happened to jobs; listeners get a snapshot instead")
                for listener in self._listeners.values():
                    listener.lose()
                await asyncio.sleep(1)
                continue
            for event in events:
                for listener in list(self._listeners.values()):
                    listener.offer(event)

    async def _look_after(self) -> None:
        """Keeps the listeners' rows alive, and ends the streams of a server that stops: it would wait for them."""
        since_beat = 0.0
        while True:
            await asyncio.sleep(0.5)
            since_beat += 0.5
            if lifetime.server_is_stopping():
                for listener in self._listeners.values():
                    listener.close()
            if since_beat >= settings.JOB_EVENTS_BEAT_SECONDS:
                since_beat = 0.0
                try:
                    await in_thread(listeners.keep_alive, list(self._listeners))
                except Exception:
                    log.exception("could not keep event listeners alive; trying again")


_hubs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = weakref.WeakKeyDictionary()


def current() -> Hub:
    """The hub of the running event loop: a server has one."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
