"""Typed readers of environment variables. A wrong value stops the start with one sentence that names the variable."""

from __future__ import annotations

import ipaddress
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

ROOT = Path(__file__).resolve().parents[2]
"""The checkout's folder."""

# Variables that are already set win over the file, as in every twelve-factor tool.
load_dotenv(os.environ.get("ENV_FILE", ROOT / ".env"))

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or _in_file(name) or default


def _in_file(name: str) -> str:
    """What NAME_FILE's file holds: containers and systemd hand secrets over as files."""
    named = os.environ.get(f"{name}_FILE", "").strip()
    try:
        return Path(named).read_text().strip() if named else ""
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE names {named}, which cannot be read ({error.strerror}).") from None


def required(name: str, why: str) -> str:
    value = text(name)
    if not value:
        raise ImproperlyConfigured(f"{name} must be set: {why}")
    return value


def flag(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value in _TRUE | _FALSE:
        return value in _TRUE
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    value = text(name)
    try:
        number = int(value) if value else default
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if number < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {number}.")
    return number


def optional_integer(name: str) -> int | None:
    """None where the variable is empty."""
    return integer(name, 0) if text(name) else None


def optional_decimal(name: str) -> Decimal | None:
    """A number that is not negative; None where the variable is empty."""
    value = text(name)
    if not value:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite() or number < 0:
        raise ImproperlyConfigured(f"{name} must be a number that is not negative, such as 12.50, not {value!r}.")
    return number


def strings(name: str, default: list[str]) -> list[str]:
    """A comma-separated list."""
    value = text(name)
    return [item.strip() for item in value.split(",") if item.strip()] if value else default


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(name: str) -> list[Network]:
    """A comma-separated list of addresses with their prefix lengths."""
    try:
        return [ipaddress.ip_network(value) for value in strings(name, [])]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be networks such as 10.1.0.0/16, comma-separated: {error}.") from None


def share(name: str, default: float) -> float:
    """A number from 0 to 1."""
    value = text(name)
    try:
        number = float(value) if value else default
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ImproperlyConfigured(f"{name} must be a number from 0 to 1, not {value!r}.")
    return number


def pairs(name: str) -> dict[str, str]:
    """A comma-separated list of `name=value`."""
    found = {}
    for item in strings(name, []):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not (key and equals and value):
            raise ImproperlyConfigured(f"{name} must be a list such as one=first,two=second, not {item!r}.")
        found[key] = value
    return found


def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def path(name: str, default: Path) -> Path:
    return Path(text(name, str(default))).expanduser().resolve()
