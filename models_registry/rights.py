"""Who may change the models. They belong to the whole server, so no organisation's role is enough for most of it."""

from __future__ import annotations

from django.conf import settings

from accounts.actors import Actor
from accounts.models import Role
from common import errors


def is_operator(actor: Actor) -> bool:
    """Whether a person runs this server (a superuser), and so may install, activate and remove models."""
    return actor.user is not None and actor.user.is_superuser


def may_reload(actor: Actor) -> bool:
    """Whether somebody may load the active models anew: MODELS_MANAGED_BY says which people may."""
    if settings.MODELS_MANAGED_BY == "operators":
        return is_operator(actor)
    return actor.user is not None and actor.has_role(Role.ADMIN)


def require_operator(actor: Actor, what: str) -> None:
    """what: how the sentence begins, such as "Activating a version"."""
    if not is_operator(actor):
        raise errors.PermissionDenied(f"{what} concerns the whole installation: that is for operators.")


def require_reload(actor: Actor) -> None:
    if not may_reload(actor):
        raise errors.PermissionDenied("Loading models anew is for the operators of this server.")
