"""Service accounts, which the members' page lists: making, disabling and deleting them."""

from __future__ import annotations

import uuid

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import selectors, service_accounts
from accounts.models import Role, ServiceAccount
from common import errors
from dashboard.access import Action


class AccountForm(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=100, help_text=gettext_lazy("What runs with it: “tills, Bremen”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip
    description = forms.CharField(label=gettext_lazy("Description"), max_length=300, required=False)
    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=ServiceAccount.ROLES,
        help_text=gettext_lazy("Viewer: its keys read, and run nothing."),
    )


class AccountsAction(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest) -> HttpResponse:
        form = AccountForm(request.POST)
        if not form.is_valid():
            field, messages = next(iter(form.errors.items()))
            raise errors.InvalidRequest(f"{form.fields[field].label}: {messages[0]}", param=field)
        row = service_accounts.create(actor=self.actor, **form.cleaned_data)
        return self.done(_("“%(name)s” is made; give it a key.") % {"name": row.name}, "dashboard:members")


class AccountChange(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, account_id: uuid.UUID, what: str) -> HttpResponse:
        row = selectors.get_service_account(actor=self.actor, account_id=account_id)
        if what == "delete":
            service_accounts.delete(actor=self.actor, account=row)
            text = _("“%(name)s” is deleted; its keys are revoked.")
        else:
            disabled = what == "disable"
            service_accounts.update(actor=self.actor, account=row, changes={"disabled": disabled})
            text = (
                _("“%(name)s” is disabled: its keys are refused from now on.")
                if disabled
                else _("“%(name)s” is enabled: its keys work again.")
            )
        return self.done(text % {"name": row.name}, "dashboard:members")


_BASE = "dashboard/members/service-accounts"
urlpatterns = [
    path(_BASE, AccountsAction.as_view(), name="service-accounts"),
    *(
        path(f"{_BASE}/<uuid:account_id>/{what}", AccountChange.as_view(), {"what": what}, f"service-account-{what}")
        for what in ("disable", "enable", "delete")
    ),
]
