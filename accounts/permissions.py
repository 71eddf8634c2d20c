"""Enforces the `access` table of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.exceptions import MethodNotAllowed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import policies
from accounts.actors import ANY_SCOPE, Access, Actor
from common import errors

if TYPE_CHECKING:  # rest_framework.views loads this module while it is being loaded itself
    from rest_framework.views import APIView


class ActorPermission(BasePermission):
    """Raises instead of answering False, so that the message can say what is missing."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        access: Access | None = getattr(view, "access", {}).get(_effective(request.method))
        if access is None and request.method != "OPTIONS":
            raise MethodNotAllowed(request.method or "")  # also one that the view has: no access, no entry
        if access is not None and access.public:
            return True
        if not isinstance(request.auth, Actor):
            raise errors.NotAuthenticated("Send an access token or an API key.")
        if access is not None:
            check_access(request.auth, access)
        return True


def check_access(actor: Actor, access: Access) -> None:
    """Raises PermissionDenied unless the actor may."""
    if actor.scopes is not None and access.scope != ANY_SCOPE:
        if access.scope is None:
            raise errors.PermissionDenied("API keys may not call this; log in as a user.", code="key_not_allowed")
        if access.scope not in actor.scopes:
            raise errors.PermissionDenied(f"This API key lacks the scope {access.scope!r}.", code="scope_missing")
    if not access.before_policy:
        policies.check_sign_in(actor)
    if not actor.has_role(access.role):
        raise errors.PermissionDenied(f"This needs the role {access.role} or above; yours is {actor.role}.")


def _effective(method: str | None) -> str:
    return "GET" if method == "HEAD" else method or ""
