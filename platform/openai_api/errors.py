"""The platform's errors in OpenAI's words, so that its SDKs raise what their users catch.

| here | /v1 |
|---|---|
| 402 `quota_exceeded` | 429 `insufficient_quota`, with `x-should-retry: false` |
| 429 `rate_limited`, `concurrency_limit` | 429 `rate_limit_exceeded` |
| 400 `model_not_found` | 404 `model_not_found` |
| 400 `parameter_…` | 400 `missing_required_parameter`, `unknown_parameter`, `invalid_value`, … |

What is not in the table stays as it is, `type` too, by which no SDK tells errors apart: the shapes are the same, but
for `request_id` and `quota`, which OpenAI does not have.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework.response import Response

from common import api
from common import errors as native

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Words:
    """What an answer says about its error."""

    status: int
    type: str
    code: str
    message: str
    param: str | None


_PARAMETERS = {
    "audio_file": "file",
    "text": "input",
    "language_hint": "language",
    "format": "response_format",
    "task": "model",
    "known_speakers": "known_speaker_references",
}
_PARAMETER_CODES = {
    "parameter_required": "missing_required_parameter",
    "parameter_unknown": "unknown_parameter",
    "parameter_invalid": "invalid_type",
    "parameter_max_value": "decimal_above_max_value",
    "parameter_min_value": "decimal_below_min_value",
    "parameter_max_length": "string_above_max_length",
    "text_too_long": "string_above_max_length",
    "voice_not_found": "invalid_value",
    "api_key_invalid": "invalid_api_key",
    "token_invalid": "invalid_api_key",
    "client_token_invalid": "invalid_api_key",
}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """As `common.api.exception_handler`, in OpenAI's words."""
    answer = api.exception_handler(error, context)
    return None if answer is None else translated(answer)


def translated(answer: Response) -> Response:
    """A native error answer in OpenAI's words."""
    error = answer.data["error"]
    words = _translate(_Words(answer.status_code, error["type"], error["code"], error["message"], error["param"]))
    answer.status_code = words.status
    answer.data = {"error": {**error, **asdict(words)}}
    del answer.data["error"]["status"]
    if words.code == "insufficient_quota":
        answer["x-should-retry"] = "false"  # what the SDKs obey: it would be refused until the month ends
        answer["Retry-After"] = str(_seconds_until(error["quota"]["resets_at"]))
    return answer


def event(error: BaseException) -> dict[str, Any]:
    """What a stream that has begun says of an error, also of a fault."""
    answer = api.error_response(error)
    if answer is not None:
        return translated(answer).data
    log.error("stream failed", exc_info=error)
    message = "Something went wrong here; it is logged under this request id."
    return native.error_body(500, code="internal_error", message=message)


def _translate(words: _Words) -> _Words:
    param = _PARAMETERS.get(words.param or "", words.param)
    match words:
        case _Words(status=402):
            return _Words(429, words.type, "insufficient_quota", words.message, param)
        case _Words(status=429):
            return _Words(429, words.type, "rate_limit_exceeded", words.message, param)
        case _Words(code="model_not_found"):
            return _Words(404, words.type, words.code, words.message, param or "model")
        case _Words(code="file_too_large"):
            where = "send it to POST /api/v1/stt/transcribe with async=true."
            words = replace(words, message=words.message.replace("Send it with async=true.", f"Larger ones: {where}"))
        case _Words(code="parameter_required"):
            words = replace(words, message=f"Missing required parameter: '{param}'.")
        case _Words(code="parameter_unknown"):
            words = replace(words, message=f"Unknown parameter: '{param}'.")
    by_default = "invalid_value" if words.code.startswith("parameter_") else words.code
    return replace(words, code=_PARAMETER_CODES.get(words.code, by_default), param=param)


def _seconds_until(moment: str) -> int:
    return max(1, round((datetime.fromisoformat(moment) - timezone.now()).total_seconds()))
