"""The history of usage, and quotas."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from analytics import quota
from analytics.models import Quota, QuotaPeriod, UsageRecord
from audit import services as audit
from common.admin import OrganizationFilter, ReadOnlyAdmin, ScopedAdmin, become, status_mark
from common.display import duration


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "organization", "task", "state", "model", "shown_characters", "audio", "compute", "made_by",
    )  # fmt: skip
    list_filter = (OrganizationFilter, "task", "status", "created_at")
    list_select_related = ("organization", "user", "api_key")
    search_fields = ("job_id", "model", "user__email", "api_key__name")
    date_hierarchy = "created_at"
    fields = (
        "created_at", "organization", "task", "state", "job_id", "model", "user", "api_key", "shown_characters",
        "audio", "compute",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="status", ordering="status")
    def state(self, row: UsageRecord) -> SafeString:
        return status_mark(row.status, row.get_status_display())

    @admin.display(description="characters", ordering="characters")
    def shown_characters(self, row: UsageRecord) -> str:
        return f"{row.characters:,}"

    @admin.display(description="made by")
    def made_by(self, row: UsageRecord) -> str:
        return row.api_key.name if row.api_key else str(row.user or "–")

    @admin.display(description="audio", ordering="audio_seconds")
    def audio(self, row: UsageRecord) -> str:
        return duration(row.audio_seconds)

    @admin.display(description="computing", ordering="compute_seconds")
    def compute(self, row: UsageRecord) -> str:
        return duration(row.compute_seconds)


class QuotaForm(forms.ModelForm):
    class Meta:
        model = Quota
        fields = (
            "organization", "monthly_characters", "monthly_audio_seconds", "max_concurrent_jobs", "monthly_budget",
            "price_per_million_characters", "price_per_audio_hour",
        )  # fmt: skip

    def clean(self) -> dict[str, Any] | None:
        fields = super().clean() or self.cleaned_data
        priced = fields.get("price_per_million_characters") or fields.get("price_per_audio_hour")
        if fields.get("monthly_budget") is not None and not priced:
            self.add_error("monthly_budget", "A budget needs a price.")
        return fields


@admin.register(Quota)
class QuotaAdmin(ScopedAdmin):
    """Operators give organisations limits; owners read theirs. No deletion: an empty field is no limit."""

    operator_offers = frozenset({"add", "change"})
    form = QuotaForm
    list_display = (
        "organization", "most_characters", "characters_used", "most_audio", "audio_used",
        "monthly_budget", "max_concurrent_jobs",
    )  # fmt: skip
    list_select_related = ("organization",)
    search_fields = ("organization__name", "organization__slug")
    fields = QuotaForm.Meta.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quota]:
        periods = QuotaPeriod.objects.filter(organization_id=OuterRef("organization_id"), month=quota.current_month())
        return super().get_queryset(request).annotate(
            characters=Subquery(periods.values("used_characters")[:1]),
            audio_seconds=Subquery(periods.values("used_audio_seconds")[:1]),
        )  # fmt: skip

    @admin.display(description="monthly characters", ordering="monthly_characters")
    def most_characters(self, row: Quota) -> str:
        return "–" if row.monthly_characters is None else f"{row.monthly_characters:,}"

    @admin.display(description="monthly audio", ordering="monthly_audio_seconds")
    def most_audio(self, row: Quota) -> str:
        return duration(row.monthly_audio_seconds)

    def get_readonly_fields(self, request: HttpRequest, obj: Quota | None = None) -> tuple[str, ...]:
        return ("organization",) if obj else ()

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: bool) -> None:
        fields = form.cleaned_data
        organization = obj.organization if change else fields["organization"]
        limits = {name: value for name, value in fields.items() if name != "organization"}
        with transaction.atomic():
            become(obj, quota.set_quota(organization=organization, **limits))
            audit.record_for_person(
                action="quota.changed",
                email=request.user.email,  # type: ignore[union-attr]
                user_id=request.user.pk,
                organization_ids=[organization.id],
                limits={name: None if value is None else str(value) for name, value in limits.items()},
            )

    @admin.display(description="used this month")
    def characters_used(self, row: Any) -> str:
        return "–" if row.characters is None else f"{row.characters:,}"

    @admin.display(description="used this month")
    def audio_used(self, row: Any) -> str:
        return "–" if row.audio_seconds is None else duration(float(row.audio_seconds))
