"""A client of the speech socket, over the `websockets` library."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.conftest import Tenant
from tests.live.support import connect
from tts.models import TtsJob

PATH = "/api/v1/tts/stream"


class Speech:
    """A session. What came is in `events`, `audio` and, by what followed it, `audio_after`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.audio = b""
        self.close_code: int | None = None

    def say(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def start(self, **options: Any) -> dict[str, Any]:
        self.say("start", **options)
        return self.until("ready")

    def write(self, text: str, *, letters: int = 7) -> None:
        """As a language model writes."""
        for at in range(0, len(text), letters):
            self.say("speak", text=text[at : at + letters])

    def receive(self, timeout: float = 30) -> dict[str, Any] | bytes:
        message = self.socket.recv(timeout=timeout)
        if isinstance(message, bytes):
            self.audio += message
            return message
        self.events.append(json.loads(message))
        return self.events[-1]

    def until(self, *kinds: str) -> dict[str, Any]:
        """The next event of one of these kinds."""
        while True:
            message = self.receive()
            if isinstance(message, dict) and message["type"] in kinds:
                return message

    def until_audio(self) -> bytes:
        while True:
            message = self.receive()
            if isinstance(message, bytes):
                return message

    def end(self) -> int:
        """Reads until the server closes; the close code."""
        try:
            while True:
                self.receive()
        except ConnectionClosed as closed:
            self.close_code = closed.rcvd.code if closed.rcvd else 1006
        return self.close_code

    def stop(self) -> int:
        self.say("stop")
        return self.end()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.of("sentence")]

    @property
    def error(self) -> dict[str, Any]:
        (event,) = self.of("error")
        assert {"type", "code", "message", "param", "request_id"} <= set(event["error"])
        return event["error"]

    @property
    def job(self) -> TtsJob:
        return TtsJob.objects.get(id=self.of("ready")[0]["session_id"])


@contextmanager
def speech(tenant: Tenant, *, key: str | None = None) -> Iterator[Speech]:
    """A socket of a new API key, not yet started."""
    headers = {"x-api-key": key or tenant.new_key("tts")[1]}
    with connect(tenant.server + PATH, headers) as socket:
        yield Speech(socket)


def settled(job: TtsJob, seconds: float = 15) -> TtsJob:
    """The job, once it has ended: a lost connection is noticed a moment later."""
    deadline = time.monotonic() + seconds
    while (row := TtsJob.objects.get(id=job.id)).status == "processing" and time.monotonic() < deadline:
        time.sleep(0.02)
    return row
