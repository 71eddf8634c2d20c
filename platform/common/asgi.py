"""Request bodies that are refused before a view sees them: too large, too slow, or without room on the disk."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings

from common import context, errors
from common.uploads import BodyTooLarge, BodyTooSlow
from observability import metrics

Message = dict[str, Any]
Application = Callable[[Message, Callable, Callable], Awaitable[None]]

ANONYMOUS_MAX_BYTES = 1024 * 1024
"""What a request without any credential may send: log-ins are small."""

RECORDING_PATHS = frozenset(("/v1/listen",))
"""Where the whole body is a recording."""


class BodyLimit:
    """Answers 413 as soon as a body is, or says that it is, larger than its kind may be."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Message, receive: Callable, send: Callable) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        headers = dict(scope["headers"])
        limit = _limit(scope["path"], headers)
        if _declared(headers) > limit:
            return await _refuse(headers, _too_large(limit), send)
        try:
            return await self._application(scope, _counted(receive, limit), send)
        except BodyTooLarge:
            return await _refuse(headers, _too_large(limit), send)
        except BodyTooSlow as error:
            return await _refuse(headers, errors.RequestTimeout(str(error)), send)
        except errors.StorageFull as error:
            return await _refuse(headers, error, send)


def _limit(path: str, headers: dict[bytes, bytes]) -> int:
    if not headers.keys() & {b"authorization", b"x-api-key", b"cookie"}:
        return ANONYMOUS_MAX_BYTES
    if headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data"):
        return settings.MAX_BODY_BYTES
    if path in RECORDING_PATHS:
        return max(settings.STT_MAX_UPLOAD_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def _declared(headers: dict[bytes, bytes]) -> int:
    value = headers.get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


def _counted(receive: Callable, limit: int) -> Callable:
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge(f"The body is larger than {limit} bytes.")
        return message

    return counted


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(f"The body is larger than {limit} bytes.")


async def _refuse(headers: dict[bytes, bytes], error: errors.ApiError, send: Callable) -> None:
    request_id = context.new_request_id({"X-Request-ID": headers.get(b"x-request-id", b"").decode("latin-1")})
    context.request_id.set(request_id)
    body = json.dumps(errors.error_body(error.status, code=error.code, message=error.message)).encode()
    metrics.request_answered("refused", metrics.OTHER, error.status, 0.0)
    again = [(b"retry-after", str(error.retry_after_seconds or 30).encode())] if error.status == 503 else []
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
                (b"cache-control", b"no-store"),
                (b"connection", b"close"),
                *again,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
