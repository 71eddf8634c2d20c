"""In whose name a port works: an API key, looked at again for each request, so that its end is the port's."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.http import HttpRequest

from accounts import policies
from accounts.actors import Access, Actor
from accounts.authentication import actor_of_key, actor_of_key_row, key_rows
from accounts.models import ApiKey, Role
from accounts.permissions import check_access
from common import context, errors, ratelimit
from models_registry import runtime

KIND = "wyoming"
"""What this process calls itself among those that serve models."""


@dataclass(frozen=True, slots=True)
class Identity:
    organization: str  # slug
    key_id: uuid.UUID

    def actor(self, scope: str) -> Actor:
        """For one request. Queries the database.

        Raises NotAuthenticated, PermissionDenied where the key lacks the scope, RateLimited.
        """
        runtime.current.start(kind=KIND)  # does nothing but for the first time, or while the database was away
        row = key_rows().filter(id=self.key_id, organization__slug=self.organization)
        actor = actor_of_key_row(row.first())
        context.organization_id.set(str(actor.organization.id))
        policies.check_address(actor)
        check_access(actor, Access(role=Role.DEVELOPER, scope=scope))
        ratelimit.count_connection(HttpRequest(), actor)
        return actor


def find(*, organization: str, key: str) -> Identity:
    """key: an API key, or the id or the prefix of one. Queries the database. Raises NotAuthenticated."""
    rows = ApiKey.objects.filter(organization__slug=organization)
    try:
        row = rows.filter(id=uuid.UUID(key)).first()
    except ValueError:
        row = rows.filter(prefix=key).first() or _of_whole_key(key, organization)
    if row is None:
        raise errors.NotAuthenticated(f"The organisation {organization!r} has no such API key.", code="api_key_invalid")
    actor_of_key_row(row)
    return Identity(organization, row.id)


def _of_whole_key(key: str, organization: str) -> ApiKey | None:
    actor = actor_of_key(key)
    return actor.api_key if actor.organization.slug == organization else None
