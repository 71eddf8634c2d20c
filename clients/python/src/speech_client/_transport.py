"""The two IOs: httpx's synchronous and asynchronous client."""

from __future__ import annotations

import asyncio
import os
import platform
import time

import httpx

from speech_client._events import AsyncEventStream, EventStream
from speech_client._http import Call
from speech_client._version import __version__

DEFAULT_URL = "http://localhost:8000"
CONNECT_SECONDS = 10.0


class _Base:
    """Where the server is, and how a call is said to it."""

    _http: httpx.Client | httpx.AsyncClient

    def __init__(self, base_url: str | None, api_key: str | None, timeout: float, retries: int) -> None:
        self.base_url = (base_url or os.environ.get("SPEECH_URL") or DEFAULT_URL).rstrip("/")
        self.timeout, self.retries = timeout, retries
        key = api_key or os.environ.get("SPEECH_API_KEY")
        agent = f"speech-platform-client/{__version__} python/{platform.python_version()}"
        self.headers = {"User-Agent": agent, **({"Authorization": f"Bearer {key}"} if key else {})}

    def url(self, path: str) -> str:
        """Of a path below /api/v1, or below the root where it starts with two slashes."""
        if path.startswith(("http://", "https://")):
            return path
        return self.base_url + (path[1:] if path.startswith("//") else f"/api/v1{path}")

    def request(self, call: Call, key: str | None) -> httpx.Request:
        own = self.headers if not call.path.startswith("http") else {}
        repeatable = {"Idempotency-Key": key} if key else {}
        timeout = httpx.Timeout(call.read_timeout or self.timeout, connect=min(CONNECT_SECONDS, self.timeout))
        return self._http.build_request(
            call.method,
            self.url(call.path),
            params=dict(call.params) or None,
            json=call.json,
            data=dict(call.form) or None,
            files=[(name, upload.part()) for name, upload in call.files] or None,
            headers={**own, **repeatable, **call.headers},
            timeout=timeout,
        )


class Transport(_Base):
    def __init__(
        self, base_url: str | None, api_key: str | None, timeout: float, retries: int, client: httpx.Client | None
    ) -> None:
        super().__init__(base_url, api_key, timeout, retries)
        self._http: httpx.Client = client or httpx.Client()

    def send(self, call: Call, key: str | None, stream: bool = False) -> httpx.Response:
        return self._http.send(self.request(call, key), stream=stream)

    def read(self, response: httpx.Response) -> bytes:
        return response.read()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def events(self, **filters: str | None) -> EventStream:
        return EventStream(self, **filters)

    def close(self) -> None:
        self._http.close()


class AsyncTransport(_Base):
    def __init__(
        self, base_url: str | None, api_key: str | None, timeout: float, retries: int, client: httpx.AsyncClient | None
    ) -> None:
        super().__init__(base_url, api_key, timeout, retries)
        self._http: httpx.AsyncClient = client or httpx.AsyncClient()

    async def send(self, call: Call, key: str | None, stream: bool = False) -> httpx.Response:
        return await self._http.send(self.request(call, key), stream=stream)

    async def read(self, response: httpx.Response) -> bytes:
        return await response.aread()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def events(self, **filters: str | None) -> AsyncEventStream:
        return AsyncEventStream(self, **filters)

    async def close(self) -> None:
        await self._http.aclose()
