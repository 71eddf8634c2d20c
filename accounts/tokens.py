"""JWT access and refresh tokens, signed by simplejwt and tied to a `LoginSession`.

The session row, not the token, decides: logging out, removing a member or changing a role takes effect at the next
request. A refresh token works once; presenting an old one again means that it was copied, so the session is revoked.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from accounts import policies
from accounts.models import LoginSession, Membership, Organization
from common import errors

SESSION_CLAIM = "sid"


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str
    expires_in: int  # seconds, of the access token


def open_session(*, membership: Membership, address: str | None, user_agent: str) -> tuple[LoginSession, TokenPair]:
    jti = uuid.uuid4().hex
    session = LoginSession.objects.create(
        membership=membership,
        refresh_jti=jti,
        expires_at=_refresh_expiry(),
        address=address,
        user_agent=user_agent[:300],
    )
    return session, _pair(session, jti)


def rotate(refresh_token: str) -> TokenPair:
    """A new pair for a refresh token, which is refused from now on."""
    token = _verified(RefreshToken, refresh_token)
    session_id, old_jti, new_jti = token.get(SESSION_CLAIM), token["jti"], uuid.uuid4().hex
    live = LoginSession.objects.filter(id=session_id, revoked_at=None, expires_at__gt=timezone.now())
    row = live_sessions().filter(id=session_id, expires_at__gt=timezone.now()).first()
    active = row is not None and policies.keeps(row)
    # Compare-and-swap: of two requests with the same token, one changes the row. Its conditions are the row's own
    # columns; a joined one becomes a subquery, which PostgreSQL evaluates before it waits for the row: both would win.
    swapped = active and live.filter(refresh_jti=old_jti).update(
        refresh_jti=new_jti, refreshed_at=timezone.now(), expires_at=_refresh_expiry()
    )
    if not swapped:
        live.update(revoked_at=timezone.now())
        raise errors.NotAuthenticated("The refresh token is no longer valid; log in again.", code="refresh_token_used")
    session = LoginSession.objects.select_related("membership").get(id=session_id)
    return _pair(session, new_jti)


def session_of_access_token(token: str) -> LoginSession:
    """The live session that an access token names, with its member, user and organisation."""
    session_id = _verified(AccessToken, token).get(SESSION_CLAIM)
    session = live_sessions().filter(id=session_id).first()
    if session is None:
        raise errors.NotAuthenticated("The log-in has ended; log in again.", code="session_ended")
    return session


def live_sessions() -> QuerySet[LoginSession]:
    """Log-ins that have not ended, with their member, user and organisation (and its settings)."""
    related = (*Organization.settings("membership__organization__"), "membership__user__two_factor")
    return LoginSession.objects.select_related(*related).filter(
        revoked_at=None, membership__user__is_active=True, membership__organization__is_active=True
    )


def revoke(session: LoginSession) -> None:
    LoginSession.objects.filter(id=session.id, revoked_at=None).update(revoked_at=timezone.now())


def _verified(token_class: type, raw: str) -> AccessToken | RefreshToken:
    try:
        token = token_class(raw)
        uuid.UUID(str(token.get(SESSION_CLAIM)))
    except (TokenError, ValueError):
        raise errors.NotAuthenticated("The token is not valid or has expired.", code="token_invalid") from None
    return token


def _pair(session: LoginSession, jti: str) -> TokenPair:
    refresh = RefreshToken()
    refresh["jti"] = jti
    access = AccessToken()
    for token in (refresh, access):
        token["sub"] = str(session.membership.user_id)
        token["org"] = str(session.membership.organization_id)
        token[SESSION_CLAIM] = str(session.id)
    return TokenPair(str(access), str(refresh), settings.ACCESS_TOKEN_MINUTES * 60)


def _refresh_expiry() -> datetime:
    return timezone.now() + timedelta(days=settings.REFRESH_TOKEN_DAYS)
