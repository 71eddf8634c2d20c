"""Proofs of deletion, to be read."""

from __future__ import annotations

from django.contrib import admin

from common.admin import ReadOnlyAdmin
from retention.models import DeletionRecord


@admin.register(DeletionRecord)
class DeletionRecordAdmin(ReadOnlyAdmin):
    """They outlive their organisation, so they have its id alone; who owns it reads them as long as it is there."""

    organization_path = "organization_id"
    list_display = ("created_at", "object_type", "object_id", "reason", "stored_objects", "deleted_by")
    list_filter = ("object_type", "reason", "created_at")
    search_fields = ("object_id", "deleted_by")
    date_hierarchy = "created_at"
    fields = ("created_at", "organization_id", "object_type", "object_id", "reason", "stored_objects", "deleted_by")
    readonly_fields = fields
