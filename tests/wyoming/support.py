"""`manage.py wyoming` in a process of its own, and the library's client."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event, Eventable

from tests.conftest import Tenant
from tests.platform_process import ROOT, free_port

SECONDS = 60.0
IDLE_SECONDS = 3


class Cable:
    """A TCP port in front of the test database, which can be cut."""

    def __init__(self, target: str) -> None:
        self._target, self._connected = target, True
        self._ends: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._connected = False
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._connected = True

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._connected:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends |= {near, far}
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            self._ends.discard(end)
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@dataclass
class Wyoming:
    """The command, which serves each tenant at a port of its own."""

    process: subprocess.Popen[bytes]
    output: Path
    cable: Cable
    uris: list[str] = field(default_factory=list)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running(folder: Path, ports: list[tuple[Tenant, str]]) -> Iterator[Wyoming]:
    """ports: whose they are, and the id of the API key. The second is a socket in the folder."""
    from django.db import connection

    database = connection.settings_dict
    cable = Cable(f"{database['HOST']}/.s.PGSQL.{database['PORT'] or 5432}")
    url = f"postgresql://{database['USER']}@127.0.0.1:{cable.port}/{database['NAME']}"
    env = {
        **os.environ, "DATABASE_URL": url, "DRAIN_SECONDS": "10", "LOG_LEVEL": "INFO",
        "WYOMING_IDLE_SECONDS": str(IDLE_SECONDS),
    }  # fmt: skip
    uris = [f"tcp://127.0.0.1:{free_port()}", f"unix://{folder}/wyoming.socket"]
    arguments = [part for uri, (tenant, key) in zip(uris, ports, strict=True)
                 for part in ("--listen", uri, tenant.organization.slug, key)]  # fmt: skip
    output = folder / "wyoming.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "wyoming", *arguments], cwd=ROOT, env=env, stdout=file, stderr=file
        )
    wyoming = Wyoming(process, output, cable, uris)
    try:
        for uri in uris:
            _wait_for(wyoming, uri)
        yield wyoming
    finally:
        process.kill()
        process.wait(10)
        cable.close()


def _wait_for(wyoming: Wyoming, uri: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if wyoming.process.poll() is not None:
            raise AssertionError(wyoming.output.read_text())
        with suppress(OSError):
            asyncio.run(_connect(uri))
            return
        time.sleep(0.1)
    raise AssertionError(f"nobody listens at {uri}")


async def _connect(uri: str) -> None:
    async with AsyncClient.from_uri(uri):
        pass


def talk(uri: str, *said: Eventable, until: str) -> list[Event]:
    """Says all that, and hears everything up to the event of this type, or to the end."""
    return asyncio.run(_talk(uri, said, until))


async def _talk(uri: str, said: tuple[Eventable, ...], until: str) -> list[Event]:
    async with AsyncClient.from_uri(uri) as client:
        for event in said:
            await client.write_event(event.event())
        return await heard(client, lambda event: event.type == until)


async def heard(client: AsyncClient, is_last: Callable[[Event], bool]) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(SECONDS):
        while (event := await client.read_event()) is not None:
            events.append(event)
            if is_last(event):
                break
    return events


def sound(pcm: bytes, *, rate: int = 16_000, channels: int = 1) -> list[Eventable]:
    """As Home Assistant sends it."""
    form: dict[str, Any] = {"rate": rate, "width": 2, "channels": channels}
    chunks = [AudioChunk(audio=pcm[start : start + 2048], **form) for start in range(0, len(pcm), 2048)]
    return [AudioStart(**form), *chunks, AudioStop()]
