"""Tokens for browsers: signed, short-lived, for one scope of one organisation and one session.

    token = client_tokens.issue(actor=actor, scope="stt", session_id=uuid4(), seconds=60)
    actor, claims = client_tokens.redeem(token, scope="stt", origin="https://app.example.com")

A token says for whom it was made; the key, log-in or member is looked up again when it is used, so that revoking takes
effect at once. It is no credential of the REST API: only sockets take it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.core import signing

from accounts import policies, tokens
from accounts.actors import ROLE_RANKS, Actor
from accounts.authentication import key_rows
from accounts.models import Membership, Organization, Role
from common import errors

MARK = "ct_"
_SALT = "accounts.client-token"


@dataclass(frozen=True, slots=True)
class ClientToken:
    """What a token says."""

    scope: str
    session_id: uuid.UUID
    expires_at: datetime
    allowed_origins: tuple[str, ...] = ()  # of pages, e.g. "https://app.example.com"; none: any
    options: Mapping[str, Any] = field(default_factory=dict)  # JSON values that its maker settled for the session


def issue(
    *,
    actor: Actor,
    scope: str,
    session_id: uuid.UUID,
    seconds: int,
    allowed_origins: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> tuple[str, ClientToken]:
    """A token with which a browser may open `session_id`, and what it says."""
    expires = int(time.time()) + seconds
    claims = {
        "o": str(actor.organization.id),
        "c": _holder(actor),
        "s": scope,
        "i": session_id.hex,
        "e": expires,
        "w": list(allowed_origins),
        "d": dict(options or {}),
    }
    token = MARK + signing.dumps(claims, salt=_SALT, compress=True)
    return token, _claims(claims)


def redeem(token: str, *, scope: str | None, origin: str | None) -> tuple[Actor, ClientToken]:
    """Whoever made the token, as an actor, and what it says.

    scope: of the endpoint. origin: the `Origin` header of the page that uses it.

    Raises NotAuthenticated for a token that was changed, has expired or whose maker's credential was revoked;
    PermissionDenied for another scope or an origin that it does not allow.
    """
    try:
        raw = signing.loads(token.removeprefix(MARK), salt=_SALT)
        claims = _claims(raw)
        holder, organization_id = raw["c"], uuid.UUID(raw["o"])
    except (signing.BadSignature, KeyError, ValueError, TypeError):
        raise _invalid() from None
    if claims.expires_at <= datetime.now(UTC):
        raise errors.NotAuthenticated("The client token has expired.", code="client_token_expired")
    if claims.scope != scope:
        raise errors.PermissionDenied(f"This client token is for {claims.scope!r} only.", code="scope_missing")
    if claims.allowed_origins and origin not in claims.allowed_origins:
        raise errors.PermissionDenied("This client token may not be used from this page.", code="origin_not_allowed")
    actor = _actor(holder)
    if actor.organization.id != organization_id:
        raise _invalid()
    policies.check_address(actor)
    return actor, claims


def _claims(raw: Mapping[str, Any]) -> ClientToken:
    return ClientToken(
        scope=raw["s"],
        session_id=uuid.UUID(raw["i"]),
        expires_at=datetime.fromtimestamp(raw["e"], UTC),
        allowed_origins=tuple(raw["w"]),
        options=raw["d"],
    )


def _holder(actor: Actor) -> str:
    if actor.api_key is not None:
        return f"key:{actor.api_key.id}"
    if actor.login_session is not None:
        return f"login:{actor.login_session.id}"
    return f"user:{actor.user.id}@{actor.organization.id}"  # type: ignore[union-attr]


def _actor(holder: str) -> Actor:
    kind, _, name = holder.partition(":")
    actor = {"key": _actor_of_key, "login": _actor_of_login, "user": _actor_of_member}[kind](name)
    if actor is None or ROLE_RANKS[actor.role] < ROLE_RANKS[Role.DEVELOPER]:
        raise _invalid()
    return actor


def _actor_of_key(key_id: str) -> Actor | None:
    row = key_rows().filter(id=key_id).first()
    return Actor(organization=row.organization, role=row.role, api_key=row) if row and row.usable else None


def _actor_of_login(session_id: str) -> Actor | None:
    session = tokens.live_sessions().filter(id=session_id).first()
    if session is None:
        return None
    member = session.membership
    return Actor(organization=member.organization, role=member.role, user=member.user, login_session=session)


def _actor_of_member(name: str) -> Actor | None:
    user_id, _, organization_id = name.partition("@")
    related = (*Organization.settings("organization__"), "user__two_factor")
    rows = Membership.objects.select_related(*related).filter(
        user_id=user_id, organization_id=organization_id, user__is_active=True, organization__is_active=True
    )
    member = rows.first()
    return Actor(organization=member.organization, role=member.role, user=member.user) if member else None


def _invalid() -> errors.NotAuthenticated:
    return errors.NotAuthenticated("The client token is not valid.", code="client_token_invalid")
