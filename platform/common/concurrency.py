"""Threads that work for a request or a socket."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import connection

P = ParamSpec("P")
R = TypeVar("R")

# For what sockets read and write in the database: short work, so a few threads serve many sockets.
_threads = ThreadPoolExecutor(max_workers=32, thread_name_prefix="socket")


def in_request_context(function: Callable[P, R]) -> Callable[P, R]:
    """`function` for another thread: with this request's id in its log lines, and giving its connection back."""
    request_context = contextvars.copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return request_context.copy().run(function, *args, **kwargs)
        finally:
            connection.close()

    return run


async def in_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Awaits `function` in a thread, as `in_request_context` runs it: for the database, from the event loop."""
    work = functools.partial(in_request_context(function), *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
