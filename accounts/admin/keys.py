"""API keys."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts import services
from accounts.actors import Actor
from accounts.models import ApiKey, Scope
from common import errors
from common.admin import OrganizationFilter, ServiceAdmin, owner_of, status_mark


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=Scope.values,
        help_text="What the key may call.",
    )  # fmt: skip
    rate_limit = forms.IntegerField(
        min_value=1, max_value=1_000_000, required=False, help_text="Requests a minute; empty: the default."
    )

    class Meta:
        model = ApiKey
        fields = ("organization", "name", "scopes", "rate_limit", "expires_at")

    def clean_scopes(self) -> list[str]:
        return sorted(set(self.cleaned_data["scopes"]))

    def clean_expires_at(self) -> Any:
        value = self.cleaned_data["expires_at"]
        if value is not None and "expires_at" in self.changed_data and value <= timezone.now():
            raise forms.ValidationError("Must be in the future.")
        return value


class UsableFilter(admin.SimpleListFilter):
    title = "usable"
    parameter_name = "usable"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No: revoked, expired or disabled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        match self.value():
            case "yes":
                return queryset.filter(ApiKey.usable_rows())
            case "no":
                return queryset.exclude(ApiKey.usable_rows())
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """No deletion: a revoked key stays, so that old jobs and usage keep their name."""

    offers = frozenset({"add", "change"})
    form = ApiKeyForm
    list_display = (
        "name",
        "shown_key",
        "organization",
        "scope_list",
        "state",
        "last_used_at",
        "expires_at",
        "created_at",
    )
    list_filter = (OrganizationFilter, UsableFilter)
    list_select_related = ("organization", "service_account")
    search_fields = ("name", "prefix", "last4", "service_account__name")
    date_hierarchy = "created_at"
    actions = ("revoke_keys", "rotate_keys")

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        editable = ("organization", "name", "scopes", "rate_limit", "expires_at")
        if obj is None:
            return editable
        return (*editable, "shown_key", "state", "created_by", "created_at", "last_used_at", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return ("organization", "shown_key", "state", "created_by", "created_at", "last_used_at", "revoked_at")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> ApiKey:
        row, key = services.create_api_key(actor=actor, **fields)
        self._show(request, row, key)
        return row

    def change(self, actor: Actor, row: ApiKey, changes: dict[str, Any]) -> ApiKey:
        return services.update_api_key(actor=actor, api_key=row, changes=changes)

    @admin.action(description="Revoke selected keys (at once and for good)", permissions=["change"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for row in queryset.filter(revoked_at=None):
            services.revoke_api_key(actor=owner_of(request, row.organization), api_key=row)
            self.log_action(request, row, ["revoked at"])
            self.message_user(request, f"{row} is revoked; it is refused from now on.", messages.SUCCESS)

    @admin.action(description="Rotate selected keys (the old ones are refused at once)", permissions=["change"])
    def rotate_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for row in queryset:
            try:
                actor = owner_of(request, row.organization)
                rotated, key = services.rotate_api_key(actor=actor, api_key=row)
            except errors.ApiError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            else:
                self.log_action(request, rotated, ["prefix", "last4"])
                self._show(request, rotated, key)

    def _show(self, request: HttpRequest, row: ApiKey, key: str) -> None:
        self.show_once(request, f"The key “{row.name}”", key)

    @admin.display(description="key", ordering="prefix")
    def shown_key(self, row: ApiKey) -> SafeString:
        return format_html("<code>{}…{}</code>", row.prefix, row.last4)

    @admin.display(description="scopes")
    def scope_list(self, row: ApiKey) -> str:
        return ", ".join(row.scopes)

    @admin.display(description="usable")
    def state(self, row: ApiKey) -> SafeString:
        if row.usable:
            return status_mark("active", "Usable")
        if row.revoked_at:
            return status_mark("revoked", "Revoked")
        expired = row.expires_at is not None and row.expires_at <= timezone.now()
        return status_mark("expired", "Expired") if expired else status_mark("inactive", "Account disabled")
