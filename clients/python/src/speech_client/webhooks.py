"""Verifying webhooks (Standard Webhooks, https://www.standardwebhooks.com).

event = webhooks.verify(request.body, request.headers, secret="whsec_…")
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from speech_client._reading import read
from speech_client.errors import InvalidSignature

TOLERANCE_SECONDS = 300.0
MARK = "whsec_"


@dataclass(frozen=True, kw_only=True)
class WebhookEvent:
    """`id` is the same at each attempt to deliver: ignore those that you have seen."""

    id: str
    type: str
    timestamp: datetime
    data: dict[str, Any] = field(default_factory=dict)


def verify(
    body: bytes | str, headers: Mapping[str, str], secret: str, *, tolerance_seconds: float = TOLERANCE_SECONDS
) -> WebhookEvent:
    """The event of a delivery. body: as received, not parsed and written again.

    Raises InvalidSignature where the platform did not send it with this secret within the last minutes.
    """
    content = body.encode() if isinstance(body, str) else body
    given = {name.lower(): value for name, value in headers.items()}
    try:
        event_id, sent, signatures = (given[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        age = time.time() - int(sent)
    except (KeyError, ValueError):
        raise InvalidSignature("The headers of a webhook are missing.") from None
    if abs(age) > tolerance_seconds:
        raise InvalidSignature("The webhook is too old, or from the future.")
    signed = f"{event_id}.{sent}.".encode() + content
    right = hmac.digest(_key(secret), signed, hashlib.sha256)
    if not any(hmac.compare_digest(signature, right) for signature in _signatures(signatures)):
        raise InvalidSignature("The webhook's signature is wrong.")
    return read(WebhookEvent, {**json.loads(content), "id": event_id})


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(MARK), validate=True)
    except binascii.Error:
        raise ValueError("A webhook's secret is `whsec_` and base64.") from None


def _signatures(header: str) -> Iterator[bytes]:
    """There are two for a day after the secret was changed."""
    for part in header.split():
        version, _, encoded = part.partition(",")
        if version == "v1":
            try:
                yield base64.b64decode(encoded, validate=True)
            except binascii.Error:
                continue
