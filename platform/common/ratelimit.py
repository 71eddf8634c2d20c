"""Requests a minute, counted by django-ratelimit in the cache: for actors, for organisations, and for log-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django_ratelimit.core import get_usage
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from accounts.actors import Actor
from common import errors

if TYPE_CHECKING:  # rest_framework.views loads this module while it is being loaded itself
    from rest_framework.views import APIView

Usage = dict[str, int]


class ActorThrottle(BaseThrottle):
    """Counts the request for the key or user and for the organisation, and puts the nearer limit into the headers."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        actor = request.auth
        if not isinstance(actor, Actor):
            return True
        usages = _count_actor(request._request, actor)
        self._nearest = min(usages, key=lambda usage: usage["limit"] - usage["count"])
        request.rate_limit_headers = _headers(self._nearest)  # type: ignore[attr-defined]
        return not any(usage["should_limit"] for usage in usages)

    def wait(self) -> float:
        return max(1, self._nearest["time_left"])


def count_connection(request: HttpRequest, actor: Actor) -> None:
    """Counts the opening of a socket as a request. Raises RateLimited."""
    exceeded = [usage for usage in _count_actor(request, actor) if usage["should_limit"]]
    if exceeded:
        wait = max(1, *(usage["time_left"] for usage in exceeded))
        raise errors.RateLimited(f"Too many requests; try again in {wait} seconds.", retry_after_seconds=wait)


def _count_actor(request: HttpRequest, actor: Actor) -> list[Usage]:
    return [
        _count(request, "actor", actor.id, actor.rate_limit or settings.RATE_LIMIT_ACTOR),
        _count(request, "organization", str(actor.organization.id), settings.RATE_LIMIT_ORGANIZATION),
    ]


def _count(
    request: HttpRequest, group: str, key: str, limit: int, *, increment: bool = True, period: str = "m"
) -> Usage:
    rate = f"{limit}/{period}"
    return get_usage(request, group=group, key=lambda _group, _request: key, rate=rate, increment=increment)


def _headers(usage: Usage) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(usage["limit"]),
        "RateLimit-Remaining": str(max(0, usage["limit"] - usage["count"])),
        "RateLimit-Reset": str(max(0, usage["time_left"])),
    }


class LoginThrottle:
    """Failed log-ins for one e-mail address and from one client. Right passwords are not counted."""

    def __init__(self, request: HttpRequest, *, email: str, address: str) -> None:
        self._request = request
        limit = settings.RATE_LIMIT_LOGIN_FAILURES
        # A shared office address may fail more often than one person does.
        self._counters = [
            ("login-email", email.lower(), limit, "m"),
            ("login-email-hour", email.lower(), settings.RATE_LIMIT_LOGIN_FAILURES_HOUR, "h"),
            ("login-address", address, limit * 5, "m"),
        ]

    def check(self) -> None:
        """Raises RateLimited when there were too many failures."""
        for group, key, limit, period in self._counters:
            usage = _count(self._request, group, key, limit, increment=False, period=period)
            if usage["count"] >= limit:
                raise errors.RateLimited(
                    "Too many failed log-ins; try again later.", retry_after_seconds=max(1, usage["time_left"])
                )

    def record_failure(self) -> None:
        for group, key, limit, period in self._counters:
            _count(self._request, group, key, limit, period=period)


def count_refused_credential(request: HttpRequest, *, address: str) -> None:
    """Counts a key or token that was refused. Raises RateLimited where one address tries too many.

    What is valid is not looked at: whoever shares an address with a guesser goes on working.
    """
    usage = _count(request, "credential-address", address, settings.RATE_LIMIT_CREDENTIAL_FAILURES)
    if usage["should_limit"]:
        wait = max(1, usage["time_left"])
        raise errors.RateLimited(f"Too many refused credentials; wait {wait} seconds.", retry_after_seconds=wait)


def count_password_reset(request: HttpRequest, *, email: str, address: str) -> None:
    """Counts the wish for a link, whether or not the address has an account. Raises RateLimited."""
    limit = settings.RATE_LIMIT_PASSWORD_RESETS
    counters = [("reset-email", email.lower(), limit), ("reset-address", address, limit * 10)]
    usages = [_count(request, group, key, most, period="h") for group, key, most in counters]
    if exceeded := [usage for usage in usages if usage["should_limit"]]:
        wait = max(1, *(usage["time_left"] for usage in exceeded))
        raise errors.RateLimited("Too many links were asked for; try again later.", retry_after_seconds=wait)
