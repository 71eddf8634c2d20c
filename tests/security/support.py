"""Raw connections, and how much is generated."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

from hypothesis import HealthCheck, settings

FULL = os.environ.get("FUZZ") == "full"
"""FUZZ=full: twenty times as many generated attacks, other ones each time."""


def fuzzing(examples: int) -> Any:
    """Hypothesis' settings: the same few attacks in every run, or many new ones."""
    return settings(
        max_examples=examples * 20 if FULL else examples,
        derandomize=not FULL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def connection(server: str) -> socket.socket:
    parts = urlsplit(server)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def answer_of(open_socket: socket.socket) -> bytes:
    """Everything until the server closes; what a reset connection had brought until then."""
    received = b""
    try:
        while piece := open_socket.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    return received
