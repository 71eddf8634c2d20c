"""Invitations: a link that was sent to an address, for whoever has an account and for whoever makes one."""

from __future__ import annotations

import base64
import hmac
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import keys, passwords
from accounts.actors import Actor
from accounts.models import Invitation, Membership, Organization, User
from accounts.services import require_above
from audit import services as audit
from common import errors

MOST_PENDING = 500


def invite(*, actor: Actor, email: str, role: str, base_url: str) -> Invitation:
    """Invites an address, or renews its invitation with this role; the e-mail is queued. Conflict for a member."""
    require_above(actor, role)
    email = email.lower()
    if Membership.objects.filter(organization=actor.organization, user__email=email).exists():
        raise errors.Conflict("This person is a member already.", code="member_exists", param="email")
    with transaction.atomic():
        Organization.objects.select_for_update().get(id=actor.organization.id)  # two at once must not pass the limit
        pending = Invitation.objects.filter(organization=actor.organization, accepted_at=None)
        row = pending.filter(email=email).first()
        if row is None and pending.count() >= MOST_PENDING:
            raise errors.Conflict(f"At most {MOST_PENDING} invitations can be open.", code="too_many_invitations")
        row = row or Invitation(organization=actor.organization, email=email)
        if row.role:
            require_above(actor, row.role)
        row.role, row.invited_by = role, actor.user
        _renew(row, base_url)
        audit.record(actor=actor, action="invitation.sent", target=row, role=role)
    return row


def resend(*, actor: Actor, invitation: Invitation, base_url: str) -> Invitation:
    """A new link, which ends the old one; the e-mail is queued again."""
    require_above(actor, invitation.role)
    with transaction.atomic():
        _renew(invitation, base_url)
        audit.record(actor=actor, action="invitation.sent", target=invitation, again=True)
    return invitation


def withdraw(*, actor: Actor, invitation: Invitation) -> None:
    """Ends an invitation: its link works no more."""
    require_above(actor, invitation.role)
    with transaction.atomic():
        audit.record(actor=actor, action="invitation.withdrawn", target=invitation)
        invitation.delete()


def token_of(row: Invitation) -> str:
    """What the link ends with. It follows from the row, and is stored nowhere."""
    signature = base64.urlsafe_b64encode(keys.derived("invitation", f"{row.id}:{row.salt}")[:24]).decode()
    return f"{row.id.hex}.{signature}"


def link_of(row: Invitation, base_url: str) -> str:
    return f"{base_url}/dashboard/invitation/{token_of(row)}"


def find(token: str) -> Invitation:
    """The open invitation of a link; NotFound for one that is wrong, used, withdrawn or too old."""
    row_id, _, _signature = token.partition(".")
    try:
        identity = uuid.UUID(hex=row_id)
    except ValueError:
        raise _invalid() from None
    rows = Invitation.objects.select_related("organization", "invited_by")
    row = rows.filter(id=identity, accepted_at=None, organization__is_active=True).first()
    if row is None or not hmac.compare_digest(token_of(row).encode(), token.encode()) or row.expired:
        raise _invalid()
    return row


def account_of(row: Invitation) -> User | None:
    """The account of the invited address, if there is one."""
    return User.objects.filter(email=row.email).first()


def accept(*, token: str, user: User) -> Membership:
    """Joins with the account of the invited address. PermissionDenied for another's."""
    row = find(token)
    if user.email != row.email:
        message = f"The invitation is for {row.email}; you are signed in as {user.email}."
        raise errors.PermissionDenied(message, code="invitation_for_another")
    return _join(row, user)


def accept_as_new(*, token: str, name: str, password: str) -> Membership:
    """Makes the account of the invited address, and joins with it. Conflict where there is one."""
    row = find(token)
    if account_of(row) is not None:
        raise errors.Conflict(
            "The address has an account; sign in with it to accept.", code="account_exists", param="password"
        )
    user = User(email=row.email, name=name)
    passwords.set_password(user, password)
    try:
        with transaction.atomic():
            user.save()
            return _join(row, user)
    except IntegrityError:
        raise errors.Conflict("The invitation was accepted just now.", code="account_exists") from None


def _join(row: Invitation, user: User) -> Membership:
    with transaction.atomic():
        if not Invitation.objects.filter(id=row.id, accepted_at=None).update(accepted_at=timezone.now()):
            raise _invalid()
        member, made = Membership.objects.get_or_create(
            organization=row.organization, user=user, defaults={"role": row.role}
        )
        if made:
            actor = Actor(organization=row.organization, role=member.role, user=user)
            audit.record(actor=actor, action="member.joined", target=member, role=member.role)
    return member


def _renew(row: Invitation, base_url: str) -> None:
    """In the caller's transaction: row and e-mail together, or neither."""
    from accounts.tasks import send_invitation

    row.salt, row.sent_at = keys.new_salt(), timezone.now()
    row.expires_at = row.sent_at + timedelta(days=settings.INVITATION_DAYS)
    row.save()
    send_invitation.defer(invitation_id=str(row.id), base_url=base_url)


def _invalid() -> errors.NotFound:
    return errors.NotFound(
        "The invitation is no longer valid; ask for a new one.", code="invitation_invalid", param="token"
    )
