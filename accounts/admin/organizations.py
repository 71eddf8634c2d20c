"""Organisations."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.models import ApiKey, Organization
from common.admin import (
    ScopedAdmin,
    status_mark,
)


@admin.register(Organization)
class OrganizationAdmin(ScopedAdmin):
    """No deletion: an operator deactivates an organisation, which refuses its credentials at once."""

    organization_path = "pk"
    offers = frozenset({"change"})
    operator_offers = frozenset({"add"})
    list_display = ("name", "slug", "state", "members", "usable_keys", "created_at")
    search_fields = ("name", "slug")
    list_filter = ("is_active",)
    date_hierarchy = "created_at"
    fields = ("name", "slug", "is_active", "created_at")
    prepopulated_fields: ClassVar = {"slug": ("name",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Organization]:
        usable = ApiKey.usable_rows("api_keys__") & Q(api_keys__id__isnull=False)
        return super().get_queryset(request).annotate(
            member_count=Count("memberships", distinct=True),
            key_count=Count("api_keys", filter=usable, distinct=True),
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Organization | None = None) -> tuple[str, ...]:
        return ("created_at",) if request.user.is_superuser else ("slug", "is_active", "created_at")

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> dict[str, Any]:
        return {} if obj else dict(self.prepopulated_fields)

    @admin.display(description="status", ordering="is_active")
    def state(self, row: Organization) -> SafeString:
        return status_mark("active", "Active") if row.is_active else status_mark("inactive", "Inactive")

    @admin.display(description="members", ordering="member_count")
    def members(self, row: Any) -> int:
        return row.member_count

    @admin.display(description="usable API keys", ordering="key_count")
    def usable_keys(self, row: Any) -> int:
        return row.key_count
