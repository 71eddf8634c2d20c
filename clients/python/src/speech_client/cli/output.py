"""What people and other programs read: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from speech_client.errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    InvalidRequest,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    SpeechError,
)

DONE, FAILED, USAGE, CREDENTIAL, LIMITS, UNREACHABLE = range(6)
INTERRUPTED, BROKEN_PIPE = 130, 141  # as shells have them: 128 and the signal

_CODES: tuple[tuple[type[SpeechError], int], ...] = (
    (ConnectionFailed, UNREACHABLE),
    (AuthenticationError, CREDENTIAL),
    (PermissionDenied, CREDENTIAL),
    (QuotaExceeded, LIMITS),
    (RateLimited, LIMITS),
    (InvalidRequest, USAGE),
)


class UsageProblem(Exception):
    """The command was called wrongly."""


def exit_code(error: BaseException) -> int:
    if isinstance(error, UsageProblem | OSError):
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def complain(error: BaseException, about: str = "") -> int:
    """Says on stderr what went wrong; the exit code."""
    text = str(error)
    if isinstance(error, ApiError):
        details = [error.code or "", f"request {error.request_id}" if error.request_id else ""]
        text += f" ({', '.join(part for part in details if part)})"
    say_aside(f"speech: {about + ': ' if about else ''}{text}")
    return exit_code(error)


def say_aside(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def as_json(value: Any) -> str:
    """On one line."""
    return json.dumps(value, ensure_ascii=False)


def say_json(value: Any) -> None:
    print(as_json(value), flush=True)


def table(rows: Sequence[Sequence[Any]], headings: Sequence[str]) -> None:
    """Aligned for a terminal; in a pipe columns are separated by tabs, without headings."""
    cells = [["" if cell is None else str(cell).replace("\n", " ") for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            print("\t".join(cell.replace("\t", " ") for cell in row))
        return
    cells.insert(0, [heading.upper() for heading in headings])
    widths = [max(len(row[place]) for row in cells) for place in range(len(headings))]
    room = shutil.get_terminal_size().columns
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line[:room].rstrip())


@contextlib.contextmanager
def writing(path: str) -> Iterator[IO[bytes]]:
    """A file that is there when all of it has been written, and not before; `-` is stdout."""
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    whole, part = Path(path), Path(f"{path}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(whole)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_all(chunks: Iterable[bytes], file: IO[bytes]) -> None:
    for chunk in chunks:
        file.write(chunk)
        file.flush()


def silence_stdout() -> None:
    """Whoever read it has gone; Python would complain when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Bar:
    """A progress bar on stderr, where that is a terminal; otherwise nothing.

    with Bar("call.mp3") as bar:
        bar.show(0.4, "recognise")
    """

    WIDTH = 24

    def __init__(self, label: str) -> None:
        self._label, self._shown = label[-30:], sys.stderr.isatty()

    def show(self, share: float, note: str = "") -> None:
        """share: 0-1."""
        if self._shown:
            full = round(max(0.0, min(1.0, share)) * self.WIDTH)
            bar = "█" * full + "·" * (self.WIDTH - full)
            room = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{f'{self._label} {bar} {share:4.0%} {note}'[:room]}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
