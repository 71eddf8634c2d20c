"""Facts about the request under way, for log lines and error answers, wherever they are written."""

from __future__ import annotations

import contextvars
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
organization_id: contextvars.ContextVar[str] = contextvars.ContextVar("organization_id", default="")
job_id: contextvars.ContextVar[str] = contextvars.ContextVar("job_id", default="")
trace_id: contextvars.ContextVar[str] = contextvars.ContextVar("trace_id", default="")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from."""

    address: str | None = None
    user_agent: str = ""


origin: contextvars.ContextVar[Origin] = contextvars.ContextVar("origin", default=Origin())  # noqa: B039  (frozen)

_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def begin(request: str, *, organization: str = "", job: str = "", trace: str = "") -> None:
    """What this thread or task says from now on about whose work it does; nothing of before stays."""
    request_id.set(request)
    organization_id.set(organization)
    job_id.set(job)
    trace_id.set(trace)


def new_request_id(headers: Mapping[str, str]) -> str:
    """The caller's X-Request-ID where it is harmless to log and echo, else a new one."""
    given = headers.get("X-Request-ID", "")
    return given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
