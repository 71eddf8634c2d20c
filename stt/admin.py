"""The history of transcriptions and uploads."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from common.admin import OrganizationFilter, ReadOnlyAdmin, ScopedInline
from common.described import described
from common.display import size
from jobs.admin import AudioAdmin, JobAdmin
from stt.models import AudioFile, SttJob, Transcription, TranscriptionDefaults


class TranscriptionInline(ScopedInline, admin.StackedInline):
    model = Transcription
    fields = (
        "text", "language", "language_confidence", "confidence", "model_used", "fallback_reason", "stage_list",
        "shown_quality", "shown_segments",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="stages")
    def stage_list(self, row: Transcription) -> str:
        return ", ".join(row.stages)

    @admin.display(description="quality")
    def shown_quality(self, row: Transcription) -> SafeString | str:
        return described(row.quality)

    @admin.display(description="segments (seconds)")
    def shown_segments(self, row: Transcription) -> SafeString | str:
        return described(row.segments)


@admin.register(SttJob)
class SttJobAdmin(JobAdmin):
    list_display = (
        "filename", "state", "organization", "model", "audio_length", "heard", "listen", "made_by", "created_at",
    )  # fmt: skip
    list_select_related = (*JobAdmin.list_select_related, "audio", "transcription")
    search_fields = (*JobAdmin.search_fields, "filename", "transcription__text")
    result_fields = ("state", "listen", "audio", "audio_length", "model")
    inlines = (TranscriptionInline,)

    @admin.display(description="heard")
    def heard(self, job: SttJob) -> str:
        transcription = getattr(job, "transcription", None)
        if transcription is None:
            return "–"
        return transcription.text[:60] + ("…" if len(transcription.text) > 60 else "") or "(silence)"

    def audio_key_of(self, job: SttJob) -> str:
        return job.audio.key if job.audio else ""


@admin.register(AudioFile)
class AudioFileAdmin(AudioAdmin):
    list_display = ("shown_name", "organization", "content_type", "size", "listen", "created_at")
    list_filter = (OrganizationFilter, "created_at")
    list_select_related = ("organization",)
    search_fields = ("id", "filename", "content_type")
    date_hierarchy = "created_at"
    fields = ("filename", "listen", "organization", "content_type", "size", "created_at")
    readonly_fields = fields

    @admin.display(description="file", ordering="filename")
    def shown_name(self, row: AudioFile) -> str:
        return str(row)

    @admin.display(description="size", ordering="size_bytes")
    def size(self, row: AudioFile) -> str:
        return size(row.size_bytes)

    def audio_key_of(self, row: AudioFile) -> str:
        return row.key


@admin.register(TranscriptionDefaults)
class TranscriptionDefaultsAdmin(ReadOnlyAdmin):
    """Changed in the dashboard's settings, where each stage says what it does. Empty: the platform's own."""

    list_display = ("name", "itn", "punctuate", "profanity_filter", "redact", "left_out", "created_at")
    list_filter = (OrganizationFilter,)
    list_select_related = ("organization",)
    search_fields = ("organization__name",)
    fields = ("organization", "itn", "punctuate", "profanity_filter", "redact", "left_out", "created_at")
    readonly_fields = fields

    @admin.display(description="organisation", ordering="organization__name")
    def name(self, row: TranscriptionDefaults) -> str:
        return row.organization.name

    @admin.display(description="stages left out")
    def left_out(self, row: TranscriptionDefaults) -> str:
        return ", ".join(row.disable) or "–"
