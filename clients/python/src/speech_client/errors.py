"""Everything that the client raises.

SpeechError
├── ConnectionFailed            no answer: refused, broken off
│   └── TimedOut                … in the time that was given
├── ApiError                    the server's answer; `type`, `code`, `param`, `request_id` are the contract's
│   ├── InvalidRequest          400, 405, 413, 415, 422
│   │   ├── NotFound            404
│   │   └── Conflict            409
│   ├── AuthenticationError     401
│   ├── QuotaExceeded           402
│   ├── PermissionDenied        403
│   ├── RateLimited             429
│   └── ServerError             500, 503
├── JobFailed                   a job that was waited for
│   └── JobCancelled
├── SessionClosed               a live session ended before its end
└── InvalidSignature            a webhook that the platform did not send
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import httpx


class SpeechError(Exception):
    """Anything that goes wrong between you and the platform."""


class ConnectionFailed(SpeechError):
    """There was no answer."""


class TimedOut(ConnectionFailed):
    """There was no answer in time, or a job had not ended in the time that it was waited for."""


class SessionClosed(SpeechError):
    """A live session was closed before it had ended. `code`: of the WebSocket."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class InvalidSignature(SpeechError):
    """A webhook's signature is wrong, or too old."""


class JobFailed(SpeechError):
    """A job ended without a result. `job` is what the server says of it, `code` why."""

    def __init__(self, job: Any) -> None:
        self.job = job
        self.code: str | None = job.error.code if job.error else None
        super().__init__(job.error.message if job.error else f"The job {job.status}.")


class JobCancelled(JobFailed):
    """A job was cancelled."""


class ApiError(SpeechError):
    """The server refused, or failed. `status` is None for an error of a live session."""

    def __init__(self, error: Mapping[str, Any], status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(error.get("message") or f"The server answered {status}.")
        self.status = status
        self.type: str | None = error.get("type")
        self.code: str | None = error.get("code")
        self.param: str | None = error.get("param")
        self.request_id: str | None = error.get("request_id")
        self.retry_after = retry_after
        """Seconds after which to try again, where the server says so."""
        self.details = dict(error)
        """The whole error object: some have more, such as `quota`."""

    @property
    def message(self) -> str:
        return str(self.args[0])


class InvalidRequest(ApiError):
    """The request is wrong; `param` names the field."""


class NotFound(InvalidRequest):
    """There is no such thing, or it is another organisation's."""


class Conflict(InvalidRequest):
    """It contradicts what is there."""


class AuthenticationError(ApiError):
    """No credential, or one that is not valid."""


class PermissionDenied(ApiError):
    """The role or the key's scopes do not allow it."""


class QuotaExceeded(ApiError):
    """The organisation's quota is used up; `details["quota"]` says which and until when."""


class RateLimited(ApiError):
    """Too many requests, jobs or sessions at once."""


class ServerError(ApiError):
    """A fault of the server, logged under `request_id`; or it is busy."""


_BY_STATUS = {404: NotFound, 409: Conflict}
_BY_TYPE: dict[str, type[ApiError]] = {
    "invalid_request_error": InvalidRequest,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDenied,
    "quota_error": QuotaExceeded,
    "rate_limit_error": RateLimited,
    "server_error": ServerError,
}
_PLAIN = {401: "authentication_error", 402: "quota_error", 403: "permission_error", 429: "rate_limit_error"}


def api_error(error: Mapping[str, Any], status: int | None = None, retry_after: float | None = None) -> ApiError:
    """From the contract's error object."""
    kind = _BY_STATUS.get(status or 0) or _BY_TYPE.get(str(error.get("type")), ApiError)
    return kind(error, status, retry_after)


def error_of(response: httpx.Response) -> ApiError:
    """From an answer that is no success; also from a proxy's, which does not know the contract."""
    error: Any = None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = response.json()["error"]
    if not isinstance(error, dict):
        plain = "invalid_request_error" if response.status_code < 500 else "server_error"
        error = {
            "type": _PLAIN.get(response.status_code, plain),
            "code": None,
            "message": f"{response.request.url.host} answered {response.status_code} {response.reason_phrase}.",
            "request_id": response.headers.get("X-Request-ID"),
        }
    return api_error(error, response.status_code, retry_after_of(response))


def retry_after_of(response: httpx.Response) -> float | None:
    """Seconds. (The platform never sends a date.)"""
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
