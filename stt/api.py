"""/api/v1/stt/…"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from django.utils.datastructures import MultiValueDict
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access, Actor
from accounts.models import Role
from common import errors, storage
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, form_of, validated
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
from jobs.idempotency import idempotent
from ml.stt.diarization import MAX_SPEAKERS
from ml.stt.stages import SWITCHABLE
from ml.types import TranscriptionOptions
from stt import editing, exports, selectors, services
from stt.models import SttJob, Transcription, TranscriptionDefaults

READ = Access(scope="stt")
RUN = Access(role=Role.DEVELOPER, scope="stt")


class OptionalSwitch(serializers.BooleanField):
    """A boolean that a form may leave out: DRF would read that as false."""

    default_empty_html = serializers.empty

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)


class StageOptionsSerializer(StrictSerializer):
    """What every way to ask for a transcription has."""

    language_hint = serializers.CharField(max_length=35, required=False, help_text="BCP-47 or ISO 639-1.")
    prompt = serializers.CharField(max_length=4000, required=False, allow_blank=True, trim_whitespace=False)
    diarize = serializers.BooleanField(
        required=False, help_text="Tell speakers apart; needs a diarization model, or channels=separate."
    )
    speakers = serializers.IntegerField(
        min_value=1, max_value=MAX_SPEAKERS, required=False, help_text="How many there are, where that is known."
    )
    channels = serializers.ChoiceField(
        choices=["mix", "separate"],
        required=False,
        help_text="separate: each channel is a speaker's own, and is recognised, and billed, by itself.",
    )
    itn = OptionalSwitch(help_text="Write numbers, dates and amounts as people do; default true.")
    punctuate = OptionalSwitch(help_text="Default true.")
    profanity_filter = OptionalSwitch(help_text="Mask swear words; default false.")
    redact = OptionalSwitch(help_text="Mask e-mail addresses, telephone and card numbers; default false.")
    disable = serializers.CharField(
        max_length=400, required=False, allow_blank=True, help_text="Comma-separated names of stages to leave out."
    )
    enable = serializers.CharField(
        max_length=400, required=False, allow_blank=True, help_text="Comma-separated names of stages to run anyway."
    )


class TranscriptionOptionsSerializer(StageOptionsSerializer):
    """Options, as form fields or in the query string."""

    model = serializers.CharField(max_length=100, required=False)
    task = serializers.ChoiceField(choices=["transcribe", "translate"], required=False)
    hotwords = serializers.CharField(
        max_length=4000, required=False, allow_blank=True, help_text="Comma-separated phrases to favour."
    )
    word_timestamps = serializers.BooleanField(required=False)


class TranscribeSerializer(AsyncSerializer, TranscriptionOptionsSerializer):
    audio_file = serializers.FileField(allow_empty_file=True, help_text="Any common audio or video container.")
    reference_audio = serializers.FileField(
        required=False, allow_empty_file=True, help_text="What the loudspeaker played meanwhile, for echo cancellation."
    )


class BatchTranscribeSerializer(AsyncSerializer, TranscriptionOptionsSerializer):
    audio_files = serializers.ListField(
        child=serializers.FileField(allow_empty_file=True), allow_empty=False, help_text="Repeat the field."
    )


class WordSerializer(serializers.Serializer):
    word = serializers.CharField()
    start = serializers.FloatField()
    end = serializers.FloatField()
    confidence = serializers.FloatField()


class SegmentSerializer(serializers.Serializer):
    start = serializers.FloatField()
    end = serializers.FloatField()
    text = serializers.CharField()
    confidence = serializers.FloatField()
    speaker = serializers.CharField(required=False)
    words = WordSerializer(many=True, required=False)


class QualitySerializer(serializers.Serializer):
    snr_db = serializers.FloatField(allow_null=True)
    speech_ratio = serializers.FloatField()
    clipping_ratio = serializers.FloatField(allow_null=True, help_text="null for live sessions.")
    score = serializers.FloatField(allow_null=True, help_text="null for live sessions.")


class SttJobSerializer(JobFieldsSerializer):
    """A job and, once it succeeded, its transcription: the fields of both, flat."""

    text = serializers.CharField(source="transcription.text", default=None, allow_null=True)
    language = serializers.CharField(source="transcription.language", default=None, allow_null=True)
    language_confidence = serializers.FloatField(
        source="transcription.language_confidence", default=None, allow_null=True
    )
    confidence = serializers.FloatField(source="transcription.confidence", default=None, allow_null=True)
    timestamps = serializers.SerializerMethodField()
    model_used = serializers.CharField(source="transcription.model_used", default=None, allow_null=True)
    fallback_reason = serializers.SerializerMethodField()
    quality = serializers.SerializerMethodField()
    stages = serializers.SerializerMethodField()
    audio_url = serializers.SerializerMethodField(help_text="The recording, signed; null when it is not kept.")

    class Meta:
        model = SttJob
        fields = (
            "job_id", "status", "text", "language", "language_confidence", "confidence", "timestamps",
            "duration_seconds", "model_used", "fallback_reason", "quality", "stages", "timings", "filename",
            "audio_url", "progress", "stage", "batch_id", "created_at", "started_at", "finished_at", "error",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(SegmentSerializer(many=True, allow_null=True))
    def get_timestamps(self, job: SttJob) -> list[dict[str, Any]] | None:
        transcription = _transcription(job)
        if transcription is None:
            return None
        with_words = bool(job.options.get("word_timestamps"))
        return [_segment(segment, with_words) for segment in transcription.segments]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_fallback_reason(self, job: SttJob) -> str | None:
        return (transcription.fallback_reason or None) if (transcription := _transcription(job)) else None

    @extend_schema_field(QualitySerializer(allow_null=True))
    def get_quality(self, job: SttJob) -> dict[str, Any] | None:
        return transcription.quality if (transcription := _transcription(job)) else None

    @extend_schema_field(serializers.ListField(child=serializers.CharField(), allow_null=True))
    def get_stages(self, job: SttJob) -> list[str] | None:
        return transcription.stages if (transcription := _transcription(job)) else None

    @extend_schema_field(serializers.URLField(allow_null=True))
    def get_audio_url(self, job: SttJob) -> str | None:
        return storage.signed_url(self.context["request"], job.audio.key) if job.audio else None


class TranscribeView(JsonView):
    access: ClassVar = {"POST": RUN}
    parser_classes = (MultiPartParser,)

    @extend_schema(
        request={"multipart/form-data": TranscribeSerializer},
        parameters=[OpenApiParameter("language_hint", str, description="BCP-47 or ISO 639-1.")],
        responses={200: SttJobSerializer, 202: SttJobSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Transcribe a recording."""
        fields = validated(TranscribeSerializer, _form_and_query(request))
        upload, queued = fields.pop("audio_file"), fields.pop("queued")
        files = {"upload": upload, "reference": fields.pop("reference_audio", None)}
        options = _options(self.actor, fields)
        if queued:
            job = services.submit(actor=self.actor, options=options, **files)
            return accepted(SttJobSerializer(job, context={"request": request}).data, f"/api/v1/stt/jobs/{job.id}")
        job = services.transcribe(actor=self.actor, options=options, cancel=self.client_left, **files)
        return Response(SttJobSerializer(job, context={"request": request}).data)


class BatchTranscribeView(JsonView):
    access: ClassVar = {"POST": RUN}
    parser_classes = (MultiPartParser,)

    class TranscriptionBatchSerializer(serializers.Serializer):
        batch_id = serializers.UUIDField()
        items = serializers.ListField(
            child=serializers.DictField(), help_text="In order: a transcription, or `{filename, error}`."
        )

    @extend_schema(
        request={"multipart/form-data": BatchTranscribeSerializer},
        parameters=[OpenApiParameter("language_hint", str, description="BCP-47 or ISO 639-1.")],
        responses={200: TranscriptionBatchSerializer, 202: TranscriptionBatchSerializer},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Transcribe several recordings; one that cannot be used does not stop the others."""
        fields = validated(BatchTranscribeSerializer, _form_and_query(request))
        uploads, queued = fields.pop("audio_files"), fields.pop("queued")
        if len(uploads) > settings.STT_MAX_BATCH_FILES:
            raise errors.InvalidRequest(
                f"A batch holds at most {settings.STT_MAX_BATCH_FILES} files.",
                code="batch_too_large",
                param="audio_files",
            )
        options = _options(self.actor, fields)
        if queued:
            batch_id, outcomes = services.submit_batch(actor=self.actor, uploads=uploads, options=options)
        else:
            batch_id, outcomes = services.transcribe_batch(
                actor=self.actor, uploads=uploads, options=options, cancel=self.client_left
            )
        answers = [
            SttJobSerializer(outcome, context={"request": request}).data
            if isinstance(outcome, SttJob)
            else {"filename": upload.name, "error": item_error(outcome)}
            for upload, outcome in zip(uploads, outcomes, strict=True)
        ]
        body = {"batch_id": str(batch_id), "items": answers}
        return accepted(body, f"/api/v1/stt/batches/{batch_id}") if queued else Response(body)


class SttJobListView(JsonView):
    access: ClassVar = {"GET": READ}

    @extend_schema(
        **paginated_schema(SttJobSerializer, *JOB_FILTERS),
        operation_id="stt_jobs_list",
    )
    def get(self, request: Request) -> Response:
        """The organisation's transcription jobs, newest first."""
        jobs = selectors.list_jobs(actor=self.actor, **job_filters(request))
        return paginated(self, jobs, SttJobSerializer, request=request)


class TranscriptionDefaultsSerializer(StrictSerializer):
    itn = serializers.BooleanField(allow_null=True, required=False)
    punctuate = serializers.BooleanField(allow_null=True, required=False)
    profanity_filter = serializers.BooleanField(allow_null=True, required=False)
    redact = serializers.BooleanField(allow_null=True, required=False)
    disable = serializers.ListField(child=serializers.CharField(max_length=32), max_length=32, required=False)

    def validate_disable(self, names: list[str]) -> list[str]:
        if unknown := set(names) - SWITCHABLE:
            raise serializers.ValidationError(
                f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(SWITCHABLE))}.", code="unknown_stage"
            )
        return names


class TranscriptionDefaultsView(JsonView):
    access: ClassVar = {"GET": Access(), "PATCH": Access(role=Role.ADMIN)}

    @extend_schema(responses={200: TranscriptionDefaultsSerializer})
    def get(self, request: Request) -> Response:
        """What the organisation's transcriptions ask for where a request says nothing; null: the platform's default."""
        row = selectors.get_defaults(actor=self.actor) or TranscriptionDefaults()
        return Response(TranscriptionDefaultsSerializer(row).data)

    @extend_schema(request=TranscriptionDefaultsSerializer, responses={200: TranscriptionDefaultsSerializer})
    def patch(self, request: Request) -> Response:
        """Change the organisation's defaults."""
        changes = validated(TranscriptionDefaultsSerializer, request.data)
        row = services.save_defaults(actor=self.actor, changes=changes)
        return Response(TranscriptionDefaultsSerializer(row).data)


class SttBatchView(JsonView):
    access: ClassVar = {"GET": READ}

    class SttBatchStateSerializer(BatchSummarySerializer):
        items = SttJobSerializer(many=True)

    @extend_schema(responses={200: SttBatchStateSerializer})
    def get(self, request: Request, batch_id: uuid.UUID) -> Response:
        """A batch: how far it is, and its jobs as they were begun."""
        jobs = selectors.get_batch(actor=self.actor, batch_id=batch_id)
        items = SttJobSerializer(jobs, many=True, context={"request": request}).data
        return Response(batch_state(batch_id, jobs, items))


class SttJobView(JsonView):
    access: ClassVar = {"GET": READ, "PATCH": RUN, "DELETE": RUN}

    class QuerySerializer(StrictSerializer):
        format = serializers.ChoiceField(choices=["json", *exports.FORMATS], default="json")

    class EditSerializer(StrictSerializer):
        class SegmentTextSerializer(StrictSerializer):
            index = serializers.IntegerField(min_value=0, help_text="The segment's place in `timestamps`, from 0.")
            text = serializers.CharField(max_length=editing.MAX_SEGMENT_CHARACTERS)

        segments = SegmentTextSerializer(many=True, allow_empty=False)

    @extend_schema(
        parameters=[OpenApiParameter("format", str, enum=["json", *exports.FORMATS])],
        responses={
            (200, "application/json"): SttJobSerializer,
            (200, "application/x-subrip"): str,
            (200, "text/vtt"): str,
            (200, "text/plain"): str,
            (200, exports.DOCX): bytes,
        },
    )
    def get(self, request: Request, job_id: uuid.UUID) -> Response | HttpResponse:
        """One transcription job, as JSON, subtitles, text or a Word document."""
        format_name = validated(self.QuerySerializer, request.query_params)["format"]
        job = selectors.get_job(actor=self.actor, job_id=job_id)
        if format_name == "json":
            return Response(SttJobSerializer(job, context={"request": request}).data)
        content, content_type = exports.export(job, format_name)
        response = HttpResponse(content, content_type=content_type)
        response["Content-Disposition"] = f'inline; filename="{job.id}.{format_name}"'
        return response

    @extend_schema(request=EditSerializer, responses={200: SttJobSerializer})
    def patch(self, request: Request, job_id: uuid.UUID) -> Response:
        """Correct the text of segments. Their times stay; words keep theirs where there are as many as before."""
        job = selectors.get_job(actor=self.actor, job_id=job_id)
        changes = validated(self.EditSerializer, request.data)["segments"]
        texts = {change["index"]: change["text"] for change in changes}
        job.transcription = editing.edit_transcription(actor=self.actor, job=job, texts=texts)
        return Response(SttJobSerializer(job, context={"request": request}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, job_id: uuid.UUID) -> Response:
        """Cancel a job that runs; delete a finished one, its transcription and its audio."""
        services.delete_job(actor=self.actor, job=selectors.get_job(actor=self.actor, job_id=job_id))
        return Response(status=204)


class SttJobRetryView(JsonView):
    access: ClassVar = {"POST": RUN}

    @extend_schema(request=None, responses={202: SttJobSerializer})
    @idempotent
    def post(self, request: Request, job_id: uuid.UUID) -> Response:
        """Queue the recording of a failed or cancelled job again, as a new job."""
        job = editing.retry(actor=self.actor, job=selectors.get_job(actor=self.actor, job_id=job_id))
        body = SttJobSerializer(job, context={"request": request}).data
        return accepted(body, f"/api/v1/stt/jobs/{job.id}")


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _form_and_query(request: Request) -> Any:
    """Form fields, and those of the query string that the form does not have."""
    merged = MultiValueDict(dict(form_of(request).lists()))
    for name, values in request.query_params.lists():
        if name not in merged:
            merged.setlist(name, values)
    return merged


def _options(actor: Actor, fields: dict[str, Any]) -> TranscriptionOptions:
    for name in ("hotwords", "disable", "enable"):
        if name in fields:
            fields[name] = tuple(part.strip() for part in fields[name].split(",") if part.strip())
    return services.with_defaults(actor=actor, options=fields)


def _transcription(job: SttJob) -> Transcription | None:
    return getattr(job, "transcription", None)


def _segment(segment: dict[str, Any], with_words: bool) -> dict[str, Any]:
    answer = {name: segment[name] for name in ("start", "end", "text", "confidence")}
    if segment.get("speaker"):
        answer["speaker"] = segment["speaker"]
    if with_words:
        answer["words"] = [
            {"word": word["text"], "start": word["start"], "end": word["end"], "confidence": word["confidence"]}
            for word in segment["words"]
        ]
    return answer
