"""Reads: an organisation's members and keys."""

from __future__ import annotations

import uuid

from django.db.models import Count, Q, QuerySet

from accounts.actors import Actor
from accounts.models import ApiKey, Invitation, Membership, Organization, ServiceAccount, User
from common.access import get_owned, owned_by


def list_api_keys(*, actor: Actor) -> QuerySet[ApiKey]:
    return owned_by(actor, ApiKey).select_related("created_by", "service_account")


def get_api_key(*, actor: Actor, key_id: uuid.UUID) -> ApiKey:
    return get_owned(actor, list_api_keys(actor=actor), key_id)


def list_service_accounts(*, actor: Actor) -> QuerySet[ServiceAccount]:
    """By name, each with `usable_keys`."""
    usable = ApiKey.usable_rows("api_keys__") & Q(api_keys__id__isnull=False)
    counted = Count("api_keys", filter=usable)
    return owned_by(actor, ServiceAccount).annotate(usable_keys=counted).select_related("created_by").order_by("name")


def get_service_account(*, actor: Actor, account_id: uuid.UUID) -> ServiceAccount:
    return get_owned(actor, list_service_accounts(actor=actor), account_id)


def list_members(*, actor: Actor) -> QuerySet[Membership]:
    return owned_by(actor, Membership).select_related("user")


def get_member(*, actor: Actor, member_id: uuid.UUID) -> Membership:
    return get_owned(actor, list_members(actor=actor), member_id)


def list_invitations(*, actor: Actor) -> QuerySet[Invitation]:
    """Those that nobody has accepted, the expired ones too; newest first."""
    return owned_by(actor, Invitation).filter(accepted_at=None).select_related("invited_by")


def get_invitation(*, actor: Actor, invitation_id: uuid.UUID) -> Invitation:
    return get_owned(actor, list_invitations(actor=actor), invitation_id)


def list_memberships(*, user: User) -> QuerySet[Membership]:
    """The organisations that the person can act in, with their settings, by name."""
    rows = Membership.objects.select_related(*Organization.settings("organization__")).filter(
        user=user, organization__is_active=True
    )
    return rows.order_by("organization__name", "created_at")
