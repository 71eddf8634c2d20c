"""What clients send: JSON texts, some with sound in base64."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from common import errors

MAX_APPEND_BYTES = 10 * 1024 * 1024
"""Of sound in one event, as base64 just under what the server takes as one message (OpenAI: 15 MiB)."""


def read(text: str) -> dict[str, Any]:
    """An object with a type. Raises InvalidRequest."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise errors.InvalidRequest("The event is not valid JSON.", code="invalid_json") from None
    if not isinstance(event, dict) or "type" not in event:
        raise errors.InvalidRequest("Missing required parameter: 'type'.", code="parameter_required", param="type")
    return event


def sound_of(audio: Any) -> bytes:
    """The bytes of an event's `audio`. Raises InvalidRequest."""
    if not isinstance(audio, str):
        raise errors.InvalidRequest("'audio' is base64 text.", code="parameter_invalid", param="audio")
    if len(audio) * 3 // 4 > MAX_APPEND_BYTES:
        raise errors.InvalidRequest(
            f"An event holds at most {MAX_APPEND_BYTES:,} bytes of sound; send it in smaller pieces.",
            code="parameter_max_length",
            param="audio",
        )
    try:
        return base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError):
        raise errors.InvalidRequest("'audio' is not valid base64.", code="parameter_value", param="audio") from None
