"""What every WebSocket of the platform shares: admission, errors and close codes, one clean end, draining.

Consumers run on the event loop and never block it: database work goes through `common.concurrency.in_thread`,
computing to the engines' threads. Channels calls `received_text` and `received_bytes` one at a time and reads no
further message meanwhile, so that awaiting there holds a fast client back. Answers to the server's pings are not read
meanwhile either: do not await for more than ten seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import HttpRequest

from accounts.actors import Access, Actor
from common import context, errors
from common.concurrency import in_thread
from common.network import client_address
from ml.errors import Cancelled, MlError
from observability import metrics, tracing
from sockets.authentication import Admission, admit, handshake

log = logging.getLogger("socket")

SEND_SECONDS = 10.0
"""A client that does not read for so long is taken for lost."""

NORMAL, FAULT, RESTART, TRY_LATER = 1000, 1011, 1012, 1013
PROTOCOL, NOT_AUTHENTICATED, FORBIDDEN, LIMITS = 4400, 4401, 4403, 4429

_CLOSE_CODES = {401: NOT_AUTHENTICATED, 402: LIMITS, 403: FORBIDDEN, 429: LIMITS, 503: TRY_LATER}

_open: set[Socket] = set()
_draining = False


class Socket(AsyncWebsocketConsumer):
    """One connection. Subclasses say who may open it, and override what they need of the methods below.

    `received_text` and `received_bytes` may raise `ApiError` and `MlError`: the client is told and the socket closed.
    """

    access: ClassVar[Access] = Access()
    name: ClassVar[str] = ""  # what metrics call it; empty: the class's
    answers_handshake: ClassVar[bool] = False
    """Whether who may not open it is told so with an HTTP answer, as programs expect it. Browsers show pages only the
    close code of a socket that was accepted."""

    request: HttpRequest
    admission: Admission
    _started = 0.0
    _accepted = False
    _closed = False  # nothing can be sent any more
    _ended = False
    _close_code: int | None = None
    _span = tracing.Handle()

    @property
    def actor(self) -> Actor:
        """Who opened it; from `opened` on."""
        return self.admission.actor

    # ── For subclasses ──────────────────────────────────────────────────────────────────────────────────────────────

    def subprotocol(self) -> str | None:
        """What to answer of `scope["subprotocols"]`; most protocols have none."""
        return None

    def credential(self) -> str:
        """A credential that this protocol carries elsewhere than in the usual headers; empty: the usual ones."""
        return ""

    async def prepare(self) -> None:
        """With `answers_handshake`: the client was admitted, and what this raises refuses the opening request."""

    def handshake_headers(self) -> list[tuple[bytes, bytes]]:
        """Of the answer that accepts it."""
        return []

    async def opened(self) -> None:
        """The client was admitted."""

    async def received_text(self, text: str) -> None:
        """A text message came."""

    async def received_bytes(self, data: bytes) -> None:
        """A binary message came."""

    async def ended(self) -> None:
        """Frees everything. Called once, however the connection ended, also one that was never admitted."""

    async def drain(self) -> None:
        """The server stops: ends in an orderly way within a few seconds, by `finish`."""
        await self.finish(RESTART, "the server restarts")

    def error_message(self, body: dict[str, Any]) -> dict[str, Any]:
        """How this protocol tells an error. body: the contract's `error` object."""
        return {"type": "error", "error": body}

    def refusal(self, status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON with which the opening request is refused, where the protocol `answers_handshake`."""
        return status, {"error": body}

    def close_code(self, status: int) -> int:
        """Of an error with this HTTP status."""
        return _CLOSE_CODES.get(status, FAULT if status >= 500 else PROTOCOL)

    # ── Sending and closing ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closed

    async def send_json(self, message: dict[str, Any]) -> None:
        """Sends; a client that has gone is no error, its end is reported by `ended`."""
        await self._sending(self.send(text_data=json.dumps(message)))

    async def send_bytes(self, data: bytes) -> None:
        await self._sending(self.send(bytes_data=data))

    async def fail(self, error: BaseException) -> None:
        """Tells the client what went wrong, and closes."""
        status, body = describe(error)
        if not self._accepted:
            return await self._refuse(status, body)
        await self.send_json(self.error_message(body))
        await self.finish(self.close_code(status), body["code"])

    async def _refuse(self, status: int, body: dict[str, Any]) -> None:
        """Answers the opening request with the error."""
        status, content = self.refusal(status, body)
        headers = [(b"content-type", b"application/json"), (b"x-request-id", context.request_id.get().encode())]
        if status in (429, 503):
            headers.append((b"retry-after", str(body.get("retry_after_seconds", 2)).encode()))
        start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
        await self._sending(self.base_send(start))
        answer = {"type": "websocket.http.response.body", "body": json.dumps(content).encode()}
        await self._sending(self.base_send(answer))
        self._closed, self._close_code = True, status
        await self._end()

    async def finish(self, code: int = NORMAL, reason: str = "") -> None:
        """Closes, and frees everything."""
        if not self._closed:
            await self._sending(self.close(code=code, reason=reason))
            self._closed, self._close_code = True, code
        await self._end()

    async def _sending(self, sending: Awaitable[None]) -> None:
        if self._closed:
            getattr(sending, "close", lambda: None)()
            return
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await sending
        except (OSError, TimeoutError):  # what servers raise after a disconnect; a client that does not read
            self._closed = True

    # ── Channels' side ──────────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also where the server cancels us
            self._closed = True
            await self._end()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Without Channels' look at old database connections at every message: our threads give theirs back."""
        handlers = {
            "websocket.connect": self.websocket_connect,
            "websocket.receive": self.websocket_receive,
            "websocket.disconnect": self.websocket_disconnect,
        }
        await handlers[message["type"]](message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        self._started = time.perf_counter()
        self.request = handshake(self.scope)
        given = self.request.headers.get("traceparent", "")
        context.begin(context.new_request_id(self.request.headers), trace=tracing.trace_id_of(given))
        self._span = tracing.begin("websocket", kind="server", parent=given, socket=name_of(type(self)))
        context.origin.set(
            context.Origin(client_address(self.request), self.request.headers.get("User-Agent", "")[:300])
        )
        if not self.answers_handshake:
            await self._accept()
        await self._guarded(self._admit)

    async def _accept(self) -> None:
        await self.accept(subprotocol=self.subprotocol(), headers=self.handshake_headers())
        self._accepted = True

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        if self._closed:
            return
        text, data = message.get("text"), message.get("bytes")
        if text is not None:
            await self._guarded(lambda: self.received_text(text))
        else:
            await self._guarded(lambda: self.received_bytes(data or b""))

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._closed = True
        self._close_code = self._close_code or message.get("code")
        await self._end()
        raise StopConsumer

    async def _admit(self) -> None:
        _open.add(self)
        if _draining:
            raise errors.Unavailable("The server is stopping; connect again.", code="draining")
        self.admission = await in_thread(admit, self.request, access=self.access, credential=self.credential())
        context.organization_id.set(str(self.actor.organization.id))
        if self.answers_handshake:
            await self.prepare()
            await self._accept()
        await self.opened()

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception as error:
            await self.fail(error)

    async def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        _open.discard(self)
        try:
            await self.ended()
        except Exception:
            log.exception("a socket did not end cleanly")
        self._span.note(close_code=self._close_code or 0)
        self._span.end()
        metrics.socket_closed(name_of(type(self)), self._close_code)
        log.info(
            "socket",
            extra={
                "path": self.scope.get("path"),
                "status": self._close_code,
                "duration_ms": round((time.perf_counter() - self._started) * 1000, 1) if self._started else 0,
            },
        )


def describe(error: BaseException) -> tuple[int, dict[str, Any]]:
    """The HTTP status that an error would have, and the contract's `error` object."""
    if isinstance(error, errors.ApiError):
        extra = dict(error.extra)
        if error.retry_after_seconds is not None:
            extra["retry_after_seconds"] = error.retry_after_seconds
        body = errors.error_body(error.status, code=error.code, message=error.message, param=error.param, extra=extra)
        return error.status, body["error"]
    if isinstance(error, Cancelled):
        body = errors.error_body(409, code="job_cancelled", message="The job was cancelled while it ran.")
        return 409, body["error"]
    if isinstance(error, MlError):
        body = errors.error_body(error.status, code=error.code, message=error.message, param=error.param)
        return error.status, body["error"]
    log.error("socket failed", exc_info=error)
    message = "Something went wrong here; it is logged under this request id."
    return 500, errors.error_body(500, code="internal_error", message=message)["error"]


async def drain_all(seconds: float) -> None:
    """Ends all sockets of this process in an orderly way, within `seconds`; new ones are refused from now on."""
    global _draining  # noqa: PLW0603  (whether this process is being stopped)
    _draining = True
    ending = [asyncio.ensure_future(socket.drain()) for socket in list(_open)]
    if ending:
        _, late = await asyncio.wait(ending, timeout=seconds)
        for task in late:
            task.cancel()


def open_sockets() -> int:
    """How many are open in this process."""
    return len(_open)


def open_by_name() -> dict[str, int]:
    """How many of each kind are open in this process."""
    return Counter(name_of(type(socket)) for socket in list(_open))


def name_of(kind: type[Socket]) -> str:
    """What metrics call it."""
    return kind.name or kind.__name__
