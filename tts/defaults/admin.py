"""What an organisation's texts are spoken with where a request says nothing."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.actors import Actor
from common.admin import OrganizationFilter, ServiceAdmin
from ml import audio
from tts.defaults import services
from tts.defaults.models import SpeechDefaults


class SpeechDefaultsForm(forms.ModelForm):
    format = forms.ChoiceField(
        choices=[("", "wav, unless a request says otherwise"), *((name, name) for name in sorted(audio.CONTENT_TYPES))],
        required=False,
    )

    class Meta:
        model = SpeechDefaults
        fields = ("organization", "voice", "language", "format")


@admin.register(SpeechDefaults)
class SpeechDefaultsAdmin(ServiceAdmin):
    """No deletion: an empty field is the platform's own."""

    offers = frozenset({"add", "change"})
    form = SpeechDefaultsForm
    list_display = ("organization", "voice", "language", "format")
    list_filter = (OrganizationFilter, "format")
    list_select_related = ("organization",)
    search_fields = ("organization__name", "voice", "language")
    fields = SpeechDefaultsForm.Meta.fields

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """The organisation is the row's only name."""
        return list(self.list_display)

    def get_readonly_fields(self, request: HttpRequest, obj: SpeechDefaults | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization",)

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> SpeechDefaults:
        return services.save_defaults(actor=actor, changes=fields)

    def change(self, actor: Actor, row: SpeechDefaults, changes: dict[str, Any]) -> SpeechDefaults:
        return services.save_defaults(actor=actor, changes=changes)
