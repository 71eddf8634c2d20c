"""/api/v1/tts/defaults"""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common.api import JsonView
from common.serializers import StrictSerializer, validated
from ml import audio
from ml.types import MOST_VOICE_CHARACTERS
from tts.defaults import services
from tts.defaults.models import SpeechDefaults


class SpeechDefaultsSerializer(StrictSerializer):
    voice = serializers.CharField(
        max_length=MOST_VOICE_CHARACTERS, required=False, allow_blank=True, help_text="Empty: by language."
    )
    language = serializers.CharField(max_length=35, required=False, allow_blank=True, help_text="Empty: en-US.")
    format = serializers.ChoiceField(
        choices=sorted(audio.CONTENT_TYPES), required=False, allow_blank=True, help_text="Empty: wav."
    )


class SpeechDefaultsView(JsonView):
    access: ClassVar = {"GET": Access(), "PATCH": Access(role=Role.ADMIN)}

    @extend_schema(responses={200: SpeechDefaultsSerializer})
    def get(self, request: Request) -> Response:
        """What the organisation's texts are spoken with where a request says nothing; empty: the platform's own."""
        row = services.get_defaults(actor=self.actor) or SpeechDefaults()
        return Response(SpeechDefaultsSerializer(row).data)

    @extend_schema(request=SpeechDefaultsSerializer, responses={200: SpeechDefaultsSerializer})
    def patch(self, request: Request) -> Response:
        """Change the organisation's defaults."""
        changes = validated(SpeechDefaultsSerializer, request.data)
        return Response(SpeechDefaultsSerializer(services.save_defaults(actor=self.actor, changes=changes)).data)
