"""Formatters that put on every line whose work it was, and let no secret through."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

from common import context

_CONTEXT = ("request_id", "trace_id", "organization_id", "job_id")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", *_CONTEXT} - {"job_id"}

_NAMES = "(?:password|passwd|secret|token|api[-_]?key|authorization|cookie|signature|credential)s?"
_SECRETS = re.compile(
    rf"""
    (\b(?:sp|ct|whsec)_[\w+/=-]{{6}})[\w+/=.:-]{{10,}}            # API keys, client tokens, webhook secrets
    | \beyJ[\w-]{{8,}}\.[\w-]+\.[\w-]+                           # JSON Web Tokens
    | (\b(?:bearer|basic)\ +)[\w+/=.:~-]{{8,}}                   # of an Authorization header
    | (://[^\s/:@]*:)[^\s/@]+(?=@)                              # in addresses of databases and stores
    | ({_NAMES}(?:\\?["'])?\ *[=:]\ *\\?["'])[^"'\\]+            # "password": "…", token='…'
    | ({_NAMES}=)[^\s"'\\,;&)}}\]]+                             # ?token=…
    | ({_NAMES}:\ +)(?!\[|bearer|basic)[^\s"'\\,;&)}}\]]{{8,}}    # Cookie: …
    """,
    re.VERBOSE | re.IGNORECASE,
)


_MARKS = (
    "sp_", "ct_", "whsec_", "eyj", "bearer", "basic", "://", "passw", "secret", "token", "key", "authorization",
    "cookie", "signature", "credential",
)  # fmt: skip
"""Each secret stands beside one of them. Most lines have none, and need no search with the expression."""


_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def redacted(line: str) -> str:
    """Without what opens something, should a message or a traceback ever quote it: the last of several defences."""
    lowered = line.lower()
    if not any(mark in lowered for mark in _MARKS):
        return line
    return _SECRETS.sub(lambda found: f"{next(filter(None, found.groups()), '')}[redacted]", line)


def _one_line(text: str) -> str:
    """Line breaks and terminal sequences written out: what a client wrote cannot look like a line of its own."""
    return _CONTROLS.sub(lambda found: repr(found.group())[1:-1], text)


class RequestContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = context.request_id.get()
        for name, known in (
            ("trace_id", context.trace_id),
            ("organization_id", context.organization_id),
            ("job_id", context.job_id),
        ):
            setattr(record, name, getattr(record, name, "") or known.get())
        return True


class JsonFormatter(BaseJsonFormatter):
    """One JSON object a line: time, level, logger, message, whose work it was (request_id, trace_id, organization_id,
    job_id: empty where there is none), and the record's extras."""

    def __init__(self) -> None:
        fields = ("levelname", "name", "message", *_CONTEXT)
        super().__init__(
            " ".join(f"%({field})s" for field in fields), rename_fields={"levelname": "level", "name": "logger"}
        )

    def add_fields(self, log_data: dict, record: logging.LogRecord, message_dict: dict) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        super().add_fields(log_data, record, message_dict)

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))


class TextFormatter(logging.Formatter):
    """`12:00:01 INFO request method=GET path=/health status=200 …`, for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        extras = {key: value for key, value in vars(record).items() if key not in _STANDARD and value not in ("", None)}
        line = super().formatMessage(record)
        return _one_line(" ".join([line, *(f"{key}={value}" for key, value in extras.items())]))

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record))
