"""The one way to an organisation's rows."""

from __future__ import annotations

import uuid
from typing import TypeVar

from django.db.models import QuerySet

from accounts.actors import Actor
from common import errors
from common.models import OrganizationOwned

Owned = TypeVar("Owned", bound=OrganizationOwned)


def owned_by(actor: Actor, rows: QuerySet[Owned] | type[Owned]) -> QuerySet[Owned]:
    """Those of `rows` that belong to the actor's organisation."""
    queryset = rows if isinstance(rows, QuerySet) else rows._default_manager.all()
    return queryset.filter(organization_id=actor.organization.id)


def get_owned(actor: Actor, rows: QuerySet[Owned] | type[Owned], row_id: uuid.UUID) -> Owned:
    """The row, or NotFound: another organisation's row does not exist for this actor."""
    row = owned_by(actor, rows).filter(id=row_id).first()
    if row is None:
        model = rows.model if isinstance(rows, QuerySet) else rows
        raise errors.NotFound(f"No such {model._meta.verbose_name}: {row_id}.")
    return row
