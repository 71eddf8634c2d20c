"""Webhooks and the log of their deliveries."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.actors import Actor
from common.admin import (
    OrganizationFilter,
    ReadOnlyAdmin,
    ScopedAdmin,
    ServiceAdmin,
    owner_of,
    pretty,
    status_mark,
)
from common.described import described
from common.display import duration
from webhooks import services
from webhooks.models import Event, WebhookDelivery, WebhookEndpoint


class WebhookForm(forms.ModelForm):
    events = forms.MultipleChoiceField(choices=Event.choices, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = WebhookEndpoint
        fields = ("organization", "url", "description", "events", "active")


_CREATED = ("organization", "url", "description", "events")
_SHOWN = ("state", "consecutive_failures", "disabled_at", "disabled_reason", "previous_until", "created_by",
          "created_at")  # fmt: skip


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ServiceAdmin):
    """Deliveries go with their webhook."""

    offers = frozenset({"add", "change", "delete"})
    leads_others = True
    form = WebhookForm
    list_display = ("url", "organization", "state", "subscribed", "consecutive_failures", "created_at")
    list_filter = (OrganizationFilter, "active")
    list_select_related = ("organization",)
    search_fields = ("url", "description")
    date_hierarchy = "created_at"
    actions = ("send_tests", "rotate_secrets")
    hidden_lookups = ScopedAdmin.hidden_lookups | {"salt", "previous_salt"}

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> tuple[str, ...]:
        return _CREATED if obj is None else (*_CREATED, "active", *_SHOWN)

    def get_readonly_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", *_SHOWN)

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> WebhookEndpoint:
        row, secret = services.create_endpoint(actor=actor, **fields)
        self._show(request, row, secret)
        return row

    def change(self, actor: Actor, row: WebhookEndpoint, changes: dict[str, Any]) -> WebhookEndpoint:
        return services.update_endpoint(actor=actor, endpoint=row, changes=changes)

    def delete(self, actor: Actor, row: WebhookEndpoint) -> None:
        services.delete_endpoint(actor=actor, endpoint=row)

    @admin.action(description="Send a test event to selected webhooks", permissions=["change"])
    def send_tests(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for row in queryset:
            delivery = services.send_test(actor=owner_of(request, row.organization), endpoint=row)
            level = messages.ERROR if delivery.error else messages.SUCCESS
            self.message_user(request, f"{row}: {delivery.error or f'answered {delivery.response_status}'}", level)

    @admin.action(description="Rotate secrets (the old ones sign for 24 hours more)", permissions=["change"])
    def rotate_secrets(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        for row in queryset:
            rotated, secret = services.rotate_secret(actor=owner_of(request, row.organization), endpoint=row)
            self.log_action(request, rotated, ["secret"])
            self._show(request, rotated, secret)

    def _show(self, request: HttpRequest, row: WebhookEndpoint, secret: str) -> None:
        self.show_once(request, f"The secret of “{row}”", secret)

    @admin.display(description="events")
    def subscribed(self, row: WebhookEndpoint) -> str:
        return ", ".join(row.events)

    @admin.display(description="status", ordering="active")
    def state(self, row: WebhookEndpoint) -> SafeString:
        if row.active:
            return status_mark("failed", "Failing") if row.consecutive_failures else status_mark("active", "Active")
        return status_mark("revoked", "Disabled") if row.disabled_at else status_mark("inactive", "Inactive")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "organization", "event", "url", "state", "attempts", "response_status", "took", "error",
    )  # fmt: skip
    list_filter = (OrganizationFilter, "status", "event", "created_at")
    list_select_related = ("organization", "endpoint")
    search_fields = ("event_id", "object_id", "endpoint__url", "error")
    date_hierarchy = "created_at"
    fields = (
        "created_at", "organization", "url", "event", "event_id", "object_id", "state", "attempts", "response_status",
        "response_excerpt", "error", "took", "next_attempt_at", "finished_at", "shown_payload", "shown_log",
    )  # fmt: skip
    readonly_fields = fields
    hidden_lookups = ScopedAdmin.hidden_lookups | {"salt", "previous_salt"}

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        rows = super().get_queryset(request)
        return (
            rows if request.resolver_match and "object_id" in request.resolver_match.kwargs else rows.defer("payload")
        )

    @admin.display(description="webhook", ordering="endpoint__url")
    def url(self, row: WebhookDelivery) -> str:
        return str(row.endpoint)

    @admin.display(description="status", ordering="status")
    def state(self, row: WebhookDelivery) -> SafeString:
        return status_mark({"delivered": "succeeded", "pending": "queued"}.get(row.status, row.status),
                           row.get_status_display())  # fmt: skip

    @admin.display(description="duration", ordering="duration_seconds")
    def took(self, row: WebhookDelivery) -> str:
        return duration(row.duration_seconds)

    @admin.display(description="payload")
    def shown_payload(self, row: WebhookDelivery) -> SafeString:
        return pretty(row.payload)

    @admin.display(description="attempts")
    def shown_log(self, row: WebhookDelivery) -> SafeString | str:
        return described(row.log)
