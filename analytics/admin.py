"""The history of usage."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from analytics.models import UsageRecord
from common.admin import OrganizationFilter, ReadOnlyAdmin, status_mark
from common.display import duration


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "organization", "task", "state", "model", "characters", "audio", "compute", "user", "api_key",
    )  # fmt: skip
    list_filter = (OrganizationFilter, "task", "status", "created_at")
    list_select_related = ("organization", "user", "api_key")
    search_fields = ("job_id", "model", "user__email", "api_key__name")
    date_hierarchy = "created_at"
    fields = (
        "created_at", "organization", "task", "state", "job_id", "model", "user", "api_key", "characters", "audio",
        "compute",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="status", ordering="status")
    def state(self, row: UsageRecord) -> SafeString:
        return status_mark(row.status, row.get_status_display())

    @admin.display(description="audio", ordering="audio_seconds")
    def audio(self, row: UsageRecord) -> str:
        return duration(row.audio_seconds)

    @admin.display(description="computing", ordering="compute_seconds")
    def compute(self, row: UsageRecord) -> str:
        return duration(row.compute_seconds)
