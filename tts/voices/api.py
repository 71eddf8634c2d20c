"""/api/v1/tts/voice-clone, and what only voices of one's own have: consents, and an end."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common import storage
from common.api import JsonView
from common.serializers import StrictSerializer, validated
from jobs.api import accepted
from jobs.idempotency import idempotent
from ml.tts import languages
from tts.voices import selectors, services
from tts.voices.models import Consent, Voice, VoiceStatus

READ = Access(scope="tts")
CLONE = Access(role=Role.DEVELOPER)


class VoiceCloneSerializer(StrictSerializer):
    audio_sample = serializers.FileField(
        allow_empty_file=True, help_text="5 to 300 seconds of one person's speech, in any common container."
    )
    name = serializers.CharField(max_length=100)
    language = serializers.CharField(max_length=35, required=False, help_text="BCP-47; default en-US.")
    consent = serializers.CharField(
        max_length=4000, help_text="The statement of consent, or JSON `{name, statement}` with whose voice it is."
    )
    consent_audio = serializers.FileField(
        required=False, allow_empty_file=True, help_text="The person reading the statement."
    )


class VoiceErrorSerializer(serializers.Serializer):
    code = serializers.CharField(help_text="`sample_noisy`, `consent_revoked`, …")
    message = serializers.CharField(help_text="What to record differently.")


class VoiceSerializer(serializers.Serializer):
    """A voice; what comes after `preview_url` is of an organisation's own voices alone."""

    id = serializers.CharField()
    name = serializers.CharField()
    language = serializers.CharField(help_text="BCP-47.")
    gender = serializers.ChoiceField(choices=["male", "female", "neutral"], allow_null=True)
    engine = serializers.CharField()
    model = serializers.CharField()
    kind = serializers.ChoiceField(choices=["builtin", "cloned"])
    status = serializers.ChoiceField(choices=VoiceStatus.choices)
    preview_url = serializers.URLField(allow_null=True, help_text="Signed, expires, needs no header.")
    voice_mixing = serializers.BooleanField(help_text="Whether it can be mixed with others of its model: `a(2)+b`.")
    method = serializers.ChoiceField(choices=["cloned", "adapted"], allow_null=True, required=False)
    similarity = serializers.DictField(
        allow_null=True, required=False, help_text="`score` (0–1) of preview and sample, and what it was `told_by`."
    )
    sample = serializers.DictField(allow_null=True, required=False, help_text="What was found of the recording.")
    error = VoiceErrorSerializer(allow_null=True, required=False)
    created_at = serializers.DateTimeField(required=False)
    finished_at = serializers.DateTimeField(allow_null=True, required=False)


class ConsentSerializer(serializers.ModelSerializer):
    voice_id = serializers.UUIDField()
    audio_url = serializers.SerializerMethodField(help_text="Of the spoken consent; null where there is none.")
    match = serializers.FloatField(allow_null=True, help_text="Of what was heard and the statement, 0–1.")
    speaker_match = serializers.DictField(help_text="Whether sample and consent have one speaker, and `told_by` what.")

    class Meta:
        model = Consent
        fields = (
            "voice_id", "name", "statement", "recorded_by", "created_at", "audio_url", "transcript", "match",
            "speaker_match", "revoked_at", "revoked_by",
        )  # fmt: skip
        read_only_fields = fields

    def get_audio_url(self, consent: Consent) -> str | None:
        return storage.signed_url(self.context["request"], consent.audio_key) if consent.audio_key else None


class VoiceCloneView(JsonView):
    access: ClassVar = {"POST": CLONE}
    parser_classes = (MultiPartParser,)

    @extend_schema(request={"multipart/form-data": VoiceCloneSerializer}, responses={202: VoiceSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Make a voice from a recording: cloned by an installed model that can, else the embedded voice, adapted."""
        fields = validated(VoiceCloneSerializer, request.data)
        voice = services.create_voice(
            actor=self.actor,
            sample=fields["audio_sample"],
            name=fields["name"],
            language=fields.get("language", languages.DEFAULT),
            consent=services.read_consent(fields["consent"]),
            consent_audio=fields.get("consent_audio"),
        )
        return accepted(described(voice, request), f"/api/v1/tts/voices/{voice.id}")


class VoiceConsentView(JsonView):
    access: ClassVar = {"GET": READ, "DELETE": CLONE}

    @extend_schema(responses={200: ConsentSerializer})
    def get(self, request: Request, voice_id: str) -> Response:
        """The consent that a voice of your own rests on."""
        voice = selectors.get_voice(actor=self.actor, voice_id=voice_id)
        return Response(ConsentSerializer(voice.consent, context={"request": request}).data)

    @extend_schema(responses={200: ConsentSerializer})
    def delete(self, request: Request, voice_id: str) -> Response:
        """Revoke the consent: the voice is disabled at once, its sample, latents and preview are deleted."""
        voice = selectors.get_voice(actor=self.actor, voice_id=voice_id)
        consent = services.revoke_consent(actor=self.actor, voice=voice)
        return Response(ConsentSerializer(consent, context={"request": request}).data)


def described(voice: Voice, request: HttpRequest | Request) -> dict[str, Any]:
    """A voice of one's own, as `VoiceSerializer` has it."""
    failed = voice.status == VoiceStatus.FAILED
    return {
        "id": str(voice.id),
        "name": voice.name,
        "language": voice.language,
        "gender": None,
        "engine": voice.engine,
        "model": voice.model,
        "kind": "cloned",
        "status": voice.status,
        "preview_url": storage.signed_url(request, voice.preview_key) if voice.preview_key else None,
        "voice_mixing": selectors.can_be_mixed(voice),
        "method": voice.method or None,
        "similarity": voice.similarity or None,
        "sample": voice.sample or None,
        "error": {"code": voice.error_code, "message": voice.error_message} if failed else None,
        "created_at": voice.created_at,
        "finished_at": voice.finished_at,
    }
