"""One's own account: profile, password, second factor, and where one is signed in."""

from __future__ import annotations

import abc
import uuid
from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters

from accounts import passwords, sessions, two_factor
from accounts.forms import check_password
from accounts.models import User
from dashboard.access import Action, Page
from dashboard.forms import attempt, succeeds
from dashboard.nav import Command, NavItem, Section
from dashboard.pages.sign_in import otp_field, password_field
from dashboard.user_agents import describe


class AccountPage(Page):
    before_policy = personal = True

    @property
    def person(self) -> User:
        return self.actor.user  # type: ignore[return-value]

    def show(self, template: str, fields: dict[str, Any], *forms: forms.Form) -> HttpResponse:
        status = 400 if any(form.errors for form in forms) else 200
        return self.render(f"dashboard/account/{template}.html", {**fields, "tabs": self._tabs()}, status=status)

    def _tabs(self) -> list[dict[str, Any]]:
        tabs = ((_("Profile"), "account"), (_("Security"), "account-security"), (_("Sign-ins"), "account-sessions"))
        within = {reverse("dashboard:account-two-factor"), reverse("dashboard:account-recovery-codes")}
        path = reverse("dashboard:account-security") if self.request.path in within else self.request.path
        urls = [(label, reverse(f"dashboard:{name}")) for label, name in tabs]
        return [{"label": label, "url": url, "current": url == path} for label, url in urls]

    def knows_password(self, form: forms.Form, name: str) -> bool:
        """Whether the form's password is the person's; its error otherwise."""
        given = form.cleaned_data[name]
        return succeeds(form, lambda: check_password(self.request, user=self.person, password=given, param=name))


# ── Profile ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class ProfileForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("How others in your organisations see you."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )


class ProfilePage(AccountPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(ProfileForm(initial={"name": self.person.name}))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ProfileForm(request.POST)
        if not form.is_valid():
            return self._page(form)
        passwords.update_profile(user=self.person, changes=form.cleaned_data)
        return self.done(_("Your name is saved."), "dashboard:account")

    def _page(self, form: ProfileForm) -> HttpResponse:
        return self.show("profile", {"form": form}, form)


# ── Password and second factor ──────────────────────────────────────────────────────────────────────────────────────


class PasswordForm(forms.Form):
    current_password = password_field(gettext_lazy("Current password"))
    new_password = password_field(gettext_lazy("New password"), new=True)


class OwnPasswordForm(forms.Form):
    """Asked once more before the second factor changes."""

    password = password_field(gettext_lazy("Your password"))


@method_decorator(sensitive_post_parameters(), name="dispatch")
class SecurityPage(AccountPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(PasswordForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        """A new password; this browser stays signed in, all others do not."""
        form = PasswordForm(request.POST)
        if not form.is_valid() or not self.knows_password(form, "current_password"):
            return self._page(form)
        key, new_password = request.session.session_key, form.cleaned_data["new_password"]
        if not succeeds(form, lambda: passwords.change(user=self.person, new_password=new_password, session_key=key)):
            return self._page(form)
        update_session_auth_hash(request, self.person)
        sessions.remember(self.person, request.session.session_key)  # it has a new key
        return self.done(
            _("The password is changed. You are signed out everywhere else."), "dashboard:account-security"
        )

    def _page(self, form: PasswordForm) -> HttpResponse:
        row = two_factor.state_of(self.person)
        return self.show("security", {"form": form, "second_factor": row, "own": OwnPasswordForm()}, form)


class CodeForm(forms.Form):
    otp = otp_field()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["otp"].help_text = _("The six digits that the authenticator shows now.")


class TwoFactorPage(AccountPage):
    """Setting it up: the secret as a QR code, then a first code; the recovery codes are the answer."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if two_factor.state_of(self.person) is not None:
            return self.go("dashboard:account-security")
        return self._page(CodeForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = CodeForm(request.POST)
        if not form.is_valid():
            return self._page(form)
        codes = attempt(form, lambda: two_factor.confirm(user=self.person, otp=form.cleaned_data["otp"]))
        return self._page(form) if codes is None else recovery_codes(self, codes)

    def _page(self, form: CodeForm) -> HttpResponse:
        row = two_factor.pending(user=self.person)
        path_data, width = two_factor.qr_path(row)
        fields = {"form": form, "secret": two_factor.secret_of(row), "qr_path": path_data, "qr_width": width}
        return self.show("two_factor", fields, form)


class WithPassword(AccountPage, abc.ABC):
    """Something about the second factor that needs the password; wrong ones are told with a toast."""

    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponse:
        check_password(request, user=self.person, password=request.POST.get("password", "")[:200])
        return self.act()

    @abc.abstractmethod
    def act(self) -> HttpResponse:
        """What the password was asked for."""


@method_decorator(sensitive_post_parameters(), name="dispatch")
class TwoFactorDisable(WithPassword):
    def act(self) -> HttpResponse:
        two_factor.disable(user=self.person)
        return self.done(_("Two-factor authentication is off."), "dashboard:account-security")


@method_decorator(sensitive_post_parameters(), name="dispatch")
class RecoveryCodes(WithPassword):
    def act(self) -> HttpResponse:
        return recovery_codes(self, two_factor.renew_recovery_codes(user=self.person))


def recovery_codes(page: AccountPage, codes: list[str]) -> HttpResponse:
    """Shown once."""
    return page.show("recovery_codes", {"codes": codes})


# ── Where one is signed in ──────────────────────────────────────────────────────────────────────────────────────────


class SessionsPage(AccountPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        found = sessions.list_sign_ins(user=self.person, session_key=request.session.session_key)
        rows = [{"sign_in": sign_in, "agent": describe(sign_in.user_agent)} for sign_in in found]
        return self.show("sessions", {"rows": rows})


class SessionEnd(Action):
    before_policy = personal = True

    def post(self, request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
        sessions.end(user=self.actor.user, sign_in_id=session_id)  # type: ignore[arg-type]
        return self.done(_("Signed out there."), "dashboard:account-sessions")


class SessionsEnd(Action):
    before_policy = personal = True

    def post(self, request: HttpRequest) -> HttpResponse:
        """Everywhere but here."""
        ended = sessions.end_others(user=self.actor.user, session_key=request.session.session_key)  # type: ignore[arg-type]
        text = ngettext("Signed out in %d other place.", "Signed out in %d other places.", ended) % ended
        return self.done(text, "dashboard:account-sessions")


_BASE = "dashboard/account"
urlpatterns = [
    path(_BASE, ProfilePage.as_view(), name="account"),
    path(f"{_BASE}/security", SecurityPage.as_view(), name="account-security"),
    path(f"{_BASE}/two-factor", TwoFactorPage.as_view(), name="account-two-factor"),
    path(f"{_BASE}/two-factor/disable", TwoFactorDisable.as_view(), name="account-two-factor-disable"),
    path(f"{_BASE}/two-factor/recovery-codes", RecoveryCodes.as_view(), name="account-recovery-codes"),
    path(f"{_BASE}/sessions", SessionsPage.as_view(), name="account-sessions"),
    path(f"{_BASE}/sessions/end", SessionsEnd.as_view(), name="account-sessions-end"),
    path(f"{_BASE}/sessions/<uuid:session_id>/end", SessionEnd.as_view(), name="account-session-end"),
]

NAV = (
    NavItem(
        gettext_lazy("Your account"), "dashboard:account", "user-cog", Section.ACCOUNT, keywords="profile name e-mail"
    ),
)
COMMANDS = (
    Command(gettext_lazy("Change the password"), "dashboard:account-security", "key-round", keywords="security"),
    Command(
        gettext_lazy("Two-factor authentication"), "dashboard:account-security", "smartphone", keywords="totp 2fa otp"
    ),
    Command(gettext_lazy("Where you are signed in"), "dashboard:account-sessions", "monitor", keywords="sessions"),
)
