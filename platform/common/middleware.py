"""Request ids, and one log line a request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from common import context
from common.network import client_address
from observability import metrics, tracing

log = logging.getLogger("request")

_QUIET = ("/health", "/static/", "/metrics")
_BY_ADDRESS = ("/health", "/health/ready", "/metrics")
"""Probes and scrapers know this process by its address, which is in nobody's ALLOWED_HOSTS; no answer depends on it."""


class SyncMiddleware:
    """The base of ours. Sync only, on purpose: see MIDDLEWARE."""

    async_capable = False
    sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response


class RequestContextMiddleware(SyncMiddleware):
    """Names the request, echoes the name in X-Request-ID, and logs what was answered and how long it took."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = context.new_request_id(request.headers)
        given = request.headers.get("traceparent", "")
        context.begin(request_id, trace=tracing.trace_id_of(given))
        context.origin.set(context.Origin(client_address(request), request.headers.get("User-Agent", "")[:300]))
        request.request_id = request_id  # type: ignore[attr-defined]
        # A charset in Content-Type would choose the codec of query and form, also ones like "hex" that are no charset.
        request.encoding = "utf-8"
        if request.path in _BY_ADDRESS and settings.ALLOWED_HOSTS:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"
        with self._span(request, given) as span:
            response = self.get_response(request)
            self._tell(request, response, span)
            seconds = time.perf_counter() - started
            metrics.request_answered(_route(request), request.method or "", response.status_code, seconds)
            self._log(request, response, seconds)
        return response

    def _span(self, request: HttpRequest, parent: str) -> AbstractContextManager[tracing.Handle]:
        """Not of what is asked every few seconds and says nothing: probes, scrapes, files."""
        if request.path.startswith(_QUIET):
            return nullcontext(tracing.Handle())
        return tracing.span(request.method or "", kind="server", parent=parent)

    def _tell(self, request: HttpRequest, response: HttpResponseBase, span: tracing.Handle) -> None:
        """The client, and the trace, what this was."""
        response["X-Request-ID"] = context.request_id.get()
        if traceparent := tracing.traceparent():
            response["traceparent"] = traceparent
            route = _route(request)
            span.name(f"{request.method} {route}")
            facts: dict[str, str | float | bool] = {
                "http.request.method": request.method or "",
                "http.route": route,
                "http.response.status_code": response.status_code,
                "request_id": context.request_id.get(),
            }
            span.note(**facts)
            if response.status_code >= 500:
                span.fail(str(response.status_code))

    def _log(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        quiet = response.status_code < 500 and request.path.startswith(_QUIET)
        log.log(
            logging.DEBUG if quiet else logging.INFO,
            "request",
            extra={
                "method": request.method,
                "path": _path(request),
                "status": response.status_code,
                "duration_ms": round(seconds * 1000, 1),
                "bytes": len(response.content) if isinstance(response, HttpResponse) else None,
            },
        )


def _route(request: HttpRequest) -> str:
    """The route that answered, as the URLconf has it; of what has none, a word."""
    if request.resolver_match is not None:
        return metrics.route_label(request.resolver_match.route)
    return "static" if request.path.startswith(settings.STATIC_URL) else "none"


def _path(request: HttpRequest) -> str:
    """Without the token of a link that opens something: audio, an invitation, a new password."""
    token = request.resolver_match.kwargs.get("token") if request.resolver_match is not None else None
    return request.path.replace(token, "[token]") if token else request.path
