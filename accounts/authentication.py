"""From a request's credential to its Actor: one query for a key, one for an access token."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts import keys, policies, tokens
from accounts.actors import Actor
from accounts.models import ApiKey, Organization, User
from common import context, errors, ratelimit
from common.network import client_address

LAST_USED_RESOLUTION = timedelta(minutes=1)
"""A key in steady use writes its row this often, not at every request."""


class CredentialAuthentication(BaseAuthentication):
    """`x-api-key: <key>`, `Authorization: Bearer <key>` or `Authorization: Bearer <access token>`.

    `request.auth` is the Actor; `request.user` the person, or None for a key.
    """

    def authenticate(self, request: Request) -> tuple[User | None, Actor] | None:
        credential = credential_of(request)
        if not credential:
            return None
        actor = authenticate_caller(request._request, credential)
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def credential_of(request: HttpRequest | Request) -> str:
    """The API key or access token in the headers; empty where there is none."""
    return request.headers.get("x-api-key", "").strip() or _bearer(request)


def authenticate_caller(request: HttpRequest, credential: str) -> Actor:
    """As `authenticate_credential`; RateLimited for a client that has sent too many that were refused."""
    try:
        return authenticate_credential(credential)
    except errors.NotAuthenticated:
        ratelimit.count_refused_credential(request, address=client_address(request) or "unknown")
        raise


def authenticate_credential(credential: str) -> Actor:
    """The actor that an API key or an access token stands for.

    Raises NotAuthenticated, and PermissionDenied where the organisation or the key excludes the caller's address.
    """
    is_key = credential.startswith(keys.MARK)
    actor = actor_of_key(credential) if is_key else _actor_of_token(credential)
    context.organization_id.set(str(actor.organization.id))
    policies.check_address(actor)
    return actor


def actor_of_key(key: str) -> Actor:
    row = key_rows().filter(prefix=keys.prefix_of(key) or "").first()
    # An unknown prefix costs the same HMAC as a known one.
    valid = keys.matches(key, row.digest if row else "")
    return actor_of_key_row(row if valid else None)


def key_rows() -> QuerySet[ApiKey]:
    """Keys of active organisations, with what holds for their requests: that needs no query of its own."""
    related = (*Organization.settings("organization__"), "service_account")
    return ApiKey.objects.select_related(*related).filter(organization__is_active=True)


def actor_of_key_row(row: ApiKey | None) -> Actor:
    """Of a key that was verified, or that an operator named. Raises NotAuthenticated for one that is of no use."""
    if row is None or not row.usable or not row.organization.is_active:
        raise errors.NotAuthenticated("The API key is not valid.", code="api_key_invalid")
    _touch(row)
    return Actor(organization=row.organization, role=row.role, api_key=row)


def renewed(actor: Actor) -> Actor:
    """With the organisation and its settings as they are now: for who acts long after it was admitted, on a socket.

    Raises NotAuthenticated where the organisation has been closed since.
    """
    rows = Organization.objects.filter(id=actor.organization.id, is_active=True)
    organization = rows.select_related(*Organization.settings()).first()
    if organization is None:
        raise errors.NotAuthenticated("The organisation is not active any more.", code="organization_inactive")
    return replace(actor, organization=organization)


def _actor_of_token(token: str) -> Actor:
    session = tokens.session_of_access_token(token)
    member = session.membership
    return Actor(organization=member.organization, role=member.role, user=member.user, login_session=session)


def _touch(row: ApiKey) -> None:
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at > LAST_USED_RESOLUTION:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USED_RESOLUTION)
        ApiKey.objects.filter(stale, id=row.id).update(last_used_at=now)


def _bearer(request: HttpRequest | Request) -> str:
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


class CredentialScheme(OpenApiAuthenticationExtension):
    target_class = CredentialAuthentication
    name = ["bearer", "apiKey"]  # noqa: RUF012  (the base class declares a plain list)

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        return [
            {"type": "http", "scheme": "bearer", "description": "An access token or an API key."},
            {"type": "apiKey", "in": "header", "name": "x-api-key"},
        ]
