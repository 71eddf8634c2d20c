"""API keys: making them, shown once; scopes, expiry, limits; rotating and revoking."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts import selectors, services
from accounts.actors import Actor
from accounts.models import ApiKey, Role, Scope, ServiceAccount
from dashboard.access import Action, Page
from dashboard.forms import MomentWidget, NetworksField, attempt
from dashboard.listing import FilterForm, listing
from dashboard.nav import Command, NavItem, Section
from dashboard.toasts import toast

_EXPIRY_CODES = ("key_must_expire", "key_lives_too_long")
format_html_lazy = lazy(format_html, SafeString)
LIFETIMES = [
    ("", gettext_lazy("Never")),
    ("7", gettext_lazy("In 7 days")),
    ("30", gettext_lazy("In 30 days")),
    ("90", gettext_lazy("In 90 days")),
    ("365", gettext_lazy("In a year")),
]


class KeyFilters(FilterForm):
    q = forms.CharField(label=gettext_lazy("Search keys"), widget=forms.TextInput(attrs={"type": "search"}))
    state = forms.ChoiceField(
        label=gettext_lazy("Status"),
        choices=[
            ("", gettext_lazy("Usable")),
            ("expired", gettext_lazy("Expired")),
            ("revoked", gettext_lazy("Revoked")),
            ("all", gettext_lazy("All")),
        ],
    )


class KeyFields(forms.Form):
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("The program or place that uses it: “call centre, production”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("May call"),
        choices=Scope.choices,
        initial=list(Scope.values),
        widget=forms.CheckboxSelectMultiple,
    )
    rate_limit = forms.IntegerField(
        label=gettext_lazy("Requests a minute"),
        min_value=1,
        max_value=1_000_000,
        required=False,
        help_text=gettext_lazy("Empty: the platform's limit."),
    )
    networks = NetworksField(
        label=gettext_lazy("Only from"),
        help_text=gettext_lazy("Addresses or networks such as 203.0.113.0/24. Empty: from anywhere that is allowed."),
    )


class NewKeyForm(KeyFields):
    lifetime = forms.ChoiceField(label=gettext_lazy("Expires"), choices=LIFETIMES, required=False, initial="90")
    service_account = forms.ModelChoiceField(
        label=gettext_lazy("Belongs to"),
        queryset=ServiceAccount.objects.none(),
        required=False,
        empty_label=gettext_lazy("Nobody in particular"),
        help_text=gettext_lazy("A service account: the key ends with it."),
    )

    def __init__(self, actor: Actor, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        accounts = selectors.list_service_accounts(actor=actor).filter(disabled_at=None)
        self.fields["service_account"].queryset = accounts  # type: ignore[attr-defined]

    def service_fields(self) -> dict[str, Any]:
        fields = dict(self.cleaned_data)
        days = fields.pop("lifetime")
        return {**fields, "expires_at": timezone.now() + timedelta(days=int(days)) if days else None}

    def add_error(self, field: str | None, error: Any) -> None:
        """What the service says of the expiry belongs beside the choice of a lifetime."""
        super().add_error("lifetime" if field is None and getattr(error, "code", "") in _EXPIRY_CODES else field, error)


class EditKeyForm(KeyFields):
    expires_at = forms.DateTimeField(
        label=gettext_lazy("Expires"),
        required=False,
        help_text=format_html_lazy("{} <span data-zone>UTC</span>", gettext_lazy("Empty: never. Time zone:")),
        widget=MomentWidget,
    )

    def clean_expires_at(self) -> Any:
        value = self.cleaned_data["expires_at"]
        before = self.initial.get("expires_at")
        if value is not None and before is not None and value == before.replace(second=0, microsecond=0):
            return before  # the field knows no seconds
        if value is not None and value <= timezone.now():
            raise forms.ValidationError(_("This is in the past. To end the key now, revoke it."))
        return value


class KeysPage(Page):
    role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, NewKeyForm(self.actor, initial=_asked(request)))

    def post(self, request: HttpRequest) -> HttpResponse:
        """Makes a key. This answer alone shows it."""
        form = NewKeyForm(self.actor, request.POST)
        if form.is_valid():
            made = attempt(form, lambda: services.create_api_key(actor=self.actor, **form.service_fields()))
            if made is not None:
                return self._page(request, NewKeyForm(self.actor), shown=made)
        return self._page(request, form)

    def _page(self, request: HttpRequest, form: NewKeyForm, *, shown: tuple[ApiKey, str] | None = None) -> HttpResponse:
        filters = KeyFilters(request)
        fields = {
            "form": form,
            "filters": filters,
            "listing": listing(request, _found(self.actor, **filters.values)),
            "shown": shown[0] if shown else None,
            "secret": shown[1] if shown else "",
            "open": bool(form.errors) or "new" in request.GET,
        }
        status = 400 if form.errors else 200
        return self.render("dashboard/api_keys/list.html", fields, part="dashboard/api_keys/rows.html", status=status)


def _asked(request: HttpRequest) -> dict[str, str]:
    """Whom the new key shall belong to, where a link says so."""
    return {"service_account": request.GET["for"]} if "for" in request.GET else {}


def _found(actor: Actor, *, q: str = "", state: str = "") -> QuerySet[ApiKey]:
    rows = selectors.list_api_keys(actor=actor)
    if q:
        rows = rows.filter(
            Q(name__icontains=q) | Q(prefix__startswith=q) | Q(last4=q) | Q(service_account__name__icontains=q)
        )
    past = Q(expires_at__lte=timezone.now()) | Q(service_account__disabled_at__isnull=False)
    if state == "revoked":
        return rows.exclude(revoked_at=None)
    if state == "expired":
        return rows.filter(past, revoked_at=None)
    return rows if state == "all" else rows.exclude(past).filter(revoked_at=None)


class KeyPage(Page):
    """One key: what it may do, and the dangerous things."""

    role = Role.ADMIN

    def get(self, request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        return self._page(row, EditKeyForm(initial=_as_it_is(row)))

    def post(self, request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        form = EditKeyForm(request.POST, initial=_as_it_is(row))
        if form.is_valid():
            changes = form.cleaned_data
            if attempt(form, lambda: services.update_api_key(actor=self.actor, api_key=row, changes=changes)):
                return self.done(_("The key is changed."), "dashboard:api-key", row.id)
        return self._page(row, form)

    def _page(self, row: ApiKey, form: EditKeyForm) -> HttpResponse:
        return self.render(
            "dashboard/api_keys/key.html", {"row": row, "form": form}, status=400 if form.errors else 200
        )


def _as_it_is(row: ApiKey) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("name", "scopes", "rate_limit", "expires_at", "networks")}


class KeyRotate(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
        """A new secret; this answer alone shows it."""
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        row, key = services.rotate_api_key(actor=self.actor, api_key=row)
        toast(request, _("The old key is refused from now on."), tone="busy")
        return self.render("dashboard/api_keys/rotated.html", {"row": row, "secret": key})


class KeyRevoke(Action):
    role = Role.ADMIN

    def post(self, request: HttpRequest, key_id: uuid.UUID) -> HttpResponse:
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        services.revoke_api_key(actor=self.actor, api_key=row)
        text = _("“%(name)s” is revoked: it is refused from now on.") % {"name": row.name}
        return self.done(text, "dashboard:api-keys")


_BASE = "dashboard/api-keys"
urlpatterns = [
    path(_BASE, KeysPage.as_view(), name="api-keys"),
    path(f"{_BASE}/<uuid:key_id>", KeyPage.as_view(), name="api-key"),
    path(f"{_BASE}/<uuid:key_id>/rotate", KeyRotate.as_view(), name="api-key-rotate"),
    path(f"{_BASE}/<uuid:key_id>/revoke", KeyRevoke.as_view(), name="api-key-revoke"),
]

NAV = (
    NavItem(
        gettext_lazy("API keys"), "dashboard:api-keys", "key-round", Section.DEVELOPERS, order=10, role=Role.ADMIN,
        shortcut="g k", keywords="token secret credential",
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        gettext_lazy("Make an API key"), "dashboard:api-keys", "plus", role=Role.ADMIN, query="?new=1", keywords="new"
    ),
)
