"""Browser sessions: remembered for their owner, and in the audit trail; of the dashboard and of the administration."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import sessions, trail
from accounts.actors import Actor
from accounts.models import User
from audit import services as audit


@receiver(user_logged_in)
def record_login(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    if request is not None and getattr(request, "session", None) is not None:
        sessions.remember(user, request.session.session_key)
    organization = getattr(request, "sso_organization", None)
    if organization is None:
        trail.record(user, "auth.login", through="browser")
    else:  # it acts there alone
        audit.record(actor=Actor(organization=organization, role="viewer", user=user, sso=True), action="auth.login",
                     through="sso")  # fmt: skip


@receiver(user_logged_out)
def record_logout(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:  # whoever was not logged in can log out too
        trail.record(user, "auth.logout", through="browser")
