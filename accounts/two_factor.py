"""The second factor: time-based codes of an authenticator (RFC 6238), and recovery codes for when it is lost.

The secret is HMAC-SHA256(API_KEY_PEPPER, salt), cut to 160 bits; it is not stored. Like API keys, second factors become
invalid when the pepper changes. A code works once, and for its half minute and the ones beside it.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time

import pyotp
import segno
from django.db import transaction
from django.utils import timezone

from accounts import keys, trail
from accounts.models import TwoFactor, User
from common import errors

STEP_SECONDS = 30
RECOVERY_CODES = 10
ISSUER = "Speech platform"
# Without what looks alike: 49 bits in ten characters.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # pragma: allowlist secret


def state_of(user: User) -> TwoFactor | None:
    """The person's second factor, if it is on."""
    return TwoFactor.objects.filter(user=user).exclude(confirmed_at=None).first()


def begin(*, user: User) -> TwoFactor:
    """A second factor that is not on yet, with a new secret. Conflict where one is on."""
    with transaction.atomic():
        row, _ = TwoFactor.objects.select_for_update().get_or_create(user=user, defaults={"salt": keys.new_salt()})
        if row.confirmed_at is not None:
            raise errors.Conflict("Two-factor authentication is on already.", code="two_factor_on")
        row.salt = keys.new_salt()
        row.save(update_fields=["salt"])
    return row


def pending(*, user: User) -> TwoFactor:
    """The one that `begin` made and nobody confirmed; a new one where there is none."""
    row = TwoFactor.objects.filter(user=user, confirmed_at=None).first()
    return row or begin(user=user)


def confirm(*, user: User, otp: str) -> list[str]:
    """Turns it on, given a first code; the recovery codes, which are not shown again."""
    row = TwoFactor.objects.filter(user=user, confirmed_at=None).first()
    if row is None:
        raise errors.Conflict("Begin with a new secret.", code="two_factor_not_begun")
    if not _take_code(row, otp):
        raise errors.InvalidRequest(
            "The code is wrong. Is the clock of the phone right?", param="otp", code="otp_invalid"
        )
    codes = _new_codes()
    with transaction.atomic():
        row.confirmed_at, row.recovery_digests = timezone.now(), [_digest(code) for code in codes]
        row.save(update_fields=["confirmed_at", "recovery_digests"])
        trail.record(user, "two_factor.enabled")
    return codes


def renew_recovery_codes(*, user: User) -> list[str]:
    """New recovery codes; the old ones are refused."""
    row = state_of(user)
    if row is None:
        raise errors.Conflict("Two-factor authentication is off.", code="two_factor_off")
    codes = _new_codes()
    with transaction.atomic():
        TwoFactor.objects.filter(id=row.id).update(recovery_digests=[_digest(code) for code in codes])
        trail.record(user, "two_factor.recovery_codes_renewed")
    return codes


def disable(*, user: User, by_operator: bool = False) -> None:
    """Turns it off. The caller has asked for the password, or is the platform's operator."""
    with transaction.atomic():
        deleted, _ = TwoFactor.objects.filter(user=user).delete()
        if deleted:
            trail.record(user, "two_factor.disabled", by_operator=by_operator)


def verify(*, user: User, otp: str) -> None:
    """Raises NotAuthenticated unless `otp` is a code of the authenticator or a recovery code; either works once."""
    row = state_of(user)
    if row is None:
        return
    if not (_take_code(row, otp) or _take_recovery_code(row, user, otp)):
        trail.record(user, "auth.second_factor_failed")
        raise errors.NotAuthenticated("The code is wrong, or it has been used.", code="otp_invalid", param="otp")


def secret_of(row: TwoFactor) -> str:
    """In base32, as authenticators take it."""
    return base64.b32encode(keys.derived("totp", row.salt)[:20]).decode()


def uri_of(row: TwoFactor) -> str:
    """`otpauth://…`, what the QR code says."""
    return pyotp.TOTP(secret_of(row)).provisioning_uri(name=row.user.email, issuer_name=ISSUER)


def qr_path(row: TwoFactor) -> tuple[str, int]:
    """The QR code as the `d` of an SVG path of unit squares, and its width with a margin of four."""
    code = segno.make(uri_of(row), error="m", micro=False)
    squares = [
        f"M{x} {y}h1v1h-1z" for y, line in enumerate(code.matrix_iter(border=4)) for x, dark in enumerate(line) if dark
    ]
    return "".join(squares), int(code.symbol_size(border=4)[0])


# ── Codes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _take_code(row: TwoFactor, otp: str) -> bool:
    """Whether it is a code of now that was not taken before. Of two takers at once, one succeeds."""
    code = re.sub(r"[\s-]", "", otp)
    if not re.fullmatch(r"[0-9]{6}", code):
        return False
    totp, now = pyotp.TOTP(secret_of(row)), int(time.time()) // STEP_SECONDS
    fitting = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(totp.at(step * STEP_SECONDS), code)]
    return any(
        TwoFactor.objects.filter(id=row.id, salt=row.salt, last_step__lt=step).update(last_step=step)
        for step in fitting
    )


def _take_recovery_code(row: TwoFactor, user: User, code: str) -> bool:
    wanted = _digest(code)
    with transaction.atomic():
        locked = TwoFactor.objects.select_for_update().get(id=row.id)
        if not any(hmac.compare_digest(wanted, digest) for digest in locked.recovery_digests):
            return False
        locked.recovery_digests.remove(wanted)
        locked.save(update_fields=["recovery_digests"])
        trail.record(user, "two_factor.recovery_code_used", left=len(locked.recovery_digests))
    return True


def _new_codes() -> list[str]:
    return [f"{_letters()}-{_letters()}" for _ in range(RECOVERY_CODES)]


def _letters() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def _digest(code: str) -> str:
    plain = re.sub(r"[\s-]", "", code).lower()[:100]
    return keys.digest(f"recovery:{plain}")
