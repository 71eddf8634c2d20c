"""The tree of errors that the platform answers with, and the one shape of an error answer.

    ApiError
    ├─ InvalidRequest      400 invalid_request
    │  ├─ NotFound         404 not_found
    │  ├─ RequestTimeout   408 request_timeout
    │  ├─ Conflict         409 conflict
    │  └─ TooLarge         413 request_too_large
    ├─ NotAuthenticated    401 not_authenticated
    ├─ PermissionDenied    403 permission_denied
    ├─ QuotaExceeded       402 quota_exceeded
    ├─ RateLimited         429 rate_limited        (Retry-After)
    └─ Unavailable         503 unavailable         (Retry-After)
       └─ StorageFull      503 storage_full

`ml.errors.MlError` is a tree of its own with the same fields (code, status, message, param); `common.api` translates
both at the edge. A `code` is stable and for programs, a `message` one clear sentence for people.
"""

from __future__ import annotations

from typing import Any, ClassVar

from common import context
from observability import metrics


class ApiError(Exception):
    status: ClassVar[int] = 500
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.extra = extra or {}


class InvalidRequest(ApiError):
    status = 400
    code = "invalid_request"


class NotFound(InvalidRequest):
    status = 404
    code = "not_found"


class RequestTimeout(InvalidRequest):
    status = 408
    code = "request_timeout"


class Conflict(InvalidRequest):
    status = 409
    code = "conflict"


class TooLarge(InvalidRequest):
    status = 413
    code = "request_too_large"


class NotAuthenticated(ApiError):
    status = 401
    code = "not_authenticated"


class PermissionDenied(ApiError):
    status = 403
    code = "permission_denied"


class QuotaExceeded(ApiError):
    status = 402
    code = "quota_exceeded"


class RateLimited(ApiError):
    status = 429
    code = "rate_limited"


class Unavailable(ApiError):
    status = 503
    code = "unavailable"


class StorageFull(Unavailable):
    code = "storage_full"


_TYPES = {
    401: "authentication_error",
    402: "quota_error",
    403: "permission_error",
    429: "rate_limit_error",
}


def error_type(status: int) -> str:
    """The contract's `type` for an HTTP status."""
    return _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def error_body(
    status: int, *, code: str, message: str, param: str | None = None, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The JSON of an error answer, which is counted."""
    metrics.error_told(code)
    return {
        "error": {
            "type": error_type(status),
            "code": code,
            "message": message,
            "param": param,
            "request_id": context.request_id.get(),
            **(extra or {}),
        }
    }
