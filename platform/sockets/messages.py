"""JSON text messages with a `type`, as clients of the live sockets send them."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from rest_framework.exceptions import ValidationError

from common import errors, serializers
from common.api import first_problem
from common.parsers import refuse_constant
from common.serializers import StrictSerializer


def read(text: str, known: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The type and the other fields. Raises InvalidRequest for what is no message of a `known` type."""
    try:
        raw = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise errors.InvalidRequest("The message is not valid JSON.", code="malformed_message") from None
    kind = raw.pop("type", None) if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in known:
        message = f"A message is an object whose type is one of {', '.join(known)}."
        raise errors.InvalidRequest(message, code="unknown_message", param="type")
    return kind, raw


def validated(serializer_class: type[StrictSerializer], fields: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidRequest, which names the first field that is wrong."""
    try:
        return dict(serializers.validated(serializer_class, fields))
    except ValidationError as error:
        raise first_problem(error) from None
