"""The models of the installation. They belong to nobody, so every owner may look; services write."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from common.admin import OrganizationFilter, ReadOnlyAdmin, status_mark
from common.display import size
from models_registry.comparing import ArmSummary, compare
from models_registry.models import EvaluationManifest, Installation, ModelVersion, Rollout


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


@admin.register(Installation)
class InstallationAdmin(ReadOnlyAdmin):
    """Those that somebody of the organisation asked for; operators see all."""

    list_display = ("model", "state", "stage", "version", "organization", "requested_by", "created_at", "finished_at")
    list_filter = (OrganizationFilter, "status")
    list_select_related = ("version", "organization", "requested_by")
    search_fields = ("model", "error_message")
    date_hierarchy = "created_at"
    fields = (
        "model", "state", "stage", "fetched", "version", "organization", "requested_by", "created_at", "finished_at",
        "error_message",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="status", ordering="status")
    def state(self, row: Installation) -> SafeString:
        return status_mark(row.status, row.get_status_display())

    @admin.display(description="downloaded")
    def fetched(self, row: Installation) -> str:
        return f"{size(row.fetched_bytes)} of {size(row.total_bytes)}" if row.total_bytes else "–"


@admin.register(Rollout)
class RolloutAdmin(ReadOnlyAdmin):
    """Owners see those of their own requests; operators all."""

    list_display = ("candidate", "mode", "percentage", "organization", "state", "started_by", "created_at", "ended_at")
    list_filter = (OrganizationFilter, "status", "mode")
    list_select_related = ("candidate", "organization")
    search_fields = ("name", "reason", "started_by")
    date_hierarchy = "created_at"
    fields = (
        "candidate", "active_version", "mode", "percentage", "organization", "state", "forced", "reason", "started_by",
        "created_at", "ended_at", "ended_reason", "max_failure_rate", "max_slowdown", "min_samples", "of_active",
        "of_candidate", "difference",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="status", ordering="status")
    def state(self, row: Rollout) -> SafeString:
        return status_mark(row.status, row.get_status_display())

    @admin.display(description="share", ordering="share")
    def percentage(self, row: Rollout) -> str:
        return f"{100 * row.share:g} %"

    @admin.display(description="active version's requests")
    def of_active(self, row: Rollout) -> str:
        return _summary(compare(row).active)

    @admin.display(description="candidate's requests")
    def of_candidate(self, row: Rollout) -> str:
        return _summary(compare(row).candidate)

    @admin.display(description="words that differ from the active version's")
    def difference(self, row: Rollout) -> str:
        compared = compare(row)
        rate = compared.wer_against_active
        return "–" if rate is None else f"{100 * rate:.1f} % of {compared.compared_words}"


@admin.register(EvaluationManifest)
class EvaluationManifestAdmin(ReadOnlyAdmin):
    list_display = ("path", "organization", "created_at")
    list_select_related = ("organization",)
    fields = ("path", "organization", "created_at")
    readonly_fields = fields


def _summary(arm: ArmSummary) -> str:
    speed = "" if arm.median_rtf is None else f"; median RTF {arm.median_rtf:.3f}"
    return f"{arm.requests} requests, {arm.failures} failed{speed}"
