"""Django's ASGI handler, with each request in one thread from start to end.

Django's own runs the middleware in the event loop and hops to a thread for each that is not asynchronous, for the
view, for signals and for closing: with this platform's synchronous stack that is a dozen hops and 40 % of a request's
CPU time (`benchmarks/platform_overhead.py`). Here there is one hop. Streaming bodies are still sent from the loop.

A body is received before the thread is taken, so a slow sender holds none; but for large forms: see `common.uploads`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from common import outages, uploads
from common.streaming import in_thread
from common.uploads import BodyStream, BodyTooSlow, is_large_form, length_of

MAX_THREADS = 256
"""Requests that can be under way at once. Most wait for a model, without a database connection."""

MAX_UPLOADS = 64
"""Large uploads under way at once, each with a thread; those beyond wait, and their senders with them."""

_threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="request")
_upload_threads = ThreadPoolExecutor(MAX_UPLOADS, thread_name_prefix="upload")


class ThreadedHandler(ASGIHandler):
    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def handle(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        left = threading.Event()
        body: Any
        if is_large_form(scope):  # read by its view, as it arrives
            body, threads = BodyStream(receive, on_left=left.set), _upload_threads
            watching = body.client_left()
        else:
            try:
                async with asyncio.timeout(settings.REQUEST_BODY_SECONDS):
                    body, threads = await self.read_body(receive), _threads
            except RequestAborted:
                return
            except TimeoutError:
                raise BodyTooSlow("The body did not arrive in its time.") from None
            except OSError as error:  # what does not fit into memory goes to a temporary file
                raise outages.recognise(error) or error from error
            watching = self._watch(receive, left)
        watch = asyncio.ensure_future(watching)
        try:
            with closing(body):
                set_script_prefix(get_script_prefix(scope))
                request, response = self.create_request(scope, body)
                if request is not None:
                    request.client_left = left  # type: ignore[attr-defined]
                    response = await _in_thread(threads, self._respond, request)
                await self._send(response, send, watch)  # type: ignore[arg-type]
        finally:
            watch.cancel()

    def create_request(self, scope: Mapping[str, Any], body_file: Any) -> tuple[Any, Any]:
        """Parsers take a request without Content-Length (`Transfer-Encoding: chunked`) for one without a body."""
        request, error = super().create_request(scope, body_file)
        if request is not None and "CONTENT_LENGTH" not in request.META:
            request.META["CONTENT_LENGTH"] = str(length_of(body_file))
        return request, error

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        """In a thread: everything that may touch the database, so that its connection is returned from here."""
        signals.request_started.send(sender=type(self), scope=request.scope)  # type: ignore[attr-defined]
        try:
            response = self.get_response(request)
            response._resource_closers.append(partial(uploads.discard, request))  # type: ignore[attr-defined]
            if not response.streaming:
                response.close()  # sends request_finished
            elif not response.is_async:  # type: ignore[attr-defined]
                # WhiteNoise's files: Django would read them whole, one after the other, and warn of it.
                response.streaming_content = in_thread(response.streaming_content)  # type: ignore[attr-defined]
            return response
        finally:
            connections.close_all()

    async def _watch(self, receive: Callable, left: threading.Event) -> None:
        """Sets `left` when the client disconnects; long work looks at it."""
        with suppress(RequestAborted):
            await self.listen_for_disconnect(receive)
        left.set()

    async def _send(self, response: HttpResponseBase, send: Callable, watch: asyncio.Future[None]) -> None:
        """Sends the answer; a stream ends, and is closed, when the client leaves."""
        sending = asyncio.ensure_future(self.send_response(response, send))
        if response.streaming:
            await asyncio.wait((sending, watch), return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        if response.streaming:
            await _in_thread(_threads, response.close)


async def _in_thread(threads: ThreadPoolExecutor, function: Callable[..., Any], *args: Any) -> Any:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, context.run, function, *args)
