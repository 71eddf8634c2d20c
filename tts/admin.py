"""The history of syntheses, and what their words and voices are asked to be like."""

from __future__ import annotations

from django.contrib import admin

from jobs.admin import JobAdmin
from tts.defaults.admin import SpeechDefaultsAdmin
from tts.lexicons.admin import LexiconAdmin, VoiceDefaultsAdmin
from tts.models import TtsJob

__all__ = ["LexiconAdmin", "SpeechDefaultsAdmin", "TtsJobAdmin", "VoiceDefaultsAdmin"]


@admin.register(TtsJob)
class TtsJobAdmin(JobAdmin):
    list_display = (
        "excerpt", "state", "organization", "voice", "audio_length", "listen", "made_by", "created_at",
    )  # fmt: skip
    list_filter = (*JobAdmin.list_filter, "format")
    search_fields = (*JobAdmin.search_fields, "text", "voice", "language")
    result_fields = (
        "state", "text", "listen", "audio_length", "characters", "language", "voice", "model", "format", "sample_rate",
    )  # fmt: skip

    @admin.display(description="text", ordering="text")
    def excerpt(self, job: TtsJob) -> str:
        return job.text[:60] + ("…" if len(job.text) > 60 else "")

    def audio_key_of(self, job: TtsJob) -> str:
        return job.audio_key if job.status == "succeeded" else ""
