"""Writes: an organisation's provider, and whom a sign-in with it makes a member."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils.crypto import constant_time_compare

from accounts import policies
from accounts.actors import ROLE_RANKS, Actor
from accounts.models import Membership, Organization, Role, SecurityPolicy, SsoIdentity, SsoProvider, User
from accounts.sso import provider as remote
from accounts.sso import sealing
from accounts.sso.identity import Identity, Refused, verified
from audit import services as audit
from common import errors

PENDING_SECONDS = 600
MOST_DOMAINS = 50
_DOMAIN = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}")

# ── The organisation's provider ─────────────────────────────────────────────────────────────────────────────────────


def configure(*, actor: Actor, fields: dict[str, Any]) -> SsoProvider:
    """Makes or changes it. client_secret may be left out to keep the one there is, for the same issuer.

    Asks the provider for its metadata first. Raises InvalidRequest for what cannot work.
    """
    fields = {**fields, "domains": _domains(fields["domains"])}
    secret = fields.pop("client_secret", "") or ""
    row = of(actor.organization) or SsoProvider(organization=actor.organization)
    if not secret and (not row.sealed_secret or row.issuer != fields["issuer"]):
        raise errors.InvalidRequest("The client secret is missing.", param="client_secret", code="parameter_required")
    try:
        remote.discover(fields["issuer"], fresh=True)
    except remote.ProviderFailed as failure:
        raise errors.InvalidRequest(failure.message, param="issuer", code="sso_provider_failed") from None
    changed = sorted(name for name, value in fields.items() if getattr(row, name) != value)
    for name, value in fields.items():
        setattr(row, name, value)
    if secret:
        row.sealed_secret = sealing.seal(secret)
    _keep_way_in(actor.organization, enabled=row.enabled)
    with transaction.atomic():
        row.save()
        audit.record(actor=actor, action="sso.configured", target=row, changed=changed, issuer=row.issuer)
    return row


def remove(*, actor: Actor) -> None:
    """Forgets the provider, and who signed in with it; members stay."""
    row = of(actor.organization)
    if row is None:
        return
    _keep_way_in(actor.organization, enabled=False)
    with transaction.atomic():
        audit.record(actor=actor, action="sso.removed", target=row, issuer=row.issuer)
        SsoIdentity.objects.filter(organization=actor.organization).delete()
        row.delete()


def of(organization: Organization) -> SsoProvider | None:
    return SsoProvider.objects.filter(organization=organization).first()


def find(who: str) -> SsoProvider:
    """The provider of an organisation's short name, or of an e-mail address's domain. Raises NotFound.

    A domain that several organisations claim leads to none of them: nobody is sent to somebody else's provider.
    """
    rows = SsoProvider.objects.select_related("organization").filter(enabled=True, organization__is_active=True)
    who = who.strip().lower()
    if "@" in who:
        found = list(rows.filter(domains__contains=[who.rpartition("@")[2]])[:2])
    else:
        found = list(rows.filter(organization__slug=who))
    if len(found) != 1:
        hint = " Several do for this domain: give its short name." if len(found) > 1 else ""
        raise errors.NotFound(f"No organisation signs in this way.{hint}", code="sso_unknown", param="who")
    return found[0]


def enabled_provider(organization_id: Any) -> SsoProvider:
    rows = SsoProvider.objects.select_related("organization__security_policy")
    row = rows.filter(organization_id=organization_id, enabled=True, organization__is_active=True).first()
    if row is None:
        raise errors.NotFound("This organisation has no single sign-on.", code="sso_unknown")
    return row


def _keep_way_in(organization: Organization, *, enabled: bool) -> None:
    if not enabled and SecurityPolicy.objects.filter(organization=organization, sso_only=True).exists():
        raise errors.Conflict(
            "Members may sign in with the provider alone: change that first (sso_only).", code="would_lock_out"
        )


def _domains(given: list[str]) -> list[str]:
    found = list(dict.fromkeys(text.strip().lower().lstrip("@") for text in given))
    if not found or len(found) > MOST_DOMAINS or not all(_DOMAIN.fullmatch(domain) for domain in found):
        raise errors.InvalidRequest(
            f"Give 1 to {MOST_DOMAINS} domains such as example.com.", param="domains", code="domain_invalid"
        )
    return found


# ── Signing in ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pending:
    """What a browser's session keeps while the person is at the provider."""

    organization: str
    issuer: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    next: str
    until: float

    def kept(self) -> dict[str, Any]:
        return asdict(self)


def begin(row: SsoProvider, *, redirect_uri: str, next_url: str) -> tuple[str, Pending]:
    """Where to send the browser, and what to keep meanwhile. Raises ProviderFailed."""
    metadata = remote.discover(row.issuer)
    pending = Pending(
        str(row.organization_id), row.issuer, secrets.token_urlsafe(32), secrets.token_urlsafe(32),
        secrets.token_urlsafe(48), redirect_uri, next_url, time.time() + PENDING_SECONDS,
    )  # fmt: skip
    challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code", "scope": "openid email profile", "client_id": row.client_id,
        "redirect_uri": redirect_uri, "state": pending.state, "nonce": pending.nonce,
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    mark = "&" if "?" in metadata.authorization_endpoint else "?"
    return metadata.authorization_endpoint + mark + urlencode(query), pending


def finish(row: SsoProvider, kept: dict[str, Any] | None, answer: dict[str, str]) -> Membership:
    """Who came back from the provider, as a member. kept: of `begin`, which nobody may use twice.

    Raises Refused, ProviderFailed, and PermissionDenied where the organisation excludes the caller's address.
    """
    pending = _matching(row, kept, answer.get("state", ""))
    metadata = remote.discover(row.issuer)
    named = answer.get("iss")
    if (named is None and metadata.names_itself) or named not in (None, row.issuer):  # RFC 9207
        raise Refused("The answer came from another provider.")
    if "error" in answer or not answer.get("code"):
        raise Refused(f"The provider refused: {answer.get('error', 'it gave no code')[:100]}.")
    form = {
        "grant_type": "authorization_code", "code": answer["code"], "redirect_uri": pending.redirect_uri,
        "code_verifier": pending.verifier,
    }  # fmt: skip
    token = remote.redeem(metadata, client_id=row.client_id, secret=sealing.unseal(row.sealed_secret), form=form)
    identity = verified(token, metadata, client_id=row.client_id, nonce=pending.nonce, domains=row.domains)
    return _member(row, identity)


def _matching(row: SsoProvider, kept: dict[str, Any] | None, state: str) -> Pending:
    pending = Pending(**kept) if kept else None
    if pending is None or pending.until < time.time() or not constant_time_compare(pending.state, state):
        raise Refused("This sign-in was not begun here, or it took too long. Begin again.")
    if (pending.organization, pending.issuer) != (str(row.organization_id), row.issuer):
        raise Refused("This sign-in was begun with another provider. Begin again.")
    return pending


def _member(row: SsoProvider, identity: Identity) -> Membership:
    """The person's membership here, made where there is none. Members of other organisations are not looked at."""
    with transaction.atomic():
        user = _user(row, identity)
        if not user.is_active or user.is_superuser or user.is_staff:
            raise Refused("This account cannot be used with single sign-on.")
    # Between the transactions: what it notes of a refusal stays.
    policies.check_address(Actor(organization=row.organization, role=row.default_role, user=user, sso=True))
    with transaction.atomic():
        member = Membership.objects.filter(organization=row.organization, user=user).first()
        if member is None:
            role = _role(row, identity) or row.default_role
            member = Membership.objects.create(organization=row.organization, user=user, role=role)
            actor = Actor(organization=row.organization, role=role, user=user, sso=True)
            audit.record(actor=actor, action="member.added", target=member, email=user.email, role=role, through="sso")
        else:
            _follow_role(row, identity, member)
    return member


def _user(row: SsoProvider, identity: Identity) -> User:
    """By the provider's name for the person, which stays; at the first time by the address."""
    named = {"organization": row.organization, "issuer": identity.issuer, "subject": identity.subject}
    bound = SsoIdentity.objects.select_related("user").filter(**named).first()
    if bound is not None:
        return bound.user
    user, _ = User.objects.get_or_create(
        email=identity.email, defaults={"name": identity.name, "password": _unusable()}
    )
    SsoIdentity.objects.get_or_create(**named, defaults={"user": user})
    return user


def _follow_role(row: SsoProvider, identity: Identity, member: Membership) -> None:
    """What the provider's claim says, where it says anything; owners stay owners."""
    role = _role(row, identity)
    if role is None or member.role in (role, Role.OWNER):
        return
    former, member.role = member.role, role
    member.save(update_fields=["role"])
    actor = Actor(organization=row.organization, role=role, user=member.user, sso=True)
    audit.record(
        actor=actor, action="member.role_changed", target=member, former=former, role=role, through="sso"
    )  # fmt: skip


def _role(row: SsoProvider, identity: Identity) -> str | None:
    """The highest of those that the claim's values stand for."""
    told = identity.claims.get(row.role_claim) if row.role_claim else None
    values = told if isinstance(told, list) else [told]
    roles = [row.roles[value] for value in values if isinstance(value, str) and value in row.roles]
    return max(roles, key=lambda role: ROLE_RANKS[role], default=None)


def _unusable() -> str:
    user: AbstractBaseUser = User()
    user.set_unusable_password()
    return user.password
