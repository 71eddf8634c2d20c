"""Getting in and out: password and second factor, forgotten passwords, invitations; which organisation one acts in."""

from __future__ import annotations

import time
from typing import Any

from django import forms
from django.contrib.auth import login, logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from accounts import invitations, passwords, two_factor
from accounts.forms import SignInForm, check_code
from accounts.models import Invitation, User
from common import errors
from common.network import client_address, public_url
from common.pages import error_page
from common.ratelimit import count_password_reset
from dashboard.access import HOME, Action, choose_organization, enter_organization, safe_next, theme_of
from dashboard.forms import attempt
from dashboard.toasts import toast

SECOND_FACTOR_SECONDS = 300
_PENDING = "second_factor"


def password_field(label: Any, *, new: bool = False) -> forms.CharField:
    attributes = {"autocomplete": "new-password" if new else "current-password"}
    help_text = gettext_lazy("At least 12 characters, and not a common one.") if new else ""
    return forms.CharField(
        label=label, max_length=200, strip=False, help_text=help_text, widget=forms.PasswordInput(attrs=attributes)
    )


def otp_field() -> forms.CharField:
    """A code of the authenticator, or a recovery code."""
    attributes = {"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false", "autocapitalize": "off"}
    return forms.CharField(
        label=gettext_lazy("Code"),
        max_length=40,
        help_text=gettext_lazy("Six digits of your authenticator, or a recovery code."),
        widget=forms.TextInput(attrs=attributes),
    )


@method_decorator([never_cache, sensitive_post_parameters()], name="dispatch")
class EntryView(View):
    """A page for people who are not signed in. Errors that no field answers for become pages."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().dispatch(request, *args, **kwargs)
        except errors.ApiError as error:
            return self.refused(error)

    def refused(self, error: errors.ApiError) -> HttpResponse:
        return error_page(error.status, self.refusal(), error.message)

    def refusal(self) -> str:
        return _("This did not work")

    def show(self, template: str, fields: dict[str, Any]) -> HttpResponse:
        """400 where the form has errors, 429 where there were too many attempts."""
        form = fields.get("form")
        wait = getattr(form, "retry_after_seconds", None)
        status = 429 if wait else 400 if form is not None and form.errors else 200
        response = render(self.request, template, {"theme": theme_of(self.request), **fields}, status=status)
        if wait:
            response["Retry-After"] = str(wait)
        return response


# ── Password, then code ─────────────────────────────────────────────────────────────────────────────────────────────


class LoginView(EntryView):
    def get(self, request: HttpRequest) -> HttpResponse:
        target = safe_next(request, request.GET.get("next"))
        if request.user.is_authenticated:
            return HttpResponseRedirect(target)
        return self.show("dashboard/account/login.html", {"form": SignInForm(request), "next": target})

    def post(self, request: HttpRequest) -> HttpResponse:
        target = safe_next(request, request.POST.get("next"))
        form = SignInForm(request, request.POST)
        if not form.is_valid() or form.user is None:
            return self.show("dashboard/account/login.html", {"form": form, "next": target})
        if two_factor.state_of(form.user) is not None:
            return _ask_for_code(request, form.user, target)
        login(request, form.user)  # gives the session a new key
        return HttpResponseRedirect(target)


class CodeForm(forms.Form):
    otp = otp_field()
    retry_after_seconds: int | None = None


class CodeView(EntryView):
    """The second step, for somebody whose password was right within the last five minutes."""

    def get(self, request: HttpRequest) -> HttpResponse:
        if _waiting(request) is None:
            return redirect("dashboard:login")
        return self.show("dashboard/account/code.html", {"form": CodeForm()})

    def post(self, request: HttpRequest) -> HttpResponse:
        waiting = _waiting(request)
        if waiting is None:
            return redirect("dashboard:login")
        user, target = waiting
        form = CodeForm(request.POST)
        if not form.is_valid() or not self._passes(request, form, user):
            return self.show("dashboard/account/code.html", {"form": form})
        del request.session[_PENDING]
        login(request, user)
        return HttpResponseRedirect(target)

    def _passes(self, request: HttpRequest, form: CodeForm, user: User) -> bool:
        try:
            check_code(request, user=user, otp=form.cleaned_data["otp"])
        except (errors.NotAuthenticated, errors.RateLimited) as error:
            form.retry_after_seconds = error.retry_after_seconds
            form.add_error("otp", error.message)
            return False
        return True


def _ask_for_code(request: HttpRequest, user: User, target: str) -> HttpResponse:
    request.session[_PENDING] = {
        "user": str(user.pk),
        "password": user.get_session_auth_hash(),  # a password that changes meanwhile ends the waiting
        "until": time.time() + SECOND_FACTOR_SECONDS,
        "next": target,
    }
    return redirect("dashboard:login-code")


def _waiting(request: HttpRequest) -> tuple[User, str] | None:
    pending = request.session.get(_PENDING) or {}
    if pending.get("until", 0) < time.time():
        return None
    user = User.objects.filter(pk=pending["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), pending["password"]):
        return None
    return user, safe_next(request, pending["next"])


class LogoutView(View):
    http_method_names = ["post", "options"]  # noqa: RUF012  (Django's way)

    def post(self, request: HttpRequest) -> HttpResponse:
        logout(request)
        return redirect("dashboard:login")


class OrganizationView(Action):
    before_policy = True

    def post(self, request: HttpRequest) -> HttpResponse:
        """Acts in another of the person's organisations from now on."""
        choose_organization(request, self.visitor, request.POST.get("organization", ""))
        return HttpResponseRedirect(HOME)


# ── Forgotten passwords ─────────────────────────────────────────────────────────────────────────────────────────────


class ForgotForm(forms.Form):
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )
    retry_after_seconds: int | None = None


class ForgotView(EntryView):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show("dashboard/account/forgot.html", {"form": ForgotForm()})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Says the same to everybody: who has an account is nobody's business."""
        form = ForgotForm(request.POST)
        if not form.is_valid() or not self._ask(request, form):
            return self.show("dashboard/account/forgot.html", {"form": form})
        return self.show("dashboard/account/forgot_sent.html", {"email": form.cleaned_data["email"]})

    def _ask(self, request: HttpRequest, form: ForgotForm) -> bool:
        email = form.cleaned_data["email"]
        try:
            count_password_reset(request, email=email, address=client_address(request) or "unknown")
        except errors.RateLimited as error:
            form.retry_after_seconds = error.retry_after_seconds
            form.add_error(None, error.message)
            return False
        passwords.request_reset(email=email, base_url=public_url(request))
        return True


class ResetForm(forms.Form):
    new_password = password_field(gettext_lazy("New password"), new=True)


class ResetView(EntryView):
    def refused(self, error: errors.ApiError) -> HttpResponse:
        """A link that was used, or is too old, leads to a new one."""
        if error.code != "reset_token_invalid":
            return super().refused(error)
        return error_page(
            error.status,
            _("The link is no longer valid"),
            _("It was used already, or it is too old. A new one comes by e-mail."),
            way_on=(_("Ask for a new link"), reverse("dashboard:password-forgot")),
        )

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        return self._page(token, ResetForm())

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        form = ResetForm(request.POST)
        if form.is_valid():
            user = attempt(form, lambda: passwords.reset(token=token, **form.cleaned_data))
            if user is not None:
                toast(request, _("The password is set. Sign in with it."))
                return redirect("dashboard:login")
        return self._page(token, form)

    def _page(self, token: str, form: ResetForm) -> HttpResponse:
        user = passwords.user_of_reset_token(token)
        return self.show("dashboard/account/reset.html", {"form": form, "email": user.email})


# ── Invitations ─────────────────────────────────────────────────────────────────────────────────────────────────────


class NewAccountForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Your name"), max_length=200, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = password_field(gettext_lazy("Password"), new=True)


class InvitationView(EntryView):
    """Joins as who is signed in; or signs in first; or makes an account."""

    def refusal(self) -> str:
        return _("You cannot join with this link")

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        return self._page(invitations.find(token), NewAccountForm())

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        if request.user.is_authenticated:
            member = invitations.accept(token=token, user=request.user)  # type: ignore[arg-type]
            enter_organization(request, member.organization)
            return self._welcome(member.organization.name)
        form = NewAccountForm(request.POST)
        if form.is_valid():
            made = attempt(form, lambda: invitations.accept_as_new(token=token, **form.cleaned_data))
            if made is not None:
                login(request, made.user)
                return self._welcome(made.organization.name)
        return self._page(invitations.find(token), form)

    def _page(self, row: Invitation, form: NewAccountForm) -> HttpResponse:
        signed_in = self.request.user if self.request.user.is_authenticated else None
        fields = {
            "form": form,
            "invitation": row,
            "has_account": invitations.account_of(row) is not None,
            "signed_in": signed_in,
            "for_another": signed_in is not None and getattr(signed_in, "email", "") != row.email,
            "sign_in_url": f"{reverse('dashboard:login')}?next={self.request.path}",
        }
        return self.show("dashboard/account/invitation.html", fields)

    def _welcome(self, name: str) -> HttpResponse:
        toast(self.request, _("You are a member of %(organisation)s now.") % {"organisation": name})
        return HttpResponseRedirect(HOME)


urlpatterns = [
    path("dashboard/login", LoginView.as_view(), name="login"),
    path("dashboard/login/code", CodeView.as_view(), name="login-code"),
    path("dashboard/logout", LogoutView.as_view(), name="logout"),
    path("dashboard/organization", OrganizationView.as_view(), name="organization"),
    path("dashboard/password/forgot", ForgotView.as_view(), name="password-forgot"),
    path("dashboard/password/reset/<str:token>", ResetView.as_view(), name="password-reset"),
    path("dashboard/invitation/<str:token>", InvitationView.as_view(), name="invitation"),
]
