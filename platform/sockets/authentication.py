"""From a handshake to its Actor: the same credentials as over HTTP, client tokens, and the dashboard's cookie."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest

from accounts import client_tokens
from accounts.actors import Access, Actor
from accounts.authentication import authenticate_caller, credential_of
from accounts.client_tokens import ClientToken
from accounts.permissions import check_access
from common import context, errors, ratelimit
from dashboard.access import visitor_of_cookie


@dataclass(frozen=True, slots=True)
class Admission:
    """Who opened a socket."""

    actor: Actor
    token: ClientToken | None = None  # what the client token says, where one was used


def handshake(scope: dict[str, Any]) -> HttpRequest:
    """The opening request as Django's, with its headers, cookies and query."""
    schemes = {"ws": "http", "wss": "https"}
    http = {**scope, "type": "http", "method": "GET", "scheme": schemes.get(scope.get("scheme", "ws"), "http")}
    return ASGIRequest(http, io.BytesIO())


def admit(request: HttpRequest, *, access: Access, credential: str = "") -> Admission:
    """Who opens a socket that needs `access`. Queries the database: call it in a thread.

    credential: an API key, access token or client token that the protocol carries elsewhere than in the usual headers
    or in `?client_token=`, such as in a subprotocol.

    Raises NotAuthenticated, PermissionDenied, RateLimited.
    """
    admission = _identify(request, access, credential or credential_of(request) or _query_token(request))
    check_access(admission.actor, access)
    ratelimit.count_connection(request, admission.actor)
    return admission


def _identify(request: HttpRequest, access: Access, credential: str) -> Admission:
    if credential.startswith(client_tokens.MARK):
        actor, token = client_tokens.redeem(
            credential, scope=access.scope, origin=request.headers.get("Origin", "").rstrip("/") or None
        )
        context.organization_id.set(str(actor.organization.id))
        return Admission(actor, token)
    if credential:
        return Admission(authenticate_caller(request, credential))
    if settings.SESSION_COOKIE_NAME in request.COOKIES:
        return Admission(_actor_of_cookie(request))
    raise errors.NotAuthenticated("Send an access token, an API key or a client token.")


def _query_token(request: HttpRequest) -> str:
    """Clients append `?client_token=…` also to a URL that has one already: what follows a second mark is no token."""
    token = request.GET.get("client_token", "").partition("?")[0]
    if token and not token.startswith(client_tokens.MARK):
        raise errors.NotAuthenticated("The client token is not valid.", code="client_token_invalid")
    return token


def _actor_of_cookie(request: HttpRequest) -> Actor:
    """Browsers send cookies along from any page, so the page must be one of ours: a socket has no CSRF token."""
    if not _is_own_page(request):
        raise errors.PermissionDenied("A page of another origin may not open this.", code="origin_not_allowed")
    visitor = visitor_of_cookie(request)
    if visitor is None:
        raise errors.NotAuthenticated("The log-in has ended; sign in again.", code="session_ended")
    return visitor.actor


def _is_own_page(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin", "").rstrip("/")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return True
    try:
        return bool(origin) and urlsplit(origin).netloc.lower() == request.get_host().lower()
    except (DisallowedHost, ValueError):
        return False
