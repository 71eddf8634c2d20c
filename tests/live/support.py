"""Sockets for the tests: the `websockets` client against a real server."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
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


def encoded(pcm: np.ndarray, encoding: str) -> bytes:
    """16 kHz samples, by FFmpeg, not by the tables under test."""
    container, codec = {
        "pcm_s16le": ("s16le", "pcm_s16le"),
        "pcm_f32le": ("f32le", "pcm_f32le"),
        "mulaw": ("mulaw", "pcm_mulaw"),
        "alaw": ("alaw", "pcm_alaw"),
        "opus/ogg": ("ogg", "libopus"),
        "opus/webm": ("webm", "libopus"),
    }[encoding]
    target = io.BytesIO()
    with av.open(target, "w", format=container) as writer:
        stream = writer.add_stream(codec, rate=16_000 if "opus" not in encoding else 48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
        frame.sample_rate = 16_000
        size = 960 if "opus" in encoding else None
        resampler = av.AudioResampler(stream.format, stream.layout, stream.rate, frame_size=size)
        for each in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(each):
                writer.mux(packet)
        for packet in stream.encode(None):
            writer.mux(packet)
    return target.getvalue()
