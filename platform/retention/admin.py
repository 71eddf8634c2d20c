"""Proofs of deletion, to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from common.admin import ReadOnlyAdmin
from retention.models import DeletionRecord

_KINDS = {
    "tts_job": "Synthesis job",
    "stt_job": "Transcription job",
    "audio": "Audio",
    "transcript": "Transcript",
    "organization": "Organisation",
}
_BY = {"user": "Person", "key": "API key"}


class KindFilter(admin.SimpleListFilter):
    title = "object"
    parameter_name = "object_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(_KINDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        return queryset.filter(object_type=self.value()) if self.value() else queryset


@admin.register(DeletionRecord)
class DeletionRecordAdmin(ReadOnlyAdmin):
    """They outlive their organisation, so they have its id alone; who owns it reads them as long as it is there."""

    organization_path = "organization_id"
    list_display = ("created_at", "kind", "object_id", "reason", "stored_objects", "by")
    list_filter = (KindFilter, "reason", "created_at")
    search_fields = ("object_id", "deleted_by")
    date_hierarchy = "created_at"
    fields = ("created_at", "organization_id", "kind", "object_id", "reason", "stored_objects", "by", "by_id")
    readonly_fields = fields

    @admin.display(description="object", ordering="object_type")
    def kind(self, record: DeletionRecord) -> str:
        return _KINDS.get(record.object_type, record.object_type)

    @admin.display(description="deleted by", ordering="deleted_by")
    def by(self, record: DeletionRecord) -> str:
        return _BY.get(record.deleted_by.partition(":")[0], record.deleted_by or "The platform")

    @admin.display(description="their id")
    def by_id(self, record: DeletionRecord) -> str:
        return record.deleted_by.partition(":")[2] or "–"
