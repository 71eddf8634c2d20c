"""What the views under /v1 share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from common.api import JsonView
from openai_api import errors

_RATE_HEADERS = {
    "RateLimit-Limit": "x-ratelimit-limit-requests",
    "RateLimit-Remaining": "x-ratelimit-remaining-requests",
}


class OpenAIView(JsonView):
    """A view whose errors and rate-limit headers read like OpenAI's."""

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.exception_handler

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        for native, openai in _RATE_HEADERS.items():
            if native in response:
                response[openai] = response[native]
        if "RateLimit-Reset" in response:
            response["x-ratelimit-reset-requests"] = f"{response['RateLimit-Reset']}s"
        return response


class PlainTextRenderer(BaseRenderer):
    media_type = "text/plain"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return str(data).encode()


def plain_text(request: Request, text: str) -> Response:
    """`text` as it is, not as JSON."""
    request.accepted_renderer, request.accepted_media_type = PlainTextRenderer(), PlainTextRenderer.media_type
    return Response(text)


def unbuffered(response: StreamingHttpResponse) -> StreamingHttpResponse:
    """Proxies pass it on as it comes."""
    response["X-Accel-Buffering"] = "no"
    response["Cache-Control"] = "no-cache"
    return response
