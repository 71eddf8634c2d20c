"""What an organisation demands of credentials: from where they act, how long keys live, how members sign in.

The policy comes along with the credential's row (`authentication.key_rows`, `tokens.live_sessions`), so that enforcing
it costs no query. Addresses are those of `common.network.client_address`.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import ApiKey, LoginSession, Organization, Role, SecurityPolicy, SsoProvider
from audit import services as audit
from common import context, errors
from common.models import write

MOST_NETWORKS = 100
MOST_DAYS = 3650
REFUSAL_NOTED_SECONDS = 600
"""Of one credential's refusals, the audit trail gets one entry in so long."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def of(organization: Organization) -> SecurityPolicy:
    """The organisation's policy, or one that demands nothing. It is part of the organisation where that was joined."""
    return getattr(organization, "security_policy", None) or SecurityPolicy(organization=organization)


# ── Enforcing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def check_address(actor: Actor) -> None:
    """Raises PermissionDenied `address_not_allowed` unless organisation and key allow the caller's address."""
    address = context.origin.get().address
    if all(contains(networks, address) for networks in _allow_lists(actor)):
        return
    if cache.add(f"address-refused:{actor.id}", 1, REFUSAL_NOTED_SECONDS):
        audit.record(actor=actor, action="auth.address_refused", target=actor.api_key)
    raise errors.PermissionDenied(
        f"Calls from {address or 'an unknown address'} are not allowed here; an admin can change the networks.",
        code="address_not_allowed",
    )


def check_sign_in(actor: Actor) -> None:
    """Raises PermissionDenied `sso_required` or `two_factor_required` for members who lack what is required of them.

    Two-factor is the provider's matter where that signed somebody in. Owners may always use their passwords: there is
    a way in when the provider is away.
    """
    policy = of(actor.organization)
    if actor.user is None or actor.sso:
        return
    if policy.sso_only and actor.role != Role.OWNER:
        raise errors.PermissionDenied(
            "This organisation's members sign in with its provider, in a browser.", code="sso_required"
        )
    if not policy.require_two_factor:
        return
    row = getattr(actor.user, "two_factor", None)
    if row is None or row.confirmed_at is None:
        raise errors.PermissionDenied(
            "This organisation requires two-factor authentication: turn it on first.", code="two_factor_required"
        )


def keeps(session: LoginSession) -> bool:
    """Whether the log-in may go on: not after it was idle for too long. Raises PermissionDenied about the address.

    An access token leaves no trace, so use is known to the length of one: idle is who has not refreshed since.
    """
    member = session.membership
    check_address(Actor(organization=member.organization, role=member.role, user=member.user, login_session=session))
    minutes = of(member.organization).idle_minutes
    if minutes is None:
        return True
    return timezone.now() - session.refreshed_at <= timedelta(minutes=minutes + settings.ACCESS_TOKEN_MINUTES)


def _allow_lists(actor: Actor) -> list[list[str]]:
    lists = [of(actor.organization).networks]
    return [*lists, actor.api_key.networks] if actor.api_key is not None else lists


# ── Networks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def contains(networks: Sequence[str], address: str | None) -> bool:
    """Whether the address lies in one of the networks; in an empty list lies everything."""
    if not networks:
        return True
    if address is None:
        return False
    plain = _plain(ipaddress.ip_address(address))
    return any(plain in network for network in _parsed(tuple(networks)))


def checked_networks(given: Iterable[str]) -> list[str]:
    """As they are stored, without duplicates. Raises InvalidRequest `network_invalid`."""
    found = [_network(text.strip()) for text in given]
    if len(found) > MOST_NETWORKS:
        raise errors.InvalidRequest(f"At most {MOST_NETWORKS} networks.", param="networks", code="network_invalid")
    return list(dict.fromkeys(str(network) for network in found))


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise errors.InvalidRequest(
            f"{text[:50]!r} is neither an address nor a network such as 203.0.113.0/24.",
            param="networks", code="network_invalid",
        ) from None  # fmt: skip
    if ipaddress.ip_interface(text).ip != network.network_address:
        raise errors.InvalidRequest(
            f"{text[:50]!r} names an address within a network; the network is {network}.",
            param="networks", code="network_invalid",
        )  # fmt: skip
    if network.prefixlen == 0:
        raise errors.InvalidRequest(
            f"{network} is everywhere; leave the list empty instead.", param="networks", code="network_invalid"
        )
    return network


@functools.lru_cache(maxsize=4096)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in networks)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A server that listens on both families sees IPv4 addresses as IPv6 ones."""
    return getattr(address, "ipv4_mapped", None) or address


# ── Keys' lives ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_expiry(organization: Organization, *, issued_at: datetime, expires_at: datetime | None) -> None:
    """Raises InvalidRequest `key_must_expire` or `key_lives_too_long`, about expires_at."""
    policy = of(organization)
    if expires_at is None and (policy.keys_must_expire or policy.key_max_days):
        raise errors.InvalidRequest(
            "This organisation's keys must expire: give a time.", param="expires_at", code="key_must_expire"
        )
    if policy.key_max_days and expires_at and expires_at > issued_at + timedelta(days=policy.key_max_days, minutes=1):
        raise errors.InvalidRequest(
            f"This organisation's keys live for {policy.key_max_days} days at the most, from when they are made or "
            "rotated.",
            param="expires_at", code="key_lives_too_long",
        )  # fmt: skip


def renewed_expiry(organization: Organization, key: ApiKey) -> datetime | None:
    """When a key that is rotated now expires: as before, or after the longest life that the policy allows.

    Raises InvalidRequest where it must expire and has no time.
    """
    policy = of(organization)
    if policy.key_max_days:
        return key.issued_at + timedelta(days=policy.key_max_days)
    check_expiry(organization, issued_at=key.issued_at, expires_at=key.expires_at)
    return key.expires_at


def keys_outside(organization: Organization) -> QuerySet[ApiKey]:
    """Usable keys from before the policy, that live longer than it allows now. Rotating them sets them right."""
    policy = of(organization)
    rows = ApiKey.objects.filter(ApiKey.usable_rows(), organization_id=organization.pk)
    if policy.key_max_days:
        latest = Coalesce(F("rotated_at"), F("created_at")) + timedelta(days=policy.key_max_days, minutes=1)
        return rows.filter(Q(expires_at=None) | Q(expires_at__gt=latest))
    return rows.filter(expires_at=None) if policy.keys_must_expire else rows.none()


# ── Changing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def update(*, actor: Actor, changes: dict[str, Any]) -> SecurityPolicy:
    """Changes the policy of the actor's organisation; it holds from the next request on.

    Raises InvalidRequest for networks that are none, and `would_lock_out` for what would shut the actor out.
    """
    if "networks" in changes:
        changes = {**changes, "networks": checked_networks(changes["networks"])}
    with transaction.atomic():
        SecurityPolicy.objects.get_or_create(organization=actor.organization)
        policy = SecurityPolicy.objects.select_for_update().get(organization=actor.organization)
        if written := write(policy, changes):
            _require_way_in(actor, policy)
            audit.record(actor=actor, action="security_policy.changed", target=policy, changes=written)
    return policy


def _require_way_in(actor: Actor, policy: SecurityPolicy) -> None:
    address = context.origin.get().address
    if not contains(policy.networks, address):
        raise errors.InvalidRequest(
            f"These networks leave out your own address, {address or 'which is unknown'}: you would be locked out.",
            param="networks", code="would_lock_out",
        )  # fmt: skip
    _require_provider(actor, policy)
    row = getattr(actor.user, "two_factor", None)
    if policy.require_two_factor and not actor.sso and (row is None or row.confirmed_at is None):
        raise errors.InvalidRequest(
            "Turn your own two-factor authentication on first: you would be locked out.",
            param="require_two_factor", code="would_lock_out",
        )  # fmt: skip


def _require_provider(actor: Actor, policy: SecurityPolicy) -> None:
    if not policy.sso_only:
        return
    if not SsoProvider.objects.filter(organization=actor.organization, enabled=True).exists():
        raise errors.InvalidRequest(
            "There is no single sign-on yet: members would be locked out.", param="sso_only", code="would_lock_out"
        )
    if actor.role != Role.OWNER and not actor.sso:
        raise errors.InvalidRequest(
            "Sign in with the provider first: you would be locked out.", param="sso_only", code="would_lock_out"
        )
