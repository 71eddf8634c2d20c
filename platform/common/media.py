"""GET /api/v1/media/<token>/<name>: stored audio, for players. The signed token is the credential."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from accounts.actors import PUBLIC
from common import storage
from common.api import JsonView, error_answer
from common.streaming import in_thread
from ml.audio import CONTENT_TYPES, EXTENSIONS

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_TYPES = {
    **{EXTENSIONS[name]: CONTENT_TYPES[name] for name in CONTENT_TYPES},
    ".ogg": "audio/ogg",  # uploads also hold other codecs than Opus
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
}


class MediaView(JsonView):
    access: ClassVar = {"GET": PUBLIC}
    authentication_classes = ()

    @extend_schema(responses={(200, "audio/*"): bytes, (206, "audio/*"): bytes, 416: None})
    def get(self, request: Request, token: str, name: str) -> HttpResponse | StreamingHttpResponse:
        """Stored audio, whole or a byte range."""
        key = storage.key_of_token(token)
        total = storage.size(key)
        span = _requested_range(request.headers.get("Range", ""), total)
        if span is None:
            answer = error_answer(416, "range_not_satisfiable", f"The range lies outside the {total} bytes.")
            answer["Content-Range"] = f"bytes */{total}"
            return answer
        first, last, partial = span
        response = StreamingHttpResponse(
            _body(storage.read_range(key, first, last)),
            status=206 if partial else 200,
            content_type=_content_type(key),
        )
        response["Accept-Ranges"] = "bytes"
        response["Content-Length"] = str(last - first + 1)
        response["Cache-Control"] = "private, max-age=3600"
        response["X-Content-Type-Options"] = "nosniff"
        if partial:
            response["Content-Range"] = f"bytes {first}-{last}/{total}"
        return response


def _body(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    return in_thread(chunks)


def _content_type(key: str) -> str:
    """Of sound or film, or else none: an upload that is named `.html` must not become a page of this site."""
    suffix = f".{key.rpartition('.')[2]}"
    known = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "")
    return known if known.startswith(("audio/", "video/")) else "application/octet-stream"


def _requested_range(header: str, total: int) -> tuple[int, int, bool] | None:
    """(first, last, partial) of one range, the whole for anything else, None when it lies outside (RFC 9110, 14)."""
    match = _RANGE.fullmatch(header.strip())
    if not match or match.groups() == ("", "") or total == 0:
        return 0, total - 1, False
    start, end = match.groups()
    first = int(start) if start else max(0, total - int(end))
    last = min(int(end), total - 1) if start and end else total - 1
    return (first, last, True) if first <= last else None
