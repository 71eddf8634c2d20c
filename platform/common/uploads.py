"""Uploads: from the socket through Django's form parser into one temporary file, whatever their size.

A large form is parsed while it arrives: the view has settled who calls and whether they may before a byte is read,
memory stays at a few chunks, and what is stored in the end is the file itself, renamed. Nothing of it is left when the
client leaves, the disk is full or the view refuses.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import connection
from django.http import HttpRequest

from common import errors, outages

AHEAD_BYTES = 1024 * 1024
"""What of a body may be in memory before the sender has to wait."""
MIN_BYTES_PER_SECOND = 16 * 1024
"""A large upload that is slower than that, after its first REQUEST_BODY_SECONDS, is given up too."""
SUFFIX = ".upload"
LEFT_BEHIND_SECONDS = 24 * 3600
"""A temporary file that was not written for so long belongs to no process any more."""


class BodyTooLarge(Exception):
    """The body outgrew its limit while it was being received."""


class BodyTooSlow(Exception):
    """The body did not arrive in its time."""


def is_large_form(scope: dict[str, Any]) -> bool:
    """Whether a request is a form too large for memory, or of which nobody knows how large it is."""
    headers = dict(scope["headers"])
    if not headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data"):
        return False
    length = headers.get(b"content-length", b"")
    return not length.isdigit() or int(length) > settings.FILE_UPLOAD_MAX_MEMORY_SIZE


def length_of(body: Any) -> int:
    """Bytes; of a body that has not been received, 1: something."""
    if isinstance(body, BodyStream):
        return 1
    body.seek(0, os.SEEK_END)
    size = body.tell()
    body.seek(0)
    return size


class BodyStream:
    """A request's body as a file: the event loop receives, the request's thread reads.

    Receiving begins with the first read, so what a view refuses is never asked for (`Expect: 100-continue`).
    on_left: called in the event loop when the client disconnects.
    """

    def __init__(self, receive: Callable, on_left: Callable[[], None]) -> None:
        self._receive, self._on_left = receive, on_left
        self._loop = asyncio.get_running_loop()
        self._pumping: asyncio.Future[None] | None = None
        self._left, self._room = asyncio.Event(), asyncio.Event()
        self._news = threading.Condition()
        self._buffer = bytearray()
        self._complete = False
        self._received, self._began_at = 0, 0.0  # bytes; on the clock of time.monotonic()
        self._error: Exception | None = None

    # ── In the request's thread ─────────────────────────────────────────────────────────────────────────────────────

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as soon as there are any; b"" at the end. OSError when there will be no end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(AHEAD_BYTES), b""))
        with self._news:
            self._wait_for_data()
            taken = bytes(self._buffer[:size])
            del self._buffer[:size]
            room = len(self._buffer) < AHEAD_BYTES // 2
        if room:
            self._loop.call_soon_threadsafe(self._room.set)
        return taken

    def readline(self, size: int = -1) -> bytes:
        """Not always a line: Django uses up the rest of a body with it, of which a line may have gigabytes."""
        return self.read(min(size, AHEAD_BYTES) if size >= 0 else AHEAD_BYTES)

    def close(self) -> None:
        """Receives nothing more. Also called in the event loop."""
        with suppress(RuntimeError):  # the loop has ended, and the pump with it
            self._loop.call_soon_threadsafe(self._stop)

    def _wait_for_data(self) -> None:
        if self._ready():
            return
        self._loop.call_soon_threadsafe(self._start)
        if not connection.in_atomic_block:
            connection.close()  # a hundred slow uploads must not hold a hundred connections
        if not self._news.wait_for(self._ready, settings.REQUEST_STALL_SECONDS):
            raise TimeoutError(f"Nothing arrived for {settings.REQUEST_STALL_SECONDS:.0f} seconds.")
        # Byte after byte, each in time, would hold one of a few threads for ever.
        granted = settings.REQUEST_BODY_SECONDS + self._received / MIN_BYTES_PER_SECOND
        if self._began_at and time.monotonic() - self._began_at > granted:
            raise TimeoutError("The body arrives too slowly.")

    def _ready(self) -> bool:
        if not self._buffer and self._error is not None:
            raise self._error
        return bool(self._buffer) or self._complete

    # ── In the event loop ───────────────────────────────────────────────────────────────────────────────────────────

    async def client_left(self) -> None:
        await self._left.wait()

    def _start(self) -> None:
        if self._pumping is None:
            self._began_at = time.monotonic()
            self._pumping = asyncio.ensure_future(self._pump())

    def _stop(self) -> None:
        if self._pumping is not None:
            self._pumping.cancel()

    async def _pump(self) -> None:
        try:
            while not self._complete:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("The client left before the end of the body.")
                await self._put(message.get("body", b""), complete=not message.get("more_body", False))
            await self._receive()  # after the end only a disconnection comes
            self._leave()
        except BodyTooLarge as error:
            self._fail(RequestDataTooBig(str(error)))
        except ConnectionResetError as error:
            self._fail(error)
            self._leave()

    async def _put(self, data: bytes, *, complete: bool) -> None:
        with self._news:
            self._buffer += data
            self._received += len(data)
            self._complete = complete
            self._news.notify()
        while len(self._buffer) > AHEAD_BYTES:
            self._room.clear()
            if len(self._buffer) > AHEAD_BYTES:
                await self._room.wait()

    def _fail(self, error: Exception) -> None:
        with self._news:
            self._error = error
            self._news.notify()

    def _leave(self) -> None:
        self._left.set()
        self._on_left()


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Upload(TemporaryUploadedFile):
    """In UPLOAD_DIR: beside the storage's files, so that storing it is a renaming."""

    def __init__(self, name: str, content_type: str | None, charset: str | None, extra: Any) -> None:
        settings.UPLOAD_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(suffix=SUFFIX, dir=settings.UPLOAD_DIR)  # noqa: SIM115  (`close` closes it)
        UploadedFile.__init__(self, file, name, content_type, 0, charset, extra)  # the base's would make another file


class UploadHandler(TemporaryFileUploadHandler):
    """Django's, with a look at the disk first, one clear error when it is full, and nothing left behind."""

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self._made: list[_Upload] = []

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:
        if content_length > settings.FILE_UPLOAD_MAX_MEMORY_SIZE:
            _require_space(content_length)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super(TemporaryFileUploadHandler, self).new_file(*args, **kwargs)
        try:
            self.file = _Upload(self.file_name or "", self.content_type, self.charset, self.content_type_extra)
        except OSError as error:
            raise _translated(error) from error
        self._made.append(self.file)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        try:
            self.file.write(raw_data)
        except OSError as error:
            raise _translated(error) from error

    def file_complete(self, file_size: int) -> UploadedFile | None:
        try:
            return super().file_complete(file_size)
        except OSError as error:  # what was buffered had no room
            raise _translated(error) from error

    def discard(self) -> None:
        """Closes and deletes all files but those that were stored."""
        for file in self._made:
            try:
                file.close()
            except OSError:  # a full disk refuses what was still buffered; closed it is
                Path(file.temporary_file_path()).unlink(missing_ok=True)
        self._made.clear()


def discard(request: HttpRequest) -> None:
    """At the end of a request, however it ended."""
    for handler in getattr(request, "_upload_handlers", ()):
        if isinstance(handler, UploadHandler):
            handler.discard()


def purge() -> int:
    """Deletes what killed processes left; how many files."""
    before, deleted = time.time() - LEFT_BEHIND_SECONDS, 0
    for path in settings.UPLOAD_DIR.glob(f"*{SUFFIX}"):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
                deleted += 1
        except FileNotFoundError:
            continue
    return deleted


def _require_space(needed_bytes: int) -> None:
    settings.UPLOAD_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    if free - settings.UPLOAD_RESERVE_BYTES < needed_bytes:
        raise _full()


def _translated(error: OSError) -> Exception:
    return _full() if outages.is_full(error) else error


def _full() -> errors.StorageFull:
    return errors.StorageFull("There is no room for the upload; try again later.", retry_after_seconds=60)
