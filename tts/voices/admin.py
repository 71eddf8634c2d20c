"""The organisations' own voices, and the consents that they rest on."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from common.admin import OrganizationFilter, ScopedInline, status_mark
from common.described import described
from jobs.admin import AudioAdmin
from tts.voices.models import Consent, Voice


class ConsentInline(ScopedInline, admin.StackedInline):
    model = Consent
    fields = (
        "name", "statement", "recorded_by", "address", "created_at", "transcript", "match", "shown_speaker",
        "revoked_at", "revoked_by",
    )  # fmt: skip
    readonly_fields = fields

    @admin.display(description="speaker match")
    def shown_speaker(self, consent: Consent) -> SafeString | str:
        return described(consent.speaker_match)


@admin.register(Voice)
class VoiceAdmin(AudioAdmin):
    """Listening plays the preview, never the recording."""

    list_display = ("name", "state", "organization", "language", "method", "model", "listen", "created_at")
    list_filter = (OrganizationFilter, "status", "method", "created_at")
    list_select_related = ("organization",)
    search_fields = ("name", "language")
    fields = (
        "organization", "name", "state", "listen", "language", "method", "engine", "model", "base_voice",
        "shown_sample", "shown_similarity", "shown_profile", "error_code", "error_message", "attempts", "user",
        "request_id", "created_at", "finished_at",
    )  # fmt: skip
    readonly_fields = fields
    inlines = (ConsentInline,)

    @admin.display(description="status", ordering="status")
    def state(self, voice: Voice) -> SafeString:
        return status_mark(voice.status, voice.get_status_display())

    @admin.display(description="sample")
    def shown_sample(self, voice: Voice) -> SafeString | str:
        return described(voice.sample)

    @admin.display(description="similarity")
    def shown_similarity(self, voice: Voice) -> SafeString | str:
        return described(voice.similarity)

    @admin.display(description="profile")
    def shown_profile(self, voice: Voice) -> SafeString | str:
        return described(voice.profile)

    def audio_key_of(self, row: Voice) -> str:
        return row.preview_key
