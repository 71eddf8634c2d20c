"""Tells people that a quota runs out."""

from __future__ import annotations

import logging
from typing import Any

from django.core.mail import EmailMessage

from accounts.models import Membership, Organization, Role
from analytics import selectors

log = logging.getLogger(__name__)


def notify_quota(organization: Organization, level: int) -> None:
    """E-mail to the organisation's owners and admins, and a line in the log. level: per cent of a limit, 80 or 100.

    Called once a month for each level, by the queue: a mail server that does not answer delays no request.
    """
    state = selectors.quota_state(organization=organization)
    log.warning("quota warning", extra={"organization": str(organization.id), "level": level})
    recipients = list(
        Membership.objects.filter(
            organization=organization, role__in=(Role.OWNER, Role.ADMIN), user__is_active=True
        ).values_list("user__email", flat=True)
    )
    if recipients:
        EmailMessage(_subject(organization, level), _body(organization, level, state), to=recipients).send()


def _subject(organization: Organization, level: int) -> str:
    return f"{organization.name}: the monthly quota is {'used up' if level == 100 else f'{level} % used'}"


def _body(organization: Organization, level: int, state: dict[str, Any]) -> str:
    what_happens = (
        "Requests that no longer fit are refused (402 quota_exceeded) until then."
        if level == 100
        else "Requests will be refused when nothing is left."
    )
    limits, used = state["limits"], state["used"]
    names = (
        ("monthly_characters", "characters", "characters spoken"),
        ("monthly_audio_seconds", "audio_seconds", "seconds transcribed"),
        ("monthly_budget", "cost", "of the budget"),
    )
    lines = [
        f"  {used[amount]:,} of {limits[limit]:,} {label}"
        for limit, amount, label in names
        if limits[limit] is not None
    ]
    return "\n".join(
        (f"{organization.name} has used this month:", "", *lines, "",
         f"The quota starts again at {state['resets_at']}. {what_happens}", "")
    )  # fmt: skip
