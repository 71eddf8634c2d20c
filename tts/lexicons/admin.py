"""Lexicons and voices' defaults, as owners look after them: services write."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.actors import Actor
from common.admin import OrganizationFilter, ServiceAdmin, owner_of, status_mark
from ml.audio.loudness import LEAST_LUFS, MOST_LUFS
from tts.lexicons import services
from tts.lexicons.models import LANGUAGE_TAG, PronunciationLexicon, VoiceDefaults

SHOWN_ENTRIES = 200


class LexiconForm(forms.ModelForm):
    language = forms.RegexField(
        LANGUAGE_TAG, max_length=35, required=False, help_text="BCP-47, for entries without one; empty: any."
    )

    class Meta:
        model = PronunciationLexicon
        fields = ("organization", "name", "language", "is_default")


@admin.register(PronunciationLexicon)
class LexiconAdmin(ServiceAdmin):
    """Entries are read here, and written in the dashboard, where each can be heard, or imported from a file."""

    offers = frozenset({"add", "change", "delete"})
    form = LexiconForm
    list_display = ("name", "organization", "shown_language", "applies", "entry_count", "updated_at")
    list_filter = (OrganizationFilter, "is_default", "updated_at")
    list_select_related = ("organization",)
    search_fields = ("name", "language", "entries__icontains")
    date_hierarchy = "created_at"
    actions = ("apply_always", "apply_when_named")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PronunciationLexicon]:
        """Of a list without the entries, which may be thousands each."""
        rows = super().get_queryset(request)
        alone = request.resolver_match and "object_id" in request.resolver_match.kwargs
        return rows if alone else rows.defer("entries")

    def get_fields(self, request: HttpRequest, obj: PronunciationLexicon | None = None) -> tuple[str, ...]:
        shown = () if obj is None else ("entry_count", "shown_entries", "created_at", "updated_at")
        return (*LexiconForm.Meta.fields, *shown)

    def get_readonly_fields(self, request: HttpRequest, obj: PronunciationLexicon | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "entry_count", "shown_entries", "created_at", "updated_at")

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> PronunciationLexicon:
        return services.create_lexicon(actor=actor, **fields)

    def change(self, actor: Actor, row: PronunciationLexicon, changes: dict[str, Any]) -> PronunciationLexicon:
        return services.update_lexicon(actor=actor, lexicon=row, changes=changes)

    def delete(self, actor: Actor, row: PronunciationLexicon) -> None:
        services.delete_lexicon(actor=actor, lexicon=row)

    @admin.action(description="Apply selected lexicons to every text", permissions=["change"])
    def apply_always(self, request: HttpRequest, queryset: QuerySet[PronunciationLexicon]) -> None:
        self._apply(request, queryset.filter(is_default=False), True)

    @admin.action(description="Apply selected lexicons only where they are named", permissions=["change"])
    def apply_when_named(self, request: HttpRequest, queryset: QuerySet[PronunciationLexicon]) -> None:
        self._apply(request, queryset.filter(is_default=True), False)

    def _apply(self, request: HttpRequest, rows: QuerySet[PronunciationLexicon], always: bool) -> None:
        for row in rows.select_related("organization"):
            actor = owner_of(request, row.organization)
            services.update_lexicon(actor=actor, lexicon=row, changes={"is_default": always})
            self.log_action(request, row, ["is default"])
        self.message_user(request, "The selected lexicons were changed.", messages.SUCCESS)

    @admin.display(description="language", ordering="language")
    def shown_language(self, row: PronunciationLexicon) -> str:
        return row.language or "any"

    @admin.display(description="applies", ordering="is_default")
    def applies(self, row: PronunciationLexicon) -> SafeString:
        return status_mark("active", "To every text") if row.is_default else status_mark("inactive", "Where named")

    @admin.display(description="entries")
    def shown_entries(self, row: PronunciationLexicon) -> SafeString | str:
        if not row.entries:
            return "–"
        lines = format_html_join(
            "", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", map(_line, row.entries[:SHOWN_ENTRIES])
        )
        more = max(0, len(row.entries) - SHOWN_ENTRIES)
        return format_html(
            "<table><thead><tr><th>Written</th><th>Said</th><th>Holds for</th></tr></thead><tbody>{}</tbody></table>{}",
            lines, f"and {more:,} more" if more else "",
        )  # fmt: skip


def _line(entry: dict[str, Any]) -> tuple[str, str, str]:
    said = entry.get("alias") or f"/{entry.get('ipa', '')}/"
    case = "this case" if entry.get("case_sensitive") else ""
    return entry["grapheme"], said, ", ".join(filter(None, (entry.get("language"), case))) or "–"


# ── Voices' defaults ────────────────────────────────────────────────────────────────────────────────────────────────


_VALUES = ("speed", "pitch", "volume", "loudness", "style")


class VoiceDefaultsForm(forms.ModelForm):
    speed = forms.FloatField(min_value=0.25, max_value=4.0, required=False, help_text="Times normal.")
    pitch = forms.FloatField(min_value=-12.0, max_value=12.0, required=False, help_text="Semitones.")
    volume = forms.FloatField(min_value=0.0, max_value=2.0, required=False, help_text="Linear gain.")
    loudness = forms.FloatField(min_value=LEAST_LUFS, max_value=MOST_LUFS, required=False, help_text="LUFS.")

    class Meta:
        model = VoiceDefaults
        fields = ("organization", "voice", *_VALUES)


@admin.register(VoiceDefaults)
class VoiceDefaultsAdmin(ServiceAdmin):
    """What is left empty is the platform's own."""

    offers = frozenset({"add", "change", "delete"})
    form = VoiceDefaultsForm
    list_display = ("voice", "organization", "speed", "pitch", "volume", "loudness", "style", "updated_at")
    list_filter = (OrganizationFilter, "updated_at")
    list_select_related = ("organization",)
    search_fields = ("voice", "style")
    date_hierarchy = "created_at"
    fields = VoiceDefaultsForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: VoiceDefaults | None = None) -> tuple[str, ...]:
        return () if obj is None else ("organization", "voice")

    def create(self, request: HttpRequest, actor: Actor, fields: dict[str, Any]) -> VoiceDefaults:
        return self._set(actor, fields.pop("voice"), fields)

    def change(self, actor: Actor, row: VoiceDefaults, changes: dict[str, Any]) -> VoiceDefaults:
        return self._set(actor, row.voice, {name: getattr(row, name) for name in _VALUES} | changes)

    def delete(self, actor: Actor, row: VoiceDefaults) -> None:
        services.delete_voice_defaults(actor=actor, defaults=row)

    def _set(self, actor: Actor, voice_id: str, fields: dict[str, Any]) -> VoiceDefaults:
        """A service writes all of a voice's defaults at once."""
        values = {name: value for name, value in fields.items() if value not in (None, "")}
        return services.set_voice_defaults(actor=actor, voice_id=voice_id, values=values)
