"""POST /v1/audio/transcriptions and /v1/audio/translations"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, ClassVar

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Actor
from common import errors
from common.serializers import validated
from common.streaming import in_thread
from jobs.idempotency import Answer, JobStream, idempotent
from ml.types import TranscriptionOptions
from openai_api import names, rendering, sse
from openai_api.base import OpenAIView, plain_text, unbuffered
from openai_api.known_speakers import enrolled
from openai_api.models import AliasKind
from openai_api.transcript_events import LiveEvents, Narrator, events_of
from openai_api.transcription_fields import DIARIZED, VERBOSE, TranscriptionSerializer, TranslationSerializer
from stt import selectors, services
from stt.api import RUN, StageOptionsSerializer
from stt.models import SttJob
from stt.streaming import transcribe_stream


class OpenAITranscriptionSerializer(serializers.Serializer):
    """`json`, `verbose_json` and `diarized_json`: each has `text`, and what is its own."""

    text = serializers.CharField()
    usage = serializers.DictField(required=False, help_text="`{type: duration, seconds}`")
    logprobs = serializers.ListField(child=serializers.DictField(), required=False)
    languages = serializers.ListField(child=serializers.DictField(), required=False)
    task = serializers.ChoiceField(choices=["transcribe", "translate"], required=False)
    language = serializers.CharField(required=False, help_text="An English name, in lower case.")
    duration = serializers.FloatField(required=False)
    segments = serializers.ListField(child=serializers.DictField(), required=False)
    words = serializers.ListField(child=serializers.DictField(), required=False, help_text="`{word, start, end}`")


_OWN_OPTIONS = frozenset(StageOptionsSerializer().fields) - {"disable", "enable"}
_FORM_BYTES = 1024 * 1024 + settings.DATA_UPLOAD_MAX_MEMORY_SIZE  # the fields beside the file
_NAMES_OF_LANGUAGES = "gpt-transcribe"  # the one model whose answers have `languages`


class TranscriptionView(OpenAIView):
    access: ClassVar = {"POST": RUN}
    parser_classes = (MultiPartParser,)
    serializer: ClassVar[type[serializers.Serializer]] = TranscriptionSerializer
    task: ClassVar[str] = "transcribe"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses a recording that is too large before it is received, where its length is told."""
        super().initial(request, *args, **kwargs)
        length, limit = int(request.META.get("CONTENT_LENGTH") or 0), settings.STT_MAX_UPLOAD_BYTES
        if length > limit + _FORM_BYTES:
            raise errors.TooLarge(
                f"The request has {length:,} bytes; the limit for a file is {limit:,}. Send it with async=true.",
                code="file_too_large",
                param="file",
            )

    @extend_schema(
        request={"multipart/form-data": TranscriptionSerializer},
        responses={
            (200, "application/json"): OpenAITranscriptionSerializer,
            (200, "text/plain"): str,
            (200, "text/event-stream"): str,
        },
        operation_id="openai_transcription",
    )
    @idempotent
    def post(self, request: Request) -> Answer:
        """Transcribe a recording; with `stream`, in events while it is being heard."""
        fields = validated(self.serializer, request.data)
        recording = {
            "actor": self.actor,
            "upload": fields["file"],
            "options": self._options(fields),
            "cancel": self.client_left,
        }
        if fields.get("stream"):
            stream = transcribe_stream(**recording)
            return _event_stream(stream.job, LiveEvents(stream, _narrator(fields)))
        return _answer(request, services.transcribe(**recording), fields)

    def _options(self, fields: dict[str, Any]) -> TranscriptionOptions:
        options = _options(self.actor, fields, self.task)
        known = fields.get("known_speaker_names", []), fields.get("known_speaker_references", [])
        return replace(options, known_speakers=enrolled(*known, cancel=self.client_left))

    def replay(self, request: Request, job_id: uuid.UUID) -> Answer:
        """The same answer again, from what is kept."""
        fields = validated(self.serializer, request.data)
        job = selectors.get_job(actor=self.actor, job_id=job_id)
        if fields.get("stream"):
            events = events_of(rendering.transcript_of(job), _narrator(fields))
            return _event_stream(job, in_thread(events))
        return _answer(request, job, fields)


class TranslationView(TranscriptionView):
    serializer = TranslationSerializer
    task = "translate"

    @extend_schema(
        request={"multipart/form-data": TranslationSerializer},
        responses={(200, "application/json"): OpenAITranscriptionSerializer, (200, "text/plain"): str},
        operation_id="openai_translation",
    )
    def post(self, request: Request) -> Answer:
        """Transcribe a recording into English, whatever its language."""
        return super().post(request)


def _options(actor: Actor, fields: dict[str, Any], task: str) -> TranscriptionOptions:
    """OpenAI's parameters and the platform's own, as the platform has them."""
    options = {name: value for name, value in fields.items() if name in _OWN_OPTIONS}
    languages = fields.get("languages", [])
    language = fields.get("language") or (languages[0] if len(languages) == 1 else None)
    if language:
        options["language_hint"] = language
    for name in ("disable", "enable"):
        if name in fields:
            options[name] = tuple(part.strip() for part in fields[name].split(",") if part.strip())
    options["hotwords"] = (*fields.get("hotwords", ()), *fields.get("keywords", ()))
    options["diarize"] = options.get("diarize", False) or fields["response_format"] == DIARIZED
    options["model"] = names.resolve_model(actor=actor, kind=AliasKind.STT, name=fields["model"])
    return services.with_defaults(actor=actor, options={**options, "task": task})


def _narrator(fields: dict[str, Any]) -> Narrator:
    return Narrator(
        diarized=fields["response_format"] == DIARIZED,
        with_logprobs=bool(fields["include"]),
        with_languages=fields["model"] == _NAMES_OF_LANGUAGES,
        known_speakers=fields.get("known_speaker_names", ()),
    )


def _event_stream(job: SttJob, events: AsyncIterator[bytes]) -> JobStream:
    response = JobStream(job, events, content_type=sse.CONTENT_TYPE)
    unbuffered(response)
    return response


def _answer(request: Request, job: SttJob, fields: dict[str, Any]) -> Response:
    transcript, chosen = rendering.transcript_of(job), fields["response_format"]
    if chosen in rendering.TEXTS:
        response = plain_text(request, rendering.TEXTS[chosen](transcript))
    elif chosen == VERBOSE:
        granularities = fields.get("timestamp_granularities", ["segment"])
        response = Response(
            rendering.to_verbose_json(transcript, granularities=granularities, temperature=fields["temperature"])
        )
    elif chosen == DIARIZED:
        response = Response(rendering.to_diarized_json(transcript, known=fields.get("known_speaker_names", ())))
    else:
        logprobs, languages = bool(fields.get("include")), fields["model"] == _NAMES_OF_LANGUAGES
        response = Response(rendering.to_json(transcript, with_logprobs=logprobs, with_languages=languages))
    response["X-Job-ID"] = str(job.id)
    return response
