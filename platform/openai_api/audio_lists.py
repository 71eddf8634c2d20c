"""GET /v1/audio/voices and /v1/audio/models: OpenAI has neither, interfaces for several servers ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from openai_api import names, selectors
from openai_api.base import OpenAIView
from openai_api.models import AliasKind
from tts.api import READ
from tts.selectors import list_voices
from tts.voices.selectors import list_spoken


class NamedVoiceSerializer(serializers.Serializer):
    id = serializers.CharField(help_text="What `voice` may be.")
    name = serializers.CharField()


class VoiceNamesView(OpenAIView):
    access: ClassVar = {"GET": READ}

    class VoiceNamesSerializer(serializers.Serializer):
        voices = NamedVoiceSerializer(many=True)

    @extend_schema(responses={200: VoiceNamesSerializer}, operation_id="openai_voices_list")
    def get(self, request: Request) -> Response:
        """The names and ids that `voice` may be."""
        return Response({"voices": [{"id": voice, "name": name} for voice, name in self._voices()]})

    def _voices(self) -> Iterator[tuple[str, str]]:
        own = selectors.list_aliases(actor=self.actor).filter(kind=AliasKind.VOICE).values_list("name", flat=True)
        for name in dict.fromkeys([*own, *names.platform_aliases(AliasKind.VOICE)]):
            yield name, name
        for voice in (*list_spoken(actor=self.actor), *list_voices()):
            yield voice.id, voice.name


class SpeechModelsView(OpenAIView):
    access: ClassVar = {"GET": READ}

    class SpeechModelNamesSerializer(serializers.Serializer):
        class SpeechModelNameSerializer(serializers.Serializer):
            id = serializers.CharField()

        models = SpeechModelNameSerializer(many=True)

    @extend_schema(responses={200: SpeechModelNamesSerializer}, operation_id="openai_speech_models_list")
    def get(self, request: Request) -> Response:
        """The names that `model` may be where something is spoken."""
        speaking = (model for model in selectors.list_models(actor=self.actor) if model.task == AliasKind.TTS)
        return Response({"models": [{"id": model.id} for model in speaking]})
