"""From generators that compute to the asynchronous bodies that an ASGI server sends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections import deque
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
        self.ended = False
        """Whether all pieces have been drawn, or one could not be made."""

    def __aiter__(self) -> _Body[T]:
        return self

    async def __anext__(self) -> T:
        piece: Any = await asyncio.get_running_loop().run_in_executor(_threads, self._call, self._next)
        if piece is _END:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        self._call(functools.partial(_close, self._chunks))

    def drain(self) -> None:
        """Draws what is left, here and now, and drops it: for pieces that are also kept elsewhere."""
        while self._call(self._next) is not _END:
            pass

    def _next(self) -> Any:
        try:
            piece = next(self._chunks, _END)
        except BaseException:
            self.ended = True
            raise
        self.ended = piece is _END
        return piece

    def _call(self, function: Callable[[], R]) -> R:
        with self._one_at_a_time:
            return self._context.run(functools.partial(_returning_connection, function))


class Channel(Generic[T]):
    """From a thread that computes to the asynchronous body that sends: whoever waits holds no thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[T] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._wake: Callable[[], object] = lambda: None

    def put(self, item: T) -> None:
        """From any thread."""
        with self._lock:
            self._items.append(item)
            self._wake()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; from any thread. error: raised to whoever reads, after all items."""
        with self._lock:
            self._ended, self._error = True, error
            self._wake()

    def __aiter__(self) -> Channel[T]:
        return self

    async def __anext__(self) -> T:
        """One reader at a time; it may be cancelled, and nothing is lost."""
        while True:
            arrived = asyncio.Event()
            loop = asyncio.get_running_loop()
            with self._lock:
                if self._items:
                    return self._items.popleft()
                if self._ended:
                    raise self._error or StopAsyncIteration
                self._wake = functools.partial(loop.call_soon_threadsafe, arrived.set)
            try:
                await arrived.wait()
            finally:
                with self._lock:
                    self._wake = lambda: None


def primed(pieces: Iterator[T]) -> Iterator[T]:
    """`pieces`, of which the first is made now: what goes wrong until then still has an answer of its own."""
    try:
        return _Primed(next(pieces, _END), pieces)
    except BaseException:
        _close(pieces)
        raise


class _Primed(Generic[T]):
    def __init__(self, first: Any, rest: Iterator[T]) -> None:
        self._first, self._rest = first, rest

    def __iter__(self) -> _Primed[T]:
        return self

    def __next__(self) -> T:
        first, self._first = self._first, _END
        return next(self._rest) if first is _END else first

    def close(self) -> None:
        _close(self._rest)


def _close(pieces: Any) -> None:
    getattr(pieces, "close", lambda: None)()


_END = object()


def _returning_connection(function: Callable[[], R]) -> R:
    try:
        return function()
    finally:
        if not connection.in_atomic_block:
            connection.close()
