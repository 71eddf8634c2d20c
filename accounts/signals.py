"""Browser sessions in the audit trail: Django's log-in and log-out, of the dashboard and of the administration."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.dispatch import receiver

from accounts.models import User
from audit import services as audit


@receiver(user_logged_in)
def record_login(sender: Any, user: User, **kwargs: Any) -> None:
    _record("auth.login", user)


@receiver(user_logged_out)
def record_logout(sender: Any, user: User | None, **kwargs: Any) -> None:
    if user is not None:  # whoever was not logged in can log out too
        _record("auth.logout", user)


def _record(action: str, user: User) -> None:
    """A browser session is not of one organisation: it can act in all of the person's."""
    active = user.memberships.filter(organization__is_active=True)
    audit.record_for_person(
        action=action,
        email=user.email,
        user_id=user.id,
        organization_ids=active.values_list("organization_id", flat=True),
        through="browser",
    )
