"""Writes: service accounts, members that are no persons and own API keys."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import Role, ServiceAccount
from audit import services as audit
from common import errors
from common.models import write

MOST = 1000
"""Of one organisation."""


def create(*, actor: Actor, name: str, description: str = "", role: str = Role.DEVELOPER) -> ServiceAccount:
    """Raises Conflict for a name that is taken."""
    if ServiceAccount.objects.filter(organization_id=actor.organization.id).count() >= MOST:
        raise errors.Conflict(f"An organisation has at most {MOST} service accounts.", code="too_many_service_accounts")
    row = ServiceAccount(
        organization=actor.organization, name=name, description=description, role=role, created_by=actor.user
    )
    with _unique_name(), transaction.atomic():
        row.save(force_insert=True)
        audit.record(actor=actor, action="service_account.created", target=row, role=role)
    return row


def update(*, actor: Actor, account: ServiceAccount, changes: dict[str, Any]) -> ServiceAccount:
    """Changes name, description or role; disabled: True refuses all of its keys from the next request on."""
    changes = dict(changes)
    if "disabled" in changes:
        disabled = changes.pop("disabled")
        changes["disabled_at"] = (account.disabled_at or timezone.now()) if disabled else None
    with _unique_name(), transaction.atomic():
        if changed := sorted(write(account, changes)):
            audit.record(actor=actor, action=_action(account, changed), target=account, changed=changed)
    return account


def delete(*, actor: Actor, account: ServiceAccount) -> None:
    """Revokes its keys, whose rows stay for what they made, and forgets the account."""
    with transaction.atomic():
        revoked = account.api_keys.filter(revoked_at=None).update(revoked_at=timezone.now())
        audit.record(actor=actor, action="service_account.deleted", target=account, revoked=revoked)
        account.delete()


def _action(account: ServiceAccount, changed: list[str]) -> str:
    if "disabled_at" not in changed:
        return "service_account.changed"
    return "service_account.disabled" if account.disabled_at else "service_account.enabled"


class _unique_name:
    """The database's word on names, as an error of ours."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, IntegrityError):
            raise errors.Conflict(
                "There is a service account of this name.", code="service_account_exists", param="name"
            ) from None
