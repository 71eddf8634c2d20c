"""/api/v1/tts/…"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common import errors, storage
from common.api import JsonView, paginated, paginated_schema
from common.serializers import LongTextField, StrictSerializer, validated
from common.streaming import in_thread
from jobs.api import (
    JOB_FILTERS,
    AsyncSerializer,
    BatchSummarySerializer,
    JobFieldsSerializer,
    accepted,
    batch_state,
    item_error,
    job_filters,
)
from jobs.idempotency import JobStream, idempotent
from jobs.models import JobStatus
from ml import audio
from ml import tts as engine
from ml.audio.loudness import LEAST_LUFS, MOST_LUFS
from ml.tts import timeline
from ml.types import MOST_VOICE_CHARACTERS, SynthesisOptions, Voice
from tts import selectors, services
from tts.defaults import services as defaults
from tts.defaults.models import SpeechDefaults
from tts.lexicons.api import EntrySerializer
from tts.models import TtsJob
from tts.services import SynthesisRequest
from tts.voices import selectors as voices
from tts.voices import services as voice_services
from tts.voices.api import CLONE, VoiceSerializer, described

READ = Access(scope="tts")
RUN = Access(role=Role.DEVELOPER, scope="tts")
FORMATS = tuple(sorted(audio.CONTENT_TYPES))


class LexiconField(serializers.ListField):
    """Ids of lexicons, and entries of the request's own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            child=serializers.JSONField(),
            max_length=500,
            help_text="Ids of /tts/lexicons and entries {grapheme, alias or ipa, …}; [] for none, not even defaults.",
            **kwargs,
        )

    def to_internal_value(self, data: Any) -> list[str | dict[str, Any]]:
        return [self._item(item) for item in super().to_internal_value(data)]

    def _item(self, item: Any) -> str | dict[str, Any]:
        if isinstance(item, dict):
            return dict(validated(EntrySerializer, item))
        return str(serializers.UUIDField().run_validation(item))


class SpeechOptionsSerializer(StrictSerializer):
    """How to speak plain text."""

    language = serializers.CharField(max_length=35, required=False, help_text="BCP-47; default en-US.")
    voice = serializers.CharField(
        max_length=MOST_VOICE_CHARACTERS,
        required=False,
        help_text="An id of GET /tts/voices, or a mix of up to eight of one model that have `voice_mixing`, with"
        " weights where they are wanted: `vctk:p225(2)+p226`.",
    )
    model = serializers.CharField(max_length=100, required=False)
    format = serializers.ChoiceField(choices=FORMATS, required=False, help_text="Default wav.")
    sample_rate = serializers.IntegerField(min_value=8000, max_value=48000, required=False, help_text="Hertz.")
    speed = serializers.FloatField(min_value=0.25, max_value=4.0, required=False, help_text="Default 1.")
    pitch = serializers.FloatField(min_value=-12.0, max_value=12.0, required=False, help_text="Semitones; default 0.")
    volume = serializers.FloatField(min_value=0.0, max_value=2.0, required=False, help_text="Linear gain; default 1.")


class SynthesisOptionsSerializer(SpeechOptionsSerializer):
    """How to speak; the same for one text, for a batch's defaults and for each of its items."""

    ssml = serializers.BooleanField(required=False, help_text="The text is SSML 1.1; see docs/ssml.md.")
    normalize = serializers.BooleanField(
        required=False,
        allow_null=True,
        help_text="Write out numbers, dates, addresses and signs. Default: for voices that know nothing of them.",
    )
    timestamps = serializers.BooleanField(required=False, help_text="Tell when words and sentences are heard.")
    trim_silence = serializers.BooleanField(required=False, help_text="No silence at the beginning and the end.")
    loudness = serializers.FloatField(
        min_value=LEAST_LUFS,
        max_value=MOST_LUFS,
        required=False,
        allow_null=True,
        help_text="LUFS (EBU R128), e.g. -16 or -23, with a true peak of -1 dBTP at most; null: as the voice speaks.",
    )
    verify = serializers.BooleanField(required=False, help_text="Let a recogniser hear it: `verification` of the job.")
    lexicon = LexiconField(required=False)


class SynthesizeSerializer(AsyncSerializer, SynthesisOptionsSerializer):
    text = LongTextField(help_text="Up to TTS_MAX_CHARACTERS characters.")
    stream = serializers.BooleanField(required=False, default=False, help_text="Answer with audio as it is made.")


class BatchItemSerializer(SynthesisOptionsSerializer):
    text = LongTextField()
    custom_id = serializers.CharField(max_length=100, required=False, help_text="Comes back with the item.")


class BatchSerializer(AsyncSerializer, SynthesisOptionsSerializer):
    items = serializers.ListField(
        child=serializers.DictField(), allow_empty=False, help_text="Each an item with `text`; see BatchItem."
    )


class TtsJobSerializer(JobFieldsSerializer):
    audio_url = serializers.SerializerMethodField(help_text="Signed, expires, needs no header; null without audio.")
    warnings = serializers.SerializerMethodField(help_text="What of the request could not be done.")
    lexicon_applied = serializers.SerializerMethodField(help_text="Ids of the lexicons that held.")
    verification = serializers.JSONField(allow_null=True, help_text="With `verify`: `{wer, text, model}`.")

    class Meta:
        model = TtsJob
        fields: tuple[str, ...] = (
            "job_id", "status", "text", "characters", "language", "voice", "model", "format", "sample_rate",
            "duration_seconds", "audio_url", "warnings", "lexicon_applied", "verification",
            "progress", "stage", "batch_id", "custom_id", "created_at", "started_at",
            "finished_at", "error", "timings",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_audio_url(self, job: TtsJob) -> str | None:
        request: HttpRequest = self.context["request"]
        playable = job.status == JobStatus.SUCCEEDED and job.audio_key
        return storage.signed_url(request, job.audio_key) if playable else None

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_warnings(self, job: TtsJob) -> list[str]:
        return job.warnings or []

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_lexicon_applied(self, job: TtsJob) -> list[str]:
        return (job.options.get("lexicon") or {}).get("ids", [])


class TimestampsSerializer(serializers.Serializer):
    source = serializers.ChoiceField(  # type: ignore[assignment]  # DRF takes declared fields off the class
        choices=["engine", "estimated", "mixed"], allow_null=True, help_text="Whose word the times are."
    )
    words = serializers.ListField(child=serializers.DictField(), help_text="{word, start, end}; seconds.")
    sentences = serializers.ListField(child=serializers.DictField(), help_text="{text, start, end}.")
    marks = serializers.ListField(child=serializers.DictField(), help_text="{name, time} of each <mark>.")


class TtsJobDetailSerializer(TtsJobSerializer):
    """One job, with what would be much in a list."""

    timestamps = serializers.SerializerMethodField(help_text="With `timestamps`, or where the SSML has marks.")

    class Meta(TtsJobSerializer.Meta):
        fields = (*TtsJobSerializer.Meta.fields, "timestamps")
        read_only_fields = fields

    @extend_schema_field(TimestampsSerializer(allow_null=True))
    def get_timestamps(self, job: TtsJob) -> dict[str, Any] | None:
        return timeline.as_json(job.timestamps) if job.timestamps else None


class SynthesizeView(JsonView):
    access: ClassVar = {"POST": RUN}

    @extend_schema(
        request=SynthesizeSerializer,
        responses={
            (200, "application/json"): TtsJobDetailSerializer,
            (200, "audio/*"): bytes,
            (202, "application/json"): TtsJobDetailSerializer,
        },
    )
    @idempotent
    def post(self, request: Request) -> Response | StreamingHttpResponse:
        """Speak a text: a finished job, or with `stream: true` the audio itself as it is made."""
        fields = validated(SynthesizeSerializer, request.data)
        stream, queued = fields.pop("stream"), fields.pop("queued")
        row = defaults.get_defaults(actor=self.actor)
        synthesis = synthesis_request(defaults.with_defaults(row, fields))
        if queued and stream:
            raise errors.InvalidRequest("A job is either streamed or queued.", param="async", code="async_and_stream")
        if queued:
            job = services.submit(actor=self.actor, request=synthesis)
            body = TtsJobDetailSerializer(job, context={"request": request}).data
            return accepted(body, f"/api/v1/tts/jobs/{job.id}")
        if not stream:
            job = services.synthesize(actor=self.actor, request=synthesis, cancel=self.client_left)
            return Response(TtsJobDetailSerializer(job, context={"request": request}).data)
        job, chunks = services.synthesize_stream(actor=self.actor, request=synthesis)
        response = JobStream(job, in_thread(chunks), content_type=audio.CONTENT_TYPES[synthesis.format])
        response["X-Sample-Rate"] = str(job.sample_rate)
        response["X-Accel-Buffering"] = "no"  # nginx would hold the first audio back
        return response


class SynthesizeBatchView(JsonView):
    access: ClassVar = {"POST": RUN}

    class SynthesisBatchSerializer(serializers.Serializer):
        batch_id = serializers.UUIDField()
        items = serializers.ListField(
            child=serializers.DictField(), help_text="In order: a job, or `{custom_id, error}`."
        )

    @extend_schema(request=BatchSerializer, responses={200: SynthesisBatchSerializer, 202: SynthesisBatchSerializer})
    @idempotent
    def post(self, request: Request) -> Response:
        """Speak up to 100 texts; one that is wrong does not stop the others."""
        shared = validated(BatchSerializer, request.data)
        items: list[dict[str, Any]] = shared.pop("items")
        queued = shared.pop("queued")
        if len(items) > settings.TTS_MAX_BATCH_ITEMS:
            raise errors.InvalidRequest(
                f"A batch holds at most {settings.TTS_MAX_BATCH_ITEMS} items.", code="batch_too_large", param="items"
            )
        row = defaults.get_defaults(actor=self.actor)
        requests = [_batch_item(row, shared, item) for item in items]
        if queued:
            batch_id, outcomes = services.submit_batch(actor=self.actor, requests=requests)
        else:
            batch_id, outcomes = services.synthesize_batch(actor=self.actor, requests=requests, cancel=self.client_left)
        answers = [
            TtsJobSerializer(outcome, context={"request": request}).data
            if isinstance(outcome, TtsJob)
            else {"custom_id": item.get("custom_id"), "error": item_error(outcome)}
            for item, outcome in zip(items, outcomes, strict=True)
        ]
        body = {"batch_id": str(batch_id), "items": answers}
        return accepted(body, f"/api/v1/tts/batches/{batch_id}") if queued else Response(body)


class TtsJobListView(JsonView):
    access: ClassVar = {"GET": READ}

    @extend_schema(
        **paginated_schema(TtsJobSerializer, *JOB_FILTERS),
        operation_id="tts_jobs_list",
    )
    def get(self, request: Request) -> Response:
        """The organisation's synthesis jobs, newest first."""
        jobs = selectors.list_jobs(actor=self.actor, **job_filters(request))
        return paginated(self, jobs, TtsJobSerializer, request=request)


class TtsBatchView(JsonView):
    access: ClassVar = {"GET": READ}

    class TtsBatchStateSerializer(BatchSummarySerializer):
        items = TtsJobSerializer(many=True)

    @extend_schema(responses={200: TtsBatchStateSerializer})
    def get(self, request: Request, batch_id: uuid.UUID) -> Response:
        """A batch: how far it is, and its jobs as they were begun."""
        jobs = selectors.get_batch(actor=self.actor, batch_id=batch_id)
        items = TtsJobSerializer(jobs, many=True, context={"request": request}).data
        return Response(batch_state(batch_id, jobs, items))


class TtsJobView(JsonView):
    access: ClassVar = {"GET": READ, "DELETE": RUN}

    @extend_schema(responses={200: TtsJobDetailSerializer})
    def get(self, request: Request, job_id: uuid.UUID) -> Response:
        """One synthesis job."""
        job = selectors.get_job(actor=self.actor, job_id=job_id)
        return Response(TtsJobDetailSerializer(job, context={"request": request}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, job_id: uuid.UUID) -> Response:
        """Cancel a job that runs; delete a finished one and its audio."""
        services.delete_job(actor=self.actor, job=selectors.get_job(actor=self.actor, job_id=job_id))
        return Response(status=204)


class TtsJobRetryView(JsonView):
    access: ClassVar = {"POST": RUN}

    @extend_schema(request=None, responses={202: TtsJobSerializer})
    @idempotent
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Queue the text of a failed or cancelled job again, as a new job."""
        job = services.retry(actor=self.actor, job=selectors.get_job(actor=self.actor, job_id=job_id))
        body = TtsJobSerializer(job, context={"request": request}).data
        return accepted(body, f"/api/v1/tts/jobs/{job.id}")


# ── Voices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class VariantSerializer(serializers.Serializer):
    id = serializers.CharField(help_text="Append it to the id of an espeak voice after a plus: `espeak:en-us+f2`.")
    name = serializers.CharField()
    gender = serializers.ChoiceField(choices=["male", "female", "neutral"], allow_null=True)


class VoiceListView(JsonView):
    access: ClassVar = {"GET": READ}

    class VoicesSerializer(serializers.Serializer):
        voices = VoiceSerializer(many=True)
        variants = VariantSerializer(many=True)

    class QuerySerializer(StrictSerializer):
        language = serializers.CharField(max_length=35, required=False)

    @extend_schema(
        parameters=[OpenApiParameter("language", str, description="Only these, e.g. `en` or `en-GB`.")],
        responses={200: VoicesSerializer},
        operation_id="tts_voices_list",
    )
    def get(self, request: Request) -> Response:
        """Your own voices, all that can speak now, and the variants that each espeak voice can be given."""
        query = validated(self.QuerySerializer, request.query_params)
        language = query.get("language")
        own = voices.list_voices(actor=self.actor, language=language)
        return Response(
            {
                "voices": [
                    *(described(voice, request) for voice in own),
                    *(_voice(voice) for voice in selectors.list_voices(language=language)),
                ],
                "variants": [asdict(variant) for variant in selectors.list_variants()],
            }
        )


class VoiceView(JsonView):
    access: ClassVar = {"GET": READ, "DELETE": CLONE}

    @extend_schema(responses={200: VoiceSerializer})
    def get(self, request: Request, voice_id: str) -> Response:
        """One voice."""
        if voices.is_own_id(voice_id):
            return Response(described(voices.get_voice(actor=self.actor, voice_id=voice_id), request))
        return Response(_voice(selectors.get_voice(voice_id=voice_id)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, voice_id: str) -> Response:
        """Delete a voice of your own: its sample, what was learned from it, and its consent."""
        voice_services.delete_voice(actor=self.actor, voice=voices.get_voice(actor=self.actor, voice_id=voice_id))
        return Response(status=204)


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


_OF_THE_REQUEST = ("text", "format", "custom_id", "loudness", "verify", "lexicon")


def synthesis_request(fields: dict[str, Any]) -> SynthesisRequest:
    fields = dict(fields)
    given = frozenset(fields)
    request = {name: fields.pop(name) for name in _OF_THE_REQUEST if name in fields}
    return SynthesisRequest(options=SynthesisOptions(**fields), given=given, **request)


def _batch_item(
    row: SpeechDefaults | None, shared: dict[str, Any], item: dict[str, Any]
) -> SynthesisRequest | errors.ApiError:
    serializer = BatchItemSerializer(data=item)
    if serializer.is_valid():
        return synthesis_request(defaults.with_defaults(row, {**shared, **serializer.validated_data}))
    param, details = next(iter(serializer.errors.items()))
    return errors.InvalidRequest(str(details[0]), code=f"parameter_{details[0].code}", param=param)


def _voice(voice: Voice) -> dict[str, Any]:
    return {
        "id": voice.id,
        "name": voice.name,
        "language": voice.language,
        "gender": voice.gender,
        "engine": voice.engine,
        "model": voice.model,
        "kind": "builtin",
        "status": "ready",
        "preview_url": None,
        "voice_mixing": engine.mixes(voice),
    }
