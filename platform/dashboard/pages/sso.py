"""Single sign-on: the way to the organisation's provider and back, and its settings."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from accounts.models import Role, SsoProvider
from accounts.sso import services
from accounts.sso.api import redirect_uri
from common import errors
from dashboard.access import Action, enter_organization, safe_next
from dashboard.forms import LinesWidget, NetworksField, attempt, succeeds
from dashboard.nav import Command
from dashboard.pages.settings import SettingsPage
from dashboard.pages.sign_in import EntryView

_PENDING = "sso_pending"

# ── To the provider and back ────────────────────────────────────────────────────────────────────────────────────────


class WhoForm(forms.Form):
    who = forms.CharField(
        label=gettext_lazy("E-mail address, or the organisation's short name"),
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autofocus": True, "spellcheck": "false"}),
    )


class WhichView(EntryView):
    """Which organisation? The way on is a link: the content policy lets no form lead to another site."""

    def get(self, request: HttpRequest) -> HttpResponse:
        form = WhoForm(request.GET if "who" in request.GET else None)
        row = attempt(form, lambda: _found(form)) if form.is_valid() else None
        fields = {"form": form, "next": safe_next(request, request.GET.get("next")), "provider": row}
        return self.show("dashboard/account/sso.html", fields)


def _found(form: WhoForm) -> SsoProvider:
    try:
        return services.find(form.cleaned_data["who"])
    except errors.NotFound as error:  # not of the page
        raise errors.InvalidRequest(error.message, code=error.code, param="who") from None


class StartView(EntryView):
    def get(self, request: HttpRequest, organization_id: Any) -> HttpResponse:
        row = services.enabled_provider(organization_id)
        next_url = safe_next(request, request.GET.get("next"))
        url, pending = services.begin(row, redirect_uri=redirect_uri(request, str(organization_id)), next_url=next_url)
        request.session[_PENDING] = pending.kept()
        return HttpResponseRedirect(url)


class CallbackView(EntryView):
    """Back from the provider. What the session kept is used once, whatever comes of it."""

    def get(self, request: HttpRequest, organization_id: Any) -> HttpResponse:
        kept = request.session.pop(_PENDING, None)
        row = services.enabled_provider(organization_id)
        member = services.finish(row, kept, {name: request.GET[name] for name in request.GET})
        # For the audit trail, which is told before the session can say it.
        request.sso_organization = row.organization  # type: ignore[attr-defined]
        if request.user.is_authenticated:
            request.session.flush()  # nothing of whoever was signed in here before
        login(request, member.user, backend="django.contrib.auth.backends.ModelBackend")
        request.session["sso_organization"] = str(row.organization_id)
        request.session.set_expiry(settings.SSO_SESSION_HOURS * 3600)
        enter_organization(request, row.organization)
        return HttpResponseRedirect(safe_next(request, (kept or {}).get("next")))

    def refusal(self) -> str:
        return _("You are not signed in")


# ── Settings ────────────────────────────────────────────────────────────────────────────────────────────────────────


class ProviderForm(forms.Form):
    issuer = forms.CharField(
        label=gettext_lazy("Issuer"),
        max_length=500,
        help_text=gettext_lazy("Such as https://login.example.com/realms/all."),
    )
    client_id = forms.CharField(label=gettext_lazy("Client id"), max_length=300)
    client_secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        max_length=500,
        required=False,
        help_text=gettext_lazy("It is not shown. Empty: as it is."),
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    domains = NetworksField(
        label=gettext_lazy("Domains of e-mail addresses"),
        help_text=gettext_lazy("One a line. Addresses of others are refused, as are unverified ones."),
    )
    default_role = forms.ChoiceField(
        label=gettext_lazy("Role of new members"), choices=SsoProvider.ROLES, initial=Role.VIEWER
    )
    role_claim = forms.CharField(
        label=gettext_lazy("Claim that settles roles"), max_length=100, required=False,
        help_text=gettext_lazy("Such as groups. Empty: roles are given here."),
    )  # fmt: skip
    roles = forms.CharField(
        label=gettext_lazy("What its values stand for"), max_length=6000, required=False, widget=LinesWidget,
        help_text=gettext_lazy("One a line: speech-admins = admin. Owners stay owners."),
    )  # fmt: skip
    enabled = forms.BooleanField(label=gettext_lazy("In use"), required=False, initial=True)

    def clean_roles(self) -> dict[str, str]:
        found = {}
        for line in filter(None, (line.strip() for line in self.cleaned_data["roles"].splitlines())):
            value, _equals, role = (part.strip() for part in line.rpartition("="))
            if not value or role not in [known for known, _label in SsoProvider.ROLES]:
                raise forms.ValidationError(_("“%(line)s” is not like speech-admins = admin.") % {"line": line[:100]})
            found[value] = role
        return found


@method_decorator(sensitive_post_parameters("client_secret"), name="dispatch")
class ProviderPage(SettingsPage):
    role = Role.ADMIN
    post_role = Role.OWNER

    def get(self, request: HttpRequest) -> HttpResponse:
        row = services.of(self.actor.organization)
        return self._page(ProviderForm(initial=_initial(row) if row else None), row)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ProviderForm(request.POST)
        fields = dict(form.cleaned_data) if form.is_valid() else {}
        if form.is_valid() and succeeds(form, lambda: services.configure(actor=self.actor, fields=fields)):
            return self.done(_("Saved. Try it in another browser before you sign out here."), "dashboard:settings-sso")
        return self._page(form, services.of(self.actor.organization))

    def _page(self, form: ProviderForm, row: SsoProvider | None) -> HttpResponse:
        uri = redirect_uri(self.request, str(self.actor.organization.id))
        return self.show("sso", {"provider": row, "redirect_uri": uri}, form)


class ProviderRemove(Action):
    role = Role.OWNER

    def post(self, request: HttpRequest) -> HttpResponse:
        services.remove(actor=self.actor)
        return self.done(_("Single sign-on is off; members sign in with passwords."), "dashboard:settings-sso")


def _initial(row: SsoProvider) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in ProviderForm.base_fields if name not in ("client_secret", "roles")}
    return {**fields, "roles": "\n".join(f"{value} = {role}" for value, role in row.roles.items())}


urlpatterns = [
    path("dashboard/login/sso", WhichView.as_view(), name="sso"),
    path("dashboard/login/sso/<uuid:organization_id>", StartView.as_view(), name="sso-start"),
    path("dashboard/login/sso/<uuid:organization_id>/callback", CallbackView.as_view(), name="sso-callback"),
    path("dashboard/settings/sso", ProviderPage.as_view(), name="settings-sso"),
    path("dashboard/settings/sso/remove", ProviderRemove.as_view(), name="settings-sso-remove"),
]

COMMANDS = (
    Command(
        gettext_lazy("Single sign-on"), "dashboard:settings-sso", "shield-check", role=Role.ADMIN,
        keywords="sso oidc openid provider saml",
    ),
)  # fmt: skip
