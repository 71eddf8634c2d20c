"""Voices of an organisation's own, and the consent that each needs."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from common.models import OrganizationOwned


class VoiceStatus(models.TextChoices):
    TRAINING = "training", "Training"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class Method(models.TextChoices):
    CLONED = "cloned", "Cloned by a model"
    ADAPTED = "adapted", "The embedded voice, adapted"


class Voice(OrganizationOwned):
    """A voice from a recording. Only `tts.voices.services` and `tts.voices.training` write it.

    `attempts` is also the fence: a worker that lost the voice to another writes with an old number, and so nothing.
    """

    name = models.CharField(max_length=100)
    language = models.CharField(max_length=35, help_text="BCP-47.")
    status = models.CharField(max_length=16, choices=VoiceStatus.choices, default=VoiceStatus.TRAINING)
    method = models.CharField(max_length=16, choices=Method.choices, blank=True)
    engine = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=100, blank=True)
    base_voice = models.CharField(max_length=100, blank=True, help_text="The model's voice that it is made from.")
    user = models.ForeignKey("accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    request_id = models.CharField(max_length=128, blank=True)
    sample_key = models.CharField(max_length=255, blank=True)
    latents_key = models.CharField(max_length=255, blank=True, help_text="What was learned, as safetensors.")
    preview_key = models.CharField(max_length=255, blank=True)
    sample = models.JSONField(default=dict, blank=True, help_text="What was found of the recording.")
    profile = models.JSONField(default=dict, blank=True, help_text="What was measured of the speaker.")
    similarity = models.JSONField(default=dict, blank=True, help_text="Of the preview and the sample.")
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often a worker has taken it.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "voice"
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["organization", "-created_at"], name="voice_newest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"

    @property
    def keys(self) -> list[str]:
        """Of what is stored of it, the consent's recording left out."""
        return [key for key in (self.sample_key, self.latents_key, self.preview_key) if key]


class Consent(OrganizationOwned):
    """Who allowed a voice to be made of theirs, in which words, and until when it held. `created_at` is when."""

    voice = models.OneToOneField(Voice, on_delete=models.CASCADE, related_name="consent")
    name = models.CharField(max_length=200, blank=True, help_text="Whose voice it is, as far as it was said.")
    statement = models.TextField()
    recorded_by = models.CharField(max_length=254, help_text="Who handed it in.")
    address = models.GenericIPAddressField(null=True, blank=True)
    audio_key = models.CharField(max_length=255, blank=True, help_text="The consent as it was spoken.")
    transcript = models.TextField(blank=True)
    match = models.FloatField(null=True, blank=True, help_text="Of transcript and statement, 0–1.")
    speaker_match = models.JSONField(default=dict, blank=True, help_text="Of its speaker and the sample's.")
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=254, blank=True)

    class Meta:
        verbose_name = "consent"
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{'revoked' if self.revoked_at else 'given'} {self.revoked_at or self.created_at:%Y-%m-%d %H:%M}"
