"""The ports of `manage.py wyoming`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from wyoming.error import Error
from wyoming.event import async_write_event

from wyoming_api.connection import SEND_SECONDS, Connection
from wyoming_api.identity import Identity
from wyoming_api.protocol import MAX_LINE_BYTES

log = logging.getLogger("wyoming")


@dataclass(frozen=True, slots=True)
class Port:
    """Where an organisation is served: tcp://host:port or unix:///path."""

    uri: str
    identity: Identity


class Server:
    def __init__(self) -> None:
        self._connections: dict[asyncio.Task[Any], Connection] = {}

    async def serve(self, ports: list[Port], stop: asyncio.Event) -> None:
        """Until `stop` is set; then those who are being served have DRAIN_SECONDS to hear the end.

        Raises OSError for a port that cannot be used.
        """
        async with AsyncExitStack() as listeners:
            for port in ports:
                listener = await _listen(port.uri, partial(self._connected, port.identity))
                listeners.callback(listener.close)
                log.info("listening", extra={"uri": port.uri, "organization": port.identity.organization})
            await stop.wait()
        await self._drain()

    async def _connected(self, identity: Identity, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= settings.WYOMING_MAX_CONNECTIONS:
            return await _refuse(writer)
        task = asyncio.current_task()
        connection = Connection(reader, writer, identity)
        if task is not None:
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)
        await connection.run()

    async def _drain(self) -> None:
        tasks = list(self._connections)
        for connection in list(self._connections.values()):
            connection.drain()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=settings.DRAIN_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def check(uri: str) -> None:
    """Raises ValueError."""
    parts = urlsplit(uri)
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        return
    if parts.scheme == "unix" and parts.path:
        return
    raise ValueError(f"{uri!r} is neither tcp://host:port nor unix:///path.")


async def _listen(uri: str, connected: Any) -> asyncio.Server:
    parts = urlsplit(uri)
    if parts.scheme == "unix":
        return await asyncio.start_unix_server(connected, parts.path, limit=MAX_LINE_BYTES)
    return await asyncio.start_server(connected, parts.hostname, parts.port, limit=MAX_LINE_BYTES)


async def _refuse(writer: asyncio.StreamWriter) -> None:
    error = Error(text="This server serves as many clients as it may; try again.", code="session_limit")
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await async_write_event(error.event(), writer)
    except (ConnectionError, TimeoutError):
        log.info("nobody was left to be refused")
    finally:
        writer.close()
