"""What an organisation's requests are spoken with where they say nothing."""

from __future__ import annotations

from django.db import models

from common.models import OrganizationOwned
from ml.types import MOST_VOICE_CHARACTERS


class SpeechDefaults(OrganizationOwned):
    """Empty: the platform's own. What belongs to one voice alone is in `VoiceDefaults`.

    Credentials are looked up together with it, and it says whether default lexicons and voices' defaults are worth
    asking for: triggers of the database keep that true, whoever writes (`tts/migrations/0007_speech_flags.py`).
    """

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, related_name="speech_defaults"
    )
    voice = models.CharField(max_length=MOST_VOICE_CHARACTERS, blank=True, help_text="An id of GET /tts/voices.")
    language = models.CharField(max_length=35, blank=True, help_text="BCP-47; for requests without a voice.")
    format = models.CharField(max_length=16, blank=True)

    has_default_lexicons = models.BooleanField(default=False, db_default=False, editable=False)
    has_voice_defaults = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        app_label = "tts"
        verbose_name = "speech defaults"
        verbose_name_plural = "speech defaults"

    def __str__(self) -> str:
        return f"speech defaults of {self.organization}"
