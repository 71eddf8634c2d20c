"""Sockets for the tests: the `websockets` client against a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as websocket_connect


@contextmanager
def serving(application: Callable[..., Any]) -> Iterator[str]:
    """`application` on a real port; its ws:// URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=20)


def connect(url: str, headers: dict[str, str] | None = None, **options: Any) -> ClientConnection:
    return websocket_connect(
        url.replace("http://", "ws://"), additional_headers=headers, compression=None, proxy=None, **options
    )


def receive(socket: ClientConnection, timeout: float = 60) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=timeout))


def rest(socket: ClientConnection, timeout: float = 60) -> tuple[list[dict[str, Any]], int]:
    """All messages until the server closes, and its close code."""
    messages = []
    try:
        while True:
            messages.append(receive(socket, timeout))
    except ConnectionClosed as closed:
        return messages, closed.rcvd.code if closed.rcvd else 1006
