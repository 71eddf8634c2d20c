"""Passwords: changing one's own, and setting a new one by a link that was sent."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import check_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.encoding import force_bytes, force_str
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from accounts import sessions, trail
from accounts.models import LoginSession, User
from common import errors


def check(*, user: User, password: str, param: str = "password") -> None:
    """Raises InvalidRequest unless it is the person's password."""
    if not check_password(password, user.password):
        raise errors.InvalidRequest("The password is wrong.", param=param, code="wrong_password")


def change(
    *, user: User, new_password: str, session_key: str | None = None, login_session: LoginSession | None = None
) -> None:
    """Sets a new password, and signs the person out everywhere but here. The caller has asked for the old one."""
    set_password(user, new_password, param="new_password")
    with transaction.atomic():
        user.save(update_fields=["password"])
        sessions.end_others(user=user, session_key=session_key, login_session=login_session)
        trail.record(user, "auth.password_changed")


def request_reset(*, email: str, base_url: str) -> None:
    """Queues an e-mail with a link. The same work for every address: whether it has an account, a worker looks up."""
    from accounts.tasks import send_password_reset

    send_password_reset.defer(email=email.strip().lower()[:254], base_url=base_url)


def reset_token(user: User) -> str:
    """Works once, for PASSWORD_RESET_TIMEOUT seconds, and until the password or the last sign-in changes."""
    return f"{urlsafe_base64_encode(force_bytes(user.pk))}.{default_token_generator.make_token(user)}"


def user_of_reset_token(token: str) -> User:
    """Raises NotFound for a token that is wrong, used or too old."""
    uid, _, rest = token.partition(".")
    try:
        user = User.objects.filter(pk=force_str(urlsafe_base64_decode(uid)), is_active=True).first()
    except (ValueError, OverflowError, ValidationError, UnicodeDecodeError):
        user = None
    if user is None or not default_token_generator.check_token(user, rest):
        raise errors.NotFound("The link is no longer valid; ask for a new one.", code="reset_token_invalid")
    return user


def reset(*, token: str, new_password: str) -> User:
    """Sets a new password by the link that was sent, and signs the person out everywhere."""
    user = user_of_reset_token(token)
    set_password(user, new_password, param="new_password")
    with transaction.atomic():
        user.save(update_fields=["password"])
        sessions.end_others(user=user)
        trail.record(user, "auth.password_reset")
    return user


def set_password(user: User, password: str, *, param: str = "password") -> None:
    """On the object alone. Raises InvalidRequest `password_weak`."""
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise errors.InvalidRequest(" ".join(error.messages), param=param, code="password_weak") from None
    user.set_password(password)


def update_profile(*, user: User, changes: dict[str, Any]) -> User:
    """name alone, so far."""
    for field, value in changes.items():
        setattr(user, field, value)
    user.save(update_fields=list(changes))
    return user
