"""Where a person is signed in: browsers, and log-ins of the API."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from accounts import tokens, trail
from accounts.models import BrowserSession, LoginSession, User
from common import context, errors

SEEN_RESOLUTION = timedelta(minutes=5)
_USED_AT = "used_at"


@dataclass(frozen=True, slots=True)
class SignIn:
    """One place where the person is signed in. organization: the API's log-ins are of one, browsers of all."""

    id: uuid.UUID
    kind: str  # browser or api
    address: str | None
    user_agent: str
    created_at: datetime
    seen_at: datetime
    organization: str | None
    current: bool


def remember(user: User, session_key: str | None) -> None:
    """Keeps who signed in from where, beside Django's session."""
    if session_key is None:
        return
    origin = context.origin.get()
    BrowserSession.objects.update_or_create(
        session_id=session_key,
        defaults={"user": user, "address": origin.address, "user_agent": origin.user_agent[:300]},
    )


def touch(session_key: str | None) -> None:
    """Notes that the session is in use: a write every few minutes, no query in between."""
    if session_key and cache.add(f"session-seen:{session_key}", 1, SEEN_RESOLUTION.total_seconds()):
        BrowserSession.objects.filter(session_id=session_key).update(seen_at=timezone.now())


def went_idle(session: SessionBase, minutes: int | None) -> bool:
    """Whether a browser's session was not used for so long. Using it is noted in it, to the minute.

    Only where somebody wants to know: a session of whom nobody limits is not written at each use.
    """
    if minutes is None:
        return False
    now = time.time()
    used_at = session.get(_USED_AT, now)
    if now - used_at > minutes * 60:
        return True
    if _USED_AT not in session or now - used_at > 60:
        session[_USED_AT] = int(now)
    return False


def list_sign_ins(
    *, user: User, session_key: str | None = None, login_session: LoginSession | None = None
) -> list[SignIn]:
    """Newest use first. session_key, login_session: of the request that asks, which are marked as current."""
    now = timezone.now()
    browsers = BrowserSession.objects.filter(user=user, session__expire_date__gt=now)
    logins = LoginSession.objects.filter(
        membership__user=user, membership__organization__is_active=True, revoked_at=None, expires_at__gt=now
    ).select_related("membership__organization")
    found = [_of_browser(row, current=row.session_id == session_key) for row in browsers]
    found += [_of_login(row, current=login_session is not None and row.id == login_session.id) for row in logins]
    return sorted(found, key=lambda sign_in: (sign_in.current, sign_in.seen_at), reverse=True)


def end(*, user: User, sign_in_id: uuid.UUID) -> None:
    """Signs the person out there. NotFound for an id that is not one of theirs."""
    browser = BrowserSession.objects.filter(user=user, id=sign_in_id).first()
    login = LoginSession.objects.filter(membership__user=user, id=sign_in_id, revoked_at=None).first()
    if browser is None and login is None:
        raise errors.NotFound(f"No such session: {sign_in_id}.")
    with transaction.atomic():
        if browser is not None:
            Session.objects.filter(pk=browser.session_id).delete()
        if login is not None:
            tokens.revoke(login)
        trail.record(user, "auth.session_ended")


def end_others(*, user: User, session_key: str | None = None, login_session: LoginSession | None = None) -> int:
    """Signs the person out everywhere but here; how often."""
    browsers = BrowserSession.objects.filter(user=user).exclude(session_id=session_key or "")
    logins = LoginSession.objects.filter(membership__user=user, revoked_at=None)
    if login_session is not None:
        logins = logins.exclude(id=login_session.id)
    with transaction.atomic():
        keys = list(browsers.values_list("session_id", flat=True))
        Session.objects.filter(pk__in=keys).delete()
        ended = len(keys) + logins.update(revoked_at=timezone.now())
        if ended:
            trail.record(user, "auth.sessions_ended", count=ended)
    return ended


def _of_browser(row: BrowserSession, *, current: bool) -> SignIn:
    return SignIn(row.id, "browser", row.address, row.user_agent, row.created_at, row.seen_at, None, current)


def _of_login(row: LoginSession, *, current: bool) -> SignIn:
    name = row.membership.organization.name
    return SignIn(row.id, "api", row.address, row.user_agent, row.created_at, row.refreshed_at, name, current)
