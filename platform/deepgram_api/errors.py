"""The platform's errors in Deepgram's words: `err_code`, `err_msg` and `request_id`, beside the contract's `error`.

| here | /v1/listen |
|---|---|
| 401 | 401 `INVALID_AUTH` |
| 402 `quota_exceeded` | 402 `ASR_PAYMENT_REQUIRED` |
| 403 | 403 `INSUFFICIENT_PERMISSIONS` |
| 400 with a `param` | 400 `INVALID_QUERY_PARAMETER` |
| 413 | 413 `PAYLOAD_TOO_LARGE` |
| 422 | 400 `Bad Request` |
| 429 | 429 `TOO_MANY_REQUESTS` |
"""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from common import api

_CODES = {
    400: "Bad Request",
    401: "INVALID_AUTH",
    402: "ASR_PAYMENT_REQUIRED",
    403: "INSUFFICIENT_PERMISSIONS",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
REMOTE_CONTENT = "REMOTE_CONTENT_ERROR"


def refusal(status: int, error: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer. error: the contract's `error` object."""
    status = 400 if status == 422 else status  # undecodable and empty audio
    code = _CODES.get(status, str(error["code"]).upper())
    if error["code"] == REMOTE_CONTENT.lower():
        code = REMOTE_CONTENT
    elif status == 400 and error["param"]:
        code = "INVALID_QUERY_PARAMETER"
    return status, {
        "err_code": code,
        "err_msg": error["message"],
        "request_id": error["request_id"],
        "error": error,
    }


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """As `common.api.exception_handler`, in Deepgram's words."""
    answer = api.exception_handler(error, context)
    if answer is not None:
        answer.status_code, answer.data = refusal(answer.status_code, answer.data["error"])
    return answer


def message(error: dict[str, Any]) -> dict[str, Any]:
    """What a stream is told of an error before it is closed."""
    return {
        "type": "Error",
        "variant": error["code"],
        "description": error["message"],
        "message": error["message"],
        "request_id": error["request_id"],
    }
