"""Which URLs a webhook may reach: public addresses, and the private ones that the operator allows.

Checked when a URL is registered and again, on the very addresses that are then connected to, at each attempt: a name
that meanwhile resolves to another address (DNS rebinding) leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from django.conf import settings

from common import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], list[str]]

_MAX_LENGTH = 2000
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PRINTABLE = re.compile(r"[\x21-\U0010ffff]+")


class TargetRefused(errors.InvalidRequest):
    code = "webhook_url_refused"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="url")


class TargetUnresolved(TargetRefused):
    """The name has no address now; it may have one later."""


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str  # ASCII, without the brackets of an IPv6 address
    port: int
    path: str  # with the query

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Target:
    """Raises TargetRefused for what is no URL of a webhook, whatever it resolves to."""
    if len(url) > _MAX_LENGTH or not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise TargetRefused(f"The URL has blanks, control characters or more than {_MAX_LENGTH} characters.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("The URL is malformed.") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise TargetRefused("The URL must start with https:// (or http://, where that is allowed) and name a host.")
    if parts.scheme == "http" and not settings.WEBHOOK_ALLOW_HTTP:
        raise TargetRefused("The URL must start with https://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise TargetRefused("The URL may hold neither user name and password nor a fragment.")
    port = _PORTS[parts.scheme] if port is None else port
    if port not in _PORTS.values() and port < 1024:
        raise TargetRefused("The port must be 80, 443, or 1024 and above.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~") + _query(parts)
    return Target(parts.scheme, _ascii(parts.hostname), port, path)


def check(url: str) -> None:
    """For registration: raises TargetRefused. A name that has no address yet is let pass; attempts check again."""
    target = parse(url)
    try:
        addresses(target, resolve)
    except TargetUnresolved:
        if target.host == "localhost" or target.host.endswith(".localhost"):
            raise


def addresses(target: Target, resolver: Resolver) -> list[str]:
    """What to connect to. Raises TargetRefused when any of the host's addresses is not allowed."""
    found = resolver(target.host, target.port)
    if not found:
        raise TargetUnresolved(f"The host {target.host} has no address.")
    for address in found:
        if not _allowed(ipaddress.ip_address(address)):
            raise TargetRefused(f"The host {target.host} has an address that webhooks may not reach.")
    return found


def resolve(host: str, port: int) -> list[str]:
    """The host's addresses, without duplicates; none when it cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _allowed(address: Address) -> bool:
    meant = _meant(address)
    if any(meant in network for network in settings.WEBHOOK_ALLOWED_NETWORKS):
        return True
    refused = (
        meant.is_private or meant.is_loopback or meant.is_link_local or meant.is_multicast or meant.is_reserved
        or meant.is_unspecified or getattr(meant, "is_site_local", False)
    )  # fmt: skip
    return meant.is_global and not refused


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo): that is where the connection would end."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else address


def _ascii(host: str) -> str:
    try:
        return host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise TargetRefused("The URL's host name is malformed.") from None


def _query(parts: SplitResult) -> str:
    return "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?") if parts.query else ""
