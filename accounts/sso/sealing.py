"""Secrets that must be had again, as ciphertext (Fernet: AES-128-CBC with HMAC-SHA256) under a key from SECRET_KEY."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from common import errors


def seal(secret: str) -> str:
    return _fernet().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises Conflict where SECRET_KEY is another and not among SECRET_KEY_FALLBACKS."""
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise errors.Conflict(
            "The client secret cannot be read: this server's SECRET_KEY has changed. Enter it again.",
            code="sso_secret_lost",
        ) from None


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _derived(key: str) -> bytes:
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"accounts.sso.client-secret")
    return base64.urlsafe_b64encode(hkdf.derive(key.encode()))
