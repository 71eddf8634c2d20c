"""Writes the audit trail. Call `record` in the transaction that makes the change, so that neither exists alone."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import ApiKey, Organization
from audit.models import ActorType, AuditEntry
from common import context

_PURGED_AT_ONCE = 5000
_SECRET_NAMES = frozenset({"password", "secret", "key", "token", "digest"})


def record(*, actor: Actor | None, action: str, target: Model | None = None, **details: Any) -> None:
    """Adds an entry to the organisation's trail.

    actor: who did it; None for the platform itself, whose entries go to the organisation that owns `target`.
    details: JSON values that say more, never a secret.
    """
    organization_id = actor.organization.id if actor else getattr(target, "organization_id", None)
    _entry(organization_id, action, _who(actor), target, details).save(force_insert=True)


def record_for_organization(organization: Organization, *, action: str, **details: Any) -> None:
    """What an operator did to an organisation from the command line."""
    _entry(organization.id, action, _who(None), organization, details).save(force_insert=True)


def record_for_installation(*, actor: Actor | None, action: str, target: Model | None = None, **details: Any) -> None:
    """What was done to what no organisation owns, such as models: an entry in the trail of the actor's organisation.

    actor: None for somebody at the command line, whose entry the operators see, under the account's name.
    """
    if actor is not None:
        record(actor=actor, action=action, target=target, **details)
        return
    who = {"actor_type": ActorType.SYSTEM, "actor_label": label_of(actor)}
    _entry(None, action, who, target, details).save(force_insert=True)


def label_of(actor: Actor | None) -> str:
    """Who it is, as entries name them. None: somebody at the command line."""
    return _who(actor)["actor_label"] if actor is not None else f"{_account()} (command line)"[:254]


def record_for_person(
    *, action: str, email: str, user_id: UUID | None, organization_ids: Iterable[UUID], **details: Any
) -> None:
    """What a person did, or somebody in their name, outside any one organisation: an entry in each of theirs.

    user_id: None for somebody whom nobody has authenticated. Without organisations, the operators see the entry.
    """
    who = {
        "actor_type": ActorType.USER if user_id else ActorType.ANONYMOUS,
        "actor_id": user_id,
        # What is typed where the address belongs may be a password.
        "actor_label": email.lower()[:254] if "@" in email else "",
    }
    owners: list[UUID | None] = [*organization_ids]
    AuditEntry.objects.bulk_create(_entry(owner, action, who, None, details) for owner in owners or [None])


def purge(*, now: datetime | None = None) -> int:
    """Deletes entries that are older than AUDIT_RETENTION_DAYS; how many. That it did so is an entry of its own."""
    if settings.AUDIT_RETENTION_DAYS is None:
        return 0
    before = (now or timezone.now()) - timedelta(days=settings.AUDIT_RETENTION_DAYS)
    deleted = 0
    while ids := list(AuditEntry.objects.filter(created_at__lt=before).values_list("id", flat=True)[:_PURGED_AT_ONCE]):
        with deletion_allowed():
            deleted += AuditEntry.objects.filter(id__in=ids).delete()[0]
    if deleted:
        who = {"actor_type": ActorType.SYSTEM}
        details = {"entries": deleted, "before": before.isoformat()}
        _entry(None, "audit.purged", who, None, details).save(force_insert=True)
    return deleted


@contextmanager
def deletion_allowed() -> Iterator[None]:
    """Lets this transaction delete entries: for the end of an organisation and of the retention period alone."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('audit.deletion', 'allowed', true)")
        yield
        cursor.execute("SELECT set_config('audit.deletion', '', true)")


def _entry(
    organization_id: UUID | None, action: str, who: dict[str, Any], target: Model | None, details: dict[str, Any]
) -> AuditEntry:
    if secret := _SECRET_NAMES & details.keys():
        raise ValueError(f"{action}: the audit trail holds no secrets, but was given {sorted(secret)}")
    origin = context.origin.get()
    return AuditEntry(
        organization_id=organization_id,
        action=action,
        **who,
        object_type=target._meta.model_name or "" if target is not None else "",
        object_id=str(target.pk) if target is not None else "",
        object_label=str(target)[:300] if target is not None else "",
        address=origin.address,
        user_agent=origin.user_agent,
        request_id=context.request_id.get(),
        details=details,
    )


def _account() -> str:
    """By the system's own word, not by variables that anybody can set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, without an entry for it
        return f"uid {os.getuid()}"


def _key_label(key: ApiKey) -> str:
    """With its owner, where a service account owns it."""
    return (f"{key.service_account}: {key}" if key.service_account else str(key))[:254]


def _who(actor: Actor | None) -> dict[str, Any]:
    if actor is None:
        return {"actor_type": ActorType.SYSTEM}
    if actor.api_key is not None:
        return {"actor_type": ActorType.API_KEY, "actor_id": actor.api_key.id, "actor_label": _key_label(actor.api_key)}
    user = actor.user
    return {"actor_type": ActorType.USER, "actor_id": user.id, "actor_label": user.email}  # type: ignore[union-attr]
