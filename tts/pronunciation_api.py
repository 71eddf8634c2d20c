"""When words of a job are heard, and how a text is pronounced."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from common.api import JsonView
from common.serializers import StrictSerializer, validated
from jobs.idempotency import idempotent
from ml.tts import timeline
from tts import selectors, services
from tts.api import (
    READ,
    RUN,
    LexiconField,
    SpeechOptionsSerializer,
    TimestampsSerializer,
    TtsJobSerializer,
    synthesis_request,
)
from tts.defaults import services as defaults
from tts.lexicons.api import EntrySerializer


class TtsTimestampsView(JsonView):
    access: ClassVar = {"GET": READ}

    class FormatSerializer(StrictSerializer):
        format = serializers.ChoiceField(choices=timeline.FORMATS, default="json")

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=list(timeline.FORMATS), description="Default json.")],
        responses={
            (200, "application/json"): TimestampsSerializer,
            (200, "application/x-subrip"): str,
            (200, "text/vtt"): str,
        },
    )
    def get(self, request: Request, job_id: uuid.UUID) -> HttpResponseBase:
        """When the words, sentences and marks of a job are heard, also as subtitles."""
        format_name = validated(self.FormatSerializer, request.query_params)["format"]
        told = selectors.get_timestamps(actor=self.actor, job_id=job_id)
        if format_name == "json":
            return Response(timeline.as_json(told))
        content_type = {"srt": "application/x-subrip", "vtt": "text/vtt"}[format_name]
        return HttpResponse(timeline.rendered(told, format_name), content_type=f"{content_type}; charset=utf-8")


class PreviewView(JsonView):
    access: ClassVar = {"POST": RUN}

    class PreviewSerializer(SpeechOptionsSerializer):
        text = serializers.CharField(max_length=200, help_text="A word or a sentence.")
        lexicon = LexiconField(required=False)

    class PronunciationSerializer(serializers.Serializer):
        phonemes = serializers.CharField(help_text="IPA.")
        entries = EntrySerializer(many=True, help_text="Those that applied.")
        job = TtsJobSerializer()

    @extend_schema(request=PreviewSerializer, responses={200: PronunciationSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """How a text is pronounced: its phonemes, and a job with its audio."""
        row = defaults.get_defaults(actor=self.actor)
        synthesis = synthesis_request(defaults.with_defaults(row, validated(self.PreviewSerializer, request.data)))
        job, phonemes, entries = services.preview(actor=self.actor, request=synthesis, cancel=self.client_left)
        spoken = TtsJobSerializer(job, context={"request": request}).data
        body = {"phonemes": phonemes, "entries": [asdict(entry) for entry in entries], "job": spoken}
        return Response(body)
