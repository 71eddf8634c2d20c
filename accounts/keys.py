"""How an API key is made, hashed and compared.

A key reads `sp_<8>_<32>`: a prefix to find the row by, and 32 random characters (190 bits). The table holds the prefix
and HMAC-SHA256(pepper, key): the secret is random, so a slow password hash would buy nothing, and the pepper makes a
stolen table useless alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass

from django.conf import settings

MARK = "sp_"
_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class NewKey:
    key: str  # shown once, never stored
    prefix: str
    last4: str
    digest: str


def generate() -> NewKey:
    prefix = MARK + _random(8)
    key = f"{prefix}_{_random(32)}"
    return NewKey(key=key, prefix=prefix, last4=key[-4:], digest=digest(key))


def digest(key: str) -> str:
    return hmac.new(settings.API_KEY_PEPPER.encode(), key.encode(), hashlib.sha256).hexdigest()


def matches(key: str, stored_digest: str) -> bool:
    """In constant time."""
    return hmac.compare_digest(digest(key), stored_digest)


def derived(purpose: str, salt: str) -> bytes:
    """32 bytes that follow from the salt and the server's pepper: secrets that need not be stored."""
    return hmac.digest(settings.API_KEY_PEPPER.encode(), f"{purpose}:{salt}".encode(), hashlib.sha256)


def new_salt() -> str:
    return secrets.token_hex(16)


def prefix_of(key: str) -> str | None:
    """The public part of a well-formed key."""
    prefix, _, secret = key.rpartition("_")
    return prefix if secret and prefix.startswith(MARK) and len(key) <= 100 else None


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
