"""From generators that compute to the asynchronous bodies that an ASGI server sends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from django.db import connection

T = TypeVar("T")
R = TypeVar("R")

# Enough for many slow clients; a thread is used only while a chunk is being made.
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="stream")


def in_thread(chunks: Iterator[T]) -> AsyncIterator[T]:
    """Draws `chunks` a piece at a time in a thread; closes it when the body ends, breaks off or is never sent.

    A client that reads slowly holds no thread, and one that leaves stops the work at the next chunk.
    """
    return _Body(chunks)


class _Body(Generic[T]):
    """An async iterator with `close`, which Django calls on every streaming response, however it ended."""

    def __init__(self, chunks: Iterator[T]) -> None:
        self._chunks = chunks
        self._context = contextvars.copy_context()
        # A client that leaves while a chunk is being made has the body closed from another thread.
        self._one_at_a_time = threading.Lock()

    def __aiter__(self) -> _Body[T]:
        return self

    async def __anext__(self) -> T:
        piece: Any = await asyncio.get_running_loop().run_in_executor(_threads, self._call, self._next)
        if piece is _END:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        self._call(getattr(self._chunks, "close", lambda: None))

    def _next(self) -> Any:
        return next(self._chunks, _END)

    def _call(self, function: Callable[[], R]) -> R:
        with self._one_at_a_time:
            return self._context.run(functools.partial(_returning_connection, function))


_END = object()


def _returning_connection(function: Callable[[], R]) -> R:
    try:
        return function()
    finally:
        if not connection.in_atomic_block:
            connection.close()
