"""The models of the installation. They belong to nobody, so every owner may look; services write."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from common.admin import ReadOnlyAdmin, status_mark
from common.display import size
from models_registry.models import ModelVersion


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    organization_path = None
    list_display = ("name", "version", "task", "family", "engine", "state", "is_default", "memory", "loaded_at")
    list_filter = ("task", "status", "is_default", "engine")
    search_fields = ("name", "version", "family", "engine")
    date_hierarchy = "created_at"
    fields = (
        "name", "version", "task", "family", "engine", "state", "is_default", "language_list", "memory", "loaded_at",
        "last_error", "created_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="status", ordering="status")
    def state(self, row: ModelVersion) -> SafeString:
        return status_mark(row.status, row.get_status_display())

    @admin.display(description="memory", ordering="memory_bytes")
    def memory(self, row: ModelVersion) -> str:
        return size(row.memory_bytes)

    @admin.display(description="languages")
    def language_list(self, row: ModelVersion) -> str:
        return ", ".join(row.languages) or "–"
