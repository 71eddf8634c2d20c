"""The history of syntheses."""

from __future__ import annotations

from django.contrib import admin

from jobs.admin import JobAdmin
from tts.models import TtsJob


@admin.register(TtsJob)
class TtsJobAdmin(JobAdmin):
    list_display = (
        "excerpt", "state", "organization", "voice", "language", "characters", "audio_length", "listen", "user",
        "api_key", "created_at",
    )  # fmt: skip
    list_filter = (*JobAdmin.list_filter, "format")
    search_fields = (*JobAdmin.search_fields, "text", "voice", "language")
    fields = (
        "state", "text", "listen", "organization", "user", "api_key", "characters", "language", "voice", "model",
        "format", "sample_rate", "options", "audio_length", "timings", "error_code", "error_message", "batch_id",
        "custom_id", "request_id", "created_at", "started_at", "finished_at",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="text", ordering="text")
    def excerpt(self, job: TtsJob) -> str:
        return job.text[:60] + ("…" if len(job.text) > 60 else "")

    def audio_key_of(self, job: TtsJob) -> str:
        return job.audio_key if job.status == "succeeded" else ""
