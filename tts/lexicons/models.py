"""How an organisation wants its words pronounced."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import OrganizationOwned
from ml.types import MOST_VOICE_CHARACTERS

LANGUAGE_TAG = r"\A[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\Z"


class PronunciationLexicon(OrganizationOwned):
    """Entries under a name. `entries` are read and written whole, so they are one value rather than rows."""

    name = models.CharField(max_length=100)
    language = models.CharField(max_length=35, blank=True, help_text="BCP-47, for entries without one; empty: any.")
    is_default = models.BooleanField(default=False, help_text="Applied to every synthesis that names no lexicon.")
    entries = models.JSONField(default=list, help_text="{grapheme, alias or ipa, language, case_sensitive}, each.")
    entry_count = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "tts"
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "name"], name="tts_lexicon_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class VoiceDefaults(OrganizationOwned):
    """How an organisation wants a voice to speak where a request says nothing else."""

    voice = models.CharField(max_length=MOST_VOICE_CHARACTERS, help_text="An id of GET /tts/voices.")
    speed = models.FloatField(null=True, blank=True)
    pitch = models.FloatField(null=True, blank=True, help_text="Semitones.")
    volume = models.FloatField(null=True, blank=True, help_text="Linear gain.")
    loudness = models.FloatField(null=True, blank=True, help_text="LUFS.")
    style = models.CharField(max_length=40, blank=True, help_text="A variant of GET /tts/voices, such as f2.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        app_label = "tts"
        verbose_name_plural = "voice defaults"
        ordering: ClassVar = ["voice"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "voice"], name="tts_voice_defaults_once"),
        ]

    def __str__(self) -> str:
        return self.voice
