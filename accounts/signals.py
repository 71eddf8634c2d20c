"""Browser sessions: remembered for their owner, and in the audit trail; of the dashboard and of the administration."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import sessions, trail
from accounts.models import User


@receiver(user_logged_in)
def record_login(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    if request is not None and getattr(request, "session", None) is not None:
        sessions.remember(user, request.session.session_key)
    trail.record(user, "auth.login", through="browser")


@receiver(user_logged_out)
def record_logout(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:  # whoever was not logged in can log out too
        trail.record(user, "auth.logout", through="browser")
