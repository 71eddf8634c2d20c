"""Writes: log-in, API keys, members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.hashers import check_password, make_password
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import keys, passwords, policies, tokens, two_factor
from accounts.actors import ROLE_RANKS, Actor
from accounts.models import ApiKey, LoginSession, Membership, Role, ServiceAccount, User
from accounts.tokens import TokenPair
from audit import services as audit
from common import errors
from common.models import write

# ── Log-in ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def login(
    *,
    email: str,
    password: str,
    otp: str = "",
    organization_slug: str | None,
    address: str | None,
    user_agent: str,
) -> tuple[LoginSession, TokenPair]:
    """A session in the one organisation that is named, or that the user has.

    otp: a code of the second factor, for whoever has one on.

    Raises NotAuthenticated for wrong credentials (also for an organisation that the user is not in), `otp_required`
    and `otp_invalid` about the second factor, and Conflict `organization_required` when there are several to choose
    from.
    """
    user = authenticate(email=email, password=password)
    if not otp and two_factor.state_of(user) is not None:
        raise otp_required()
    membership = _choose_membership(user, organization_slug)  # before a code is used up
    policies.check_address(Actor(organization=membership.organization, role=membership.role, user=user))
    two_factor.verify(user=user, otp=otp)
    with transaction.atomic():
        session, pair = tokens.open_session(membership=membership, address=address, user_agent=user_agent)
        User.objects.filter(id=user.id).update(last_login=timezone.now())
        actor = Actor(organization=membership.organization, role=membership.role, user=user, login_session=session)
        audit.record(actor=actor, action="auth.login", target=session, through="api")
    return session, pair


def logout(*, actor: Actor) -> None:
    """Ends the log-in that the actor's access token names."""
    session = actor.login_session
    with transaction.atomic():
        tokens.revoke(session)  # type: ignore[arg-type]
        audit.record(actor=actor, action="auth.logout", target=session)


def end_session(*, actor: Actor, session: LoginSession) -> None:
    """Ends somebody's log-in."""
    with transaction.atomic():
        tokens.revoke(session)
        audit.record(actor=actor, action="auth.session_ended", target=session, member=str(session.membership))


def authenticate(*, email: str, password: str) -> User:
    """The user, or NotAuthenticated: the same answer, after the same work, for unknown addresses."""
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        make_password(password)  # as long as checking one takes
        raise _login_failed(email)
    if not check_password(password, user.password) or not user.is_active:
        raise _login_failed(email)
    return user


def otp_required() -> errors.NotAuthenticated:
    message = "Send a code of your authenticator, or a recovery code, as otp."
    return errors.NotAuthenticated(message, code="otp_required", param="otp")


def wrong_credentials() -> errors.NotAuthenticated:
    return errors.NotAuthenticated("The e-mail address or the password is wrong.", code="wrong_credentials")


def _login_failed(email: str) -> errors.NotAuthenticated:
    """Leaves an entry in the audit trail of each organisation of the address; the same work for unknown addresses."""
    organization_ids = list(
        Membership.objects.filter(user__email=email.lower()).values_list("organization_id", flat=True)
    )
    audit.record_for_person(
        action="auth.login_failed", email=email, user_id=None, organization_ids=organization_ids
    )  # fmt: skip
    return wrong_credentials()


def _choose_membership(user: User, slug: str | None) -> Membership:
    memberships = list(
        Membership.objects.select_related("organization__security_policy", "user").filter(
            user=user, organization__is_active=True
        )
    )
    if slug:
        memberships = [membership for membership in memberships if membership.organization.slug == slug]
    if not memberships:
        raise _login_failed(user.email)
    if len(memberships) > 1:
        organizations = [{"slug": m.organization.slug, "name": m.organization.name} for m in memberships]
        raise errors.Conflict(
            "You belong to several organisations; name one as org_slug.",
            code="organization_required",
            param="org_slug",
            extra={"organizations": organizations},
        )
    return memberships[0]


# ── API keys ────────────────────────────────────────────────────────────────────────────────────────────────────────


def create_api_key(
    *,
    actor: Actor,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
    rate_limit: int | None = None,
    networks: Sequence[str] = (),
    service_account: ServiceAccount | None = None,
) -> tuple[ApiKey, str]:
    """The row, and the key itself, which cannot be had again.

    networks: from where it may be used, as CIDR; none: from anywhere that the organisation allows.
    service_account: who owns it, of the actor's organisation.
    """
    policies.check_expiry(actor.organization, issued_at=timezone.now(), expires_at=expires_at)
    new = keys.generate()
    with transaction.atomic():
        row = ApiKey.objects.create(
            organization=actor.organization,
            created_by=actor.user,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            rate_limit=rate_limit,
            networks=policies.checked_networks(networks),
            service_account=service_account,
            prefix=new.prefix,
            last4=new.last4,
            digest=new.digest,
        )
        owner = {"owner": str(service_account)} if service_account else {}
        audit.record(actor=actor, action="api_key.created", target=row, scopes=scopes, **owner)
    return row, new.key


def update_api_key(*, actor: Actor, api_key: ApiKey, changes: dict[str, Any]) -> ApiKey:
    """Changes name, scopes, expiry, rate limit or networks. A revoked key stays as it was."""
    _require_unrevoked(api_key)
    if "expires_at" in changes and changes["expires_at"] != api_key.expires_at:
        issued_at, expires_at = api_key.issued_at, changes["expires_at"]
        policies.check_expiry(actor.organization, issued_at=issued_at, expires_at=expires_at)
    if "networks" in changes:
        changes = {**changes, "networks": policies.checked_networks(changes["networks"])}
    with transaction.atomic():
        if written := write(api_key, changes):
            audit.record(actor=actor, action="api_key.changed", target=api_key, changed=sorted(written))
    return api_key


def rotate_api_key(*, actor: Actor, api_key: ApiKey) -> tuple[ApiKey, str]:
    """Gives the row a new key; the old one is refused at once. Where keys live for so long only, it lives as long."""
    _require_unrevoked(api_key)
    new = keys.generate()
    former = str(api_key)
    api_key.prefix, api_key.last4, api_key.digest = new.prefix, new.last4, new.digest
    api_key.rotated_at = timezone.now()
    api_key.expires_at = policies.renewed_expiry(actor.organization, api_key)
    with transaction.atomic():
        api_key.save(update_fields=["prefix", "last4", "digest", "rotated_at", "expires_at"])
        audit.record(actor=actor, action="api_key.rotated", target=api_key, former=former)
    return api_key, new.key


def revoke_api_key(*, actor: Actor, api_key: ApiKey) -> None:
    """Revoking a revoked key changes nothing."""
    with transaction.atomic():
        if ApiKey.objects.filter(id=api_key.id, revoked_at=None).update(revoked_at=timezone.now()):
            audit.record(actor=actor, action="api_key.revoked", target=api_key)


def _require_unrevoked(api_key: ApiKey) -> None:
    if api_key.revoked_at is not None:
        raise errors.Conflict("The API key is revoked; create a new one.", code="api_key_revoked")


# ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_member(*, actor: Actor, email: str, role: str, name: str, password: str | None) -> Membership:
    """Adds a person, making the account where the address is new (then `password` is required)."""
    require_above(actor, role)
    user = User.objects.filter(email=email.lower()).first()
    if user is None and not password:
        raise errors.InvalidRequest("A new user needs a password.", param="password", code="password_required")
    try:
        with transaction.atomic():
            if user is None:
                user = User(email=email, name=name)
                passwords.set_password(user, password or "")
                user.save()
            member = Membership.objects.create(organization=actor.organization, user=user, role=role)
            audit.record(actor=actor, action="member.added", target=member, email=user.email, role=role)
            return member
    except IntegrityError:
        raise errors.Conflict("This person is a member already.", code="member_exists", param="email") from None


def change_role(*, actor: Actor, member: Membership, role: str) -> Membership:
    with transaction.atomic():
        _lock_members(actor)
        require_above(actor, member.role)
        require_above(actor, role)
        _keep_an_owner(member, leaving=role != Role.OWNER)
        former, member.role = member.role, role
        if former == role:
            return member
        member.save(update_fields=["role"])
        audit.record(actor=actor, action="member.role_changed", target=member, former=former, role=role)
    return member


def remove_member(*, actor: Actor, member: Membership) -> None:
    """Ends the membership and, with it, its log-in sessions. The person's account stays."""
    with transaction.atomic():
        _lock_members(actor)
        require_above(actor, member.role)
        _keep_an_owner(member, leaving=True)
        audit.record(actor=actor, action="member.removed", target=member, email=member.user.email)
        member.delete()


def require_above(actor: Actor, role: str) -> None:
    """Admins manage the members below them; owners manage all."""
    if actor.role != Role.OWNER and ROLE_RANKS[actor.role] <= ROLE_RANKS[role]:
        raise errors.PermissionDenied(f"The role {actor.role} may not manage the role {role}.")


def _lock_members(actor: Actor) -> None:
    """Two owners who demote each other at once must not both succeed."""
    list(Membership.objects.select_for_update().filter(organization=actor.organization, role=Role.OWNER))


def _keep_an_owner(member: Membership, *, leaving: bool) -> None:
    others = Membership.objects.filter(organization_id=member.organization_id, role=Role.OWNER).exclude(id=member.id)
    if leaving and member.role == Role.OWNER and not others.exists():
        raise errors.Conflict("An organisation needs an owner; make another member owner first.", code="last_owner")
