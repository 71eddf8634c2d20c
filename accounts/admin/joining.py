"""Who may join, and what is no person: invitations and service accounts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts import invitations, service_accounts
from accounts.actors import Actor
from accounts.models import Invitation, ServiceAccount
from common import errors
from common.admin import OrganizationFilter, ServiceAdmin, owner_of, status_mark
from common.network import public_url


@admin.register(Invitation)
class InvitationAdmin(ServiceAdmin):
    """Deleting an open one withdraws it. New ones are sent from the dashboard, which shows the link."""

    offers = frozenset({"delete"})
    list_display = ("email", "organization", "role", "state", "invited_by", "sent_at", "expires_at")
    list_filter = (OrganizationFilter, "role", "sent_at")
    list_select_related = ("organization", "invited_by")
    search_fields = ("email", "invited_by__email")
    date_hierarchy = "sent_at"
    fields = ("email", "organization", "role", "state", "invited_by", "sent_at", "expires_at", "accepted_at")
    readonly_fields = fields
    actions = ("send_again",)
    hidden_lookups = ServiceAdmin.hidden_lookups | {"salt"}

    def has_delete_permission(self, request: HttpRequest, obj: Invitation | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.accepted_at is None)

    def delete(self, actor: Actor, row: Invitation) -> None:
        invitations.withdraw(actor=actor, invitation=row)

    @admin.action(description="Send selected invitations again (the old links end)", permissions=["delete"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Invitation]) -> None:
        for row in queryset.filter(accepted_at=None).select_related("organization"):
            try:
                actor = owner_of(request, row.organization)
                invitations.resend(actor=actor, invitation=row, base_url=public_url(request))
            except errors.ApiError as error:
                self.message_user(request, f"{row}: {error.message}", messages.ERROR)
            else:
                self.log_action(request, row, ["sent at"])
                self.message_user(request, f"{row.email} gets a new link.", messages.SUCCESS)

    @admin.display(description="status", ordering="accepted_at")
    def state(self, row: Invitation) -> SafeString:
        if row.accepted_at:
            return status_mark("succeeded", "Accepted")
        return status_mark("expired", "Expired") if row.expired else status_mark("queued", "Open")


class ServiceAccountForm(forms.ModelForm):
    class Meta:
        model = ServiceAccount
        fields = ("organization", "name", "description", "role")


@admin.register(ServiceAccount)
class ServiceAccountAdmin(ServiceAdmin):
    """Deleting one revokes its keys, which stay."""

    offers = frozenset({"add", "change", "delete"})
    leads_others = True
    form = ServiceAccountForm
    list_display = ("name", "organization", "role", "state", "created_by", "created_at")
    list_filter = (OrganizationFilter, "role")
    list_select_related = ("organization", "created_by")
    search_fields = ("name", "description")
    date_hierarchy = "created_at"
    actions = ("disable", "enable")

    def get_fields(self, request: HttpRequest, obj: ServiceAccount | None = None) -> tuple[str, ...]:
        shown = () if obj is None else ("state", "created_by", "created_at", "disabled_at")
        return (*ServiceAccountForm.Meta.fields, *shown)

    def get_readonly_fields(self, request: HttpRequest, obj: ServiceAccount | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "state", "created_by", "created_at", "disabled_at")

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> ServiceAccount:
        return service_accounts.create(actor=actor, **fields)

    def change(self, actor: Actor, row: ServiceAccount, changes: dict[str, Any]) -> ServiceAccount:
        return service_accounts.update(actor=actor, account=row, changes=changes)

    def delete(self, actor: Actor, row: ServiceAccount) -> None:
        service_accounts.delete(actor=actor, account=row)

    @admin.action(description="Disable selected accounts (their keys are refused at once)", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ServiceAccount]) -> None:
        self._set_disabled(request, queryset.filter(disabled_at=None), True)

    @admin.action(description="Enable selected accounts", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ServiceAccount]) -> None:
        self._set_disabled(request, queryset.exclude(disabled_at=None), False)

    def _set_disabled(self, request: HttpRequest, rows: QuerySet[ServiceAccount], disabled: bool) -> None:
        for row in rows.select_related("organization"):
            actor = owner_of(request, row.organization)
            service_accounts.update(actor=actor, account=row, changes={"disabled": disabled})
            self.log_action(request, row, ["disabled at"])
            self.message_user(request, f"{row} is {'disabled' if disabled else 'enabled'}.", messages.SUCCESS)

    @admin.display(description="status", ordering="disabled_at")
    def state(self, row: ServiceAccount) -> SafeString:
        return status_mark("inactive", "Disabled") if row.disabled_at else status_mark("active", "Active")
