"""What the organisation demands of credentials: networks, keys' lives, two-factor, idle sign-ins."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import policies
from accounts.models import Role
from common import context
from dashboard.forms import NetworksField, succeeds
from dashboard.nav import Command
from dashboard.pages.settings import SettingsPage


class PolicyForm(forms.Form):
    networks = NetworksField(
        label=gettext_lazy("Allowed networks"),
        help_text=gettext_lazy(
            "Keys and members act from these addresses or networks alone, one a line. Empty: from anywhere."
        ),
    )
    require_two_factor = forms.BooleanField(
        label=gettext_lazy("Two-factor is required"),
        required=False,
        help_text=gettext_lazy("Members without it have to turn it on before they go on."),
    )
    sso_only = forms.BooleanField(
        label=gettext_lazy("Single sign-on is required"),
        required=False,
        help_text=gettext_lazy("Owners may still use their passwords, for when the provider is away."),
    )
    idle_minutes = forms.IntegerField(
        label=gettext_lazy("Sign out when idle for"), required=False, min_value=5, max_value=60 * 24 * 30,
        help_text=gettext_lazy("Empty: sign-ins last as long as they do by themselves."),
    )  # fmt: skip
    keys_must_expire = forms.BooleanField(
        label=gettext_lazy("API keys must expire"),
        required=False,
        help_text=gettext_lazy("Of keys that are made, changed or rotated from now on."),
    )
    key_max_days = forms.IntegerField(
        label=gettext_lazy("API keys live for at most"), required=False, min_value=1, max_value=policies.MOST_DAYS,
        help_text=gettext_lazy("Since they were made or rotated. Empty: as long as they are made for."),
    )  # fmt: skip


class SecurityPage(SettingsPage):
    role = Role.ADMIN
    post_role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        policy = policies.of(self.actor.organization)
        return self._page(PolicyForm(initial={name: getattr(policy, name) for name in PolicyForm.base_fields}))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = PolicyForm(request.POST)
        changes = form.cleaned_data if form.is_valid() else {}
        if form.is_valid() and succeeds(form, lambda: policies.update(actor=self.actor, changes=changes)):
            return self.done(_("Saved: it holds from now on."), "dashboard:settings-security")
        return self._page(form)

    def _page(self, form: PolicyForm) -> HttpResponse:
        fields: dict[str, Any] = {
            "address": context.origin.get().address,
            "outside": policies.keys_outside(self.actor.organization).count(),
        }
        return self.show("security", fields, form)


urlpatterns = [path("dashboard/settings/security", SecurityPage.as_view(), name="settings-security")]

COMMANDS = (
    Command(
        gettext_lazy("Security policy"), "dashboard:settings-security", "shield", role=Role.ADMIN,
        keywords="ip networks allow-list expiry two-factor idle",
    ),
)  # fmt: skip
