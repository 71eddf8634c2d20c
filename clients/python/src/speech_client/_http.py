"""Requests as data, and when to send one again. Nothing here reaches the network."""

from __future__ import annotations

import itertools
import os
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import httpx

from speech_client._flow import IO, Flow
from speech_client.errors import ApiError, ConnectionFailed, TimedOut, error_of

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 8.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A server that wants to be left alone for longer is not waited for."""

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""Audio: a path, the bytes themselves, or an open binary file."""


@dataclass(frozen=True)
class Call:
    """A request. `makes_job`: it is sent with an Idempotency-Key, and so may be repeated."""

    method: str
    path: str  # below /api/v1; an absolute URL is another host's, and gets no credential
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, Upload]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    makes_job: bool = False
    again: bool = True  # False: whoever calls does something else when it fails
    read_timeout: float | None = None  # seconds; None: the client's


class Upload:
    """A file to send, which can be sent again. Closes what it opened itself."""

    def __init__(self, source: Source, name: str | None = None) -> None:
        self._own: BinaryIO | None = None
        if isinstance(source, bytes | bytearray | memoryview):
            self.name, self._content, self._start = name or "audio", bytes(source), 0
            return
        if isinstance(source, str | os.PathLike):
            file: BinaryIO = Path(source).open("rb")  # noqa: SIM115 (closed by close())
            self._own = file
        else:
            file = source
        self.name = name or _name_of(file)
        if file.seekable():
            self._content, self._start = file, file.tell()
        else:  # a pipe comes once only
            self._content, self._start = file.read(), 0

    _content: bytes | BinaryIO

    def part(self) -> tuple[str, bytes | BinaryIO]:
        """For httpx, from its beginning."""
        if not isinstance(self._content, bytes):
            self._content.seek(self._start)
        return self.name, self._content

    def close(self) -> None:
        if self._own:
            self._own.close()

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _name_of(file: BinaryIO) -> str:
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and not name.startswith("<") else "audio"


def without_none(**fields: Any) -> dict[str, Any]:
    """What was said; None stands for nothing."""
    return {name: value for name, value in fields.items() if value is not None}


def as_form(fields: Mapping[str, Any]) -> dict[str, str]:
    """Values as form fields and query strings have them."""
    return {name: _text(value) for name, value in fields.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def fetch(io: IO, call: Call, stream: bool = False) -> Flow[httpx.Response]:
    """The answer to a call, after as many tries as it may have. Raises ApiError, ConnectionFailed."""
    key = str(uuid.uuid4()) if call.makes_job else None
    for attempt in itertools.count():
        error: ApiError | httpx.TransportError
        try:
            response: httpx.Response = yield io.send(call, key, stream)
            if response.is_success:
                return response
            if stream:
                yield io.read(response)
            error = error_of(response)
        except httpx.TransportError as failure:
            error = failure
        delay = _delay(call, error, attempt) if call.again and attempt < io.retries else None
        if delay is None:
            raise _told(error) from (error if isinstance(error, httpx.TransportError) else None)
        yield io.sleep(delay)
    raise AssertionError("unreachable")


def _delay(call: Call, error: ApiError | httpx.TransportError, attempt: int) -> float | None:
    """Seconds until the next try; None: there is none."""
    if isinstance(error, httpx.TransportError):
        harmless = call.makes_job or call.method in ("GET", "HEAD")
        # A connection that never came about has done nothing; the others may have.
        return _backoff(attempt) if harmless or isinstance(error, httpx.ConnectError) else None
    busy = error.status in (429, 503) or error.code == "idempotency_in_progress"
    if not busy or (error.retry_after or 0) > LONGEST_RETRY_AFTER_SECONDS:
        return None
    return max(error.retry_after or 0.0, _backoff(attempt))


def _backoff(attempt: int) -> float:
    longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**attempt)
    return float(longest * random.uniform(0.5, 1.0))  # noqa: S311 (so that clients do not come back together)


def _told(error: ApiError | httpx.TransportError) -> ApiError | ConnectionFailed:
    if isinstance(error, ApiError):
        return error
    host = error.request.url.copy_with(path="/", query=None) if error._request else "the server"
    if isinstance(error, httpx.TimeoutException):
        return TimedOut(f"{host} did not answer in time.")
    return ConnectionFailed(f"{host} cannot be reached: {error or type(error).__name__}")
