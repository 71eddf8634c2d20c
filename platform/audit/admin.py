"""The audit trail, to be read."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from audit import words
from audit.models import AuditEntry
from common.admin import OrganizationFilter, ReadOnlyAdmin


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "organization", "did", "actor", "what", "address")
    list_filter = (OrganizationFilter, "actor_type", "created_at")
    list_select_related = ("organization",)
    search_fields = ("action", "actor_label", "object_label", "object_id", "request_id")
    date_hierarchy = "created_at"
    fields = (
        "created_at", "organization", "did", "action", "actor", "actor_id", "object_type", "object_id", "object_label",
        "address", "user_agent", "request_id", "shown_details",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="what", ordering="action")
    def did(self, entry: AuditEntry) -> str:
        return str(words.what(entry.action))

    @admin.display(description="by", ordering="actor_label")
    def actor(self, entry: AuditEntry) -> str:
        return entry.actor_label or entry.get_actor_type_display()

    @admin.display(description="object", ordering="object_label")
    def what(self, entry: AuditEntry) -> str:
        return entry.object_label or "–"

    @admin.display(description="details")
    def shown_details(self, entry: AuditEntry) -> SafeString | str:
        return format_html_join(SafeString("<br>"), "{}", ((fact,) for fact in words.facts(entry.details))) or "–"
