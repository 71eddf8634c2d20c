"""The names under which an organisation's OpenAI clients ask for models and voices."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import OrganizationOwned
from ml.types import MOST_VOICE_CHARACTERS


class AliasKind(models.TextChoices):
    STT = "stt", "Model that transcribes"
    TTS = "tts", "Model that speaks"
    VOICE = "voice", "Voice"


class OpenAIAlias(OrganizationOwned):
    """One name and what it stands for. It goes before the platform's names of the same kind."""

    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="openai_aliases")
    kind = models.CharField(max_length=8, choices=AliasKind.choices)
    name = models.CharField(max_length=100, help_text="What clients send, such as whisper-1 or alloy.")
    target = models.CharField(
        max_length=MOST_VOICE_CHARACTERS,
        blank=True,
        help_text="The name of a model, or the id of a voice. Empty, for a model: whichever serves the language.",
    )

    class Meta:
        verbose_name = "OpenAI alias"
        verbose_name_plural = "OpenAI aliases"
        ordering: ClassVar = ["kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "kind", "name"], name="openai_alias_once")
        ]

    def __str__(self) -> str:
        return f"{self.name} → {self.target or 'routed by language'}"
