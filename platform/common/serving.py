"""How uvicorn serves the platform: heads of requests have a size and a time, WebSocket messages a size.

uvicorn itself waits for ever for the rest of a head, and keeps whatever comes: a few thousand slow connections, or one
that sends headers without end, would take a server's places or its memory. Bodies have their time in `common.handler`
and `common.uploads`; nginx in front (deploy/nginx) has limits of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of one request: its line and headers. nginx lets 64 kB through."""
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of one WebSocket message: `/v1/realtime` takes 10 MB of sound at once, in base64; other sockets take less."""

_BODY = '{"error": {"type": "invalid_request_error", "code": "%s", "message": "%s", "param": null, "request_id": "%s"}}'


class HttpProtocol(HttpToolsProtocol):
    """Closes connections whose head does not come within REQUEST_HEAD_SECONDS or is larger than MAX_HEAD_BYTES."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _head_is_open = True  # between requests, and while a head is being received
    _too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_is_open:
            self._head_bytes += len(data)
            if self._head_timer is None:  # a further request on this connection
                self._await_head()
        super().data_received(data)
        if self._head_is_open and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "head_too_large", "The headers are too large.")

    def on_headers_complete(self) -> None:
        self._head_is_open = False
        self._stop_waiting()
        # A head may come in one piece with much of its body: only what belongs to it counts.
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            self._too_large = True
            raise ValueError("The headers are too large.")  # ends the parsing; `send_400_response` answers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_is_open, self._head_bytes = True, 0

    def handle_websocket_upgrade(self) -> None:
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        """In the contract's shape, where uvicorn sends text."""
        if self._too_large:
            return self._refuse(431, "head_too_large", "The headers are too large.")
        self._refuse(400, "malformed_request", "This is not an HTTP request.")

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(settings.REQUEST_HEAD_SECONDS, self._head_is_late)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_is_open and (self.cycle is None or self.cycle.response_complete):
            self._refuse(408, "request_timeout", "The headers took too long.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        if self.transport.is_closing():
            return
        request_id = uuid.uuid4().hex
        body = _BODY % (code, message, request_id)
        lines = [
            "content-type: application/json",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "x-content-type-options: nosniff",
            "connection: close",
        ]
        self.transport.write(STATUS_LINE[status] + "\r\n".join([*lines, "", body]).encode())
        self.transport.close()


def options() -> dict[str, Any]:
    """Arguments of `uvicorn.Config`, wherever the platform is served."""
    return {
        "http": HttpProtocol,
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # of sound it saves nothing; of zeros it makes a bomb
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }
