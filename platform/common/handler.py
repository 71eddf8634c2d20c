"""Django's ASGI handler, with each request in one thread from start to end.

Django's own runs the middleware in the event loop and hops to a thread for each that is not asynchronous, for the
view, for signals and for closing: with this platform's synchronous stack that is a dozen hops and 40 % of a request's
CPU time (`benchmarks/platform_overhead.py`). Here there is one hop. Streaming bodies are still sent from the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from common.streaming import in_thread

MAX_THREADS = 256
"""Requests that can be under way at once. Most wait for a model, without a database connection."""

_threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="request")


class ThreadedHandler(ASGIHandler):
    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def handle(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with body_file:
            set_script_prefix(get_script_prefix(scope))
            request, response = self.create_request(scope, body_file)
            left = threading.Event()
            watch = asyncio.ensure_future(self._watch(receive, left))
            try:
                if request is not None:
                    request.client_left = left  # type: ignore[attr-defined]
                    response = await _in_thread(self._respond, request)
                await self._send(response, send, watch)  # type: ignore[arg-type]
            finally:
                watch.cancel()

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        """In a thread: everything that may touch the database, so that its connection is returned from here."""
        signals.request_started.send(sender=type(self), scope=request.scope)  # type: ignore[attr-defined]
        try:
            response = self.get_response(request)
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
            await _in_thread(response.close)


async def _in_thread(function: Callable[..., Any], *args: Any) -> Any:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, context.run, function, *args)
