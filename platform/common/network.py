"""The client's address."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request


def client_address(request: HttpRequest | Request) -> str | None:
    """The peer's address, or the one that the outermost trusted proxy saw (TRUSTED_PROXIES counts them)."""
    forwarded = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    trusted: int = settings.TRUSTED_PROXIES
    # Clients can write the header too: only the entries that our own proxies appended count.
    address = forwarded[-trusted] if trusted and len(forwarded) >= trusted else request.META.get("REMOTE_ADDR", "")
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def public_url(request: HttpRequest | Request) -> str:
    """What links to this platform begin with, in e-mails: `https://speech.example.com`."""
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
