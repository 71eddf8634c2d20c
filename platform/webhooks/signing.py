"""Secrets and signatures of the Standard Webhooks scheme (https://www.standardwebhooks.com).

A secret is derived, HMAC-SHA256(API_KEY_PEPPER, salt), and not stored: rotating makes a new salt. Like API keys,
secrets become invalid when the pepper changes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from django.conf import settings

MARK = "whsec_"


def new_salt() -> str:
    return secrets.token_hex(16)


def secret_of(salt: str) -> str:
    """`whsec_` and 32 bytes in base64."""
    derived = hmac.digest(settings.API_KEY_PEPPER.encode(), f"webhook:{salt}".encode(), hashlib.sha256)
    return MARK + base64.b64encode(derived).decode()


def headers(*, event_id: str, timestamp: int, body: bytes, signing_secrets: Sequence[str]) -> dict[str, str]:
    """The scheme's three headers: a signature for each secret, so that receivers can change theirs in their own time.

    timestamp: seconds since 1970.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    signatures = " ".join(_signature(secret, signed) for secret in signing_secrets)
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp), "webhook-signature": signatures}


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(MARK))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
