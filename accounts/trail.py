"""The audit trail of what concerns a person, and so each organisation that the person is in."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from audit import services as audit


def record(user: User, action: str, **details: Any) -> None:
    """An entry in each of the person's active organisations."""
    active = user.memberships.filter(organization__is_active=True)
    audit.record_for_person(
        action=action,
        email=user.email,
        user_id=user.id,
        organization_ids=active.values_list("organization_id", flat=True),
        **details,
    )
