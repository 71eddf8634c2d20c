"""Metrics as text, and who may read them: a scraper with the token, or one that comes from an allowed address."""

from __future__ import annotations

import functools
import hmac
import ipaddress
from collections.abc import Mapping

from django.conf import settings
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from observability import metrics

CONTENT_TYPE = CONTENT_TYPE_LATEST

_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


def exposition() -> bytes:
    """All metrics of this process. Asks the database how long the queue is."""
    _complete()
    return generate_latest(metrics.registry)


@functools.cache
def _complete() -> None:
    """At the first scrape, when all applications are there."""
    from observability import collectors

    metrics.BUILD.labels(settings.VERSION).set(1)
    collectors.register()


def may_read(address: str | None, headers: Mapping[str, str]) -> bool:
    """address: the client's, as `common.network.client_address` has it."""
    if settings.METRICS_TOKEN:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        return hmac.compare_digest(given.encode(), settings.METRICS_TOKEN.encode())
    # A proxy that nobody told us of makes all the world look local.
    hidden = not settings.TRUSTED_PROXIES and any(name in headers for name in _FORWARDED)
    return not hidden and _is_allowed(address)


def _is_allowed(address: str | None) -> bool:
    if address is None:
        return False
    parsed = ipaddress.ip_address(address)
    plain = getattr(parsed, "ipv4_mapped", None) or parsed
    return plain.is_loopback or any(plain in network for network in settings.METRICS_ALLOWED_NETWORKS)
