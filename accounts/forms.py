"""Signing in with a browser: e-mail address and password, throttled as the API's log-in is."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.http import HttpRequest

from accounts import passwords, services, two_factor
from accounts.models import User
from common import errors
from common.network import client_address
from common.ratelimit import LoginThrottle


def sign_in(request: HttpRequest, *, email: str, password: str) -> User:
    """The user; NotAuthenticated for wrong credentials, RateLimited after too many."""
    throttle = LoginThrottle(request, email=email, address=client_address(request) or "unknown")
    throttle.check()
    try:
        return services.authenticate(email=email, password=password)
    except errors.NotAuthenticated:
        throttle.record_failure()
        raise


def check_password(request: HttpRequest, *, user: User, password: str, param: str = "password") -> None:
    """Whether the person knows the password; failures count as failed log-ins do."""
    throttle = LoginThrottle(request, email=user.email, address=client_address(request) or "unknown")
    throttle.check()
    try:
        passwords.check(user=user, password=password, param=param)
    except errors.InvalidRequest:
        throttle.record_failure()
        raise


def check_code(request: HttpRequest, *, user: User, otp: str) -> None:
    """The second factor at a sign-in; failures count as wrong passwords do."""
    throttle = LoginThrottle(request, email=user.email, address=client_address(request) or "unknown")
    throttle.check()
    try:
        two_factor.verify(user=user, otp=otp)
    except errors.NotAuthenticated:
        throttle.record_failure()
        raise


class SignInForm(forms.Form):
    """`user` once it is valid; `retry_after_seconds` when there were too many failures."""

    email = forms.CharField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        max_length=200, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request = request
        self.user: User | None = None
        self.retry_after_seconds: int | None = None

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        if "email" in fields and "password" in fields:
            self.user = _checked(self, self._request, fields["email"], fields["password"])
        return fields


class AdminSignInForm(AdminAuthenticationForm):
    """Django's form, whose field names its template knows."""

    username = forms.CharField(
        label="E-mail address",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )

    def clean(self) -> dict[str, Any]:
        fields = self.cleaned_data
        if "username" in fields and fields.get("password"):
            user = _checked(self, cast(HttpRequest, self.request), fields["username"], fields["password"])
            _require_owner(user)
            _require_one_factor(user)
            self.user_cache = user
        return fields


def _checked(form: Any, request: HttpRequest, email: str, password: str) -> User:
    try:
        return sign_in(request, email=email, password=password)
    except errors.ApiError as error:
        form.retry_after_seconds = error.retry_after_seconds
        raise forms.ValidationError(error.message, code=error.code) from None


def _require_owner(user: User) -> None:
    owns = user.memberships.filter(role="owner", organization__is_active=True)
    if not user.is_superuser and not owns.exists():
        raise forms.ValidationError("The administration is for owners; you own no organisation.", code="not_owner")


def _require_one_factor(user: User) -> None:
    """This form asks for no code: whoever has a second factor on signs in at the dashboard, which does."""
    if two_factor.state_of(user) is not None:
        raise forms.ValidationError(
            "You use two-factor authentication: sign in at the dashboard, then come back.", code="otp_required"
        )
