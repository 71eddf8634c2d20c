"""/ml/{stt,tts}/…: the runtime of the process that answers, for operators.

Nothing here makes a job or is kept, but what runs a pipeline is metered and billed like any other work.
"""

from __future__ import annotations

import base64
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import connection
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from analytics import quota
from analytics.models import Task
from analytics.quota import Amounts
from analytics.services import Metered
from common import db, errors
from common.api import JsonView
from common.serializers import StrictSerializer, form_of, validated
from jobs import services as jobs
from jobs.models import Job
from ml import audio, stt, tts
from ml.errors import AudioEmpty
from ml.types import SynthesisOptions, Transcript, TranscriptionOptions
from models_registry import rights, runtime, services
from models_registry.api import ModelReportSerializer, ReloadOutcomeSerializer
from models_registry.models import ModelStatus

OPERATOR = Access(role=Role.ADMIN)


class RuntimeView(JsonView):
    task = "stt"

    def reports(self) -> list[dict[str, Any]]:
        return [asdict(report) for report in runtime.current.reports() if report.task == self.task]


class HealthView(RuntimeView):
    access: ClassVar = {"GET": OPERATOR}

    class RuntimeHealthSerializer(serializers.Serializer):
        status = serializers.ChoiceField(choices=["healthy", "degraded"], help_text="degraded: a model has failed.")
        process = serializers.CharField(help_text="host:process:start, as in /api/v1/models/status.")
        models = ModelReportSerializer(many=True)

    @extend_schema(responses={200: RuntimeHealthSerializer})
    def get(self, request: Request) -> Response:
        """How this process's models do."""
        models = self.reports()
        status = "degraded" if any(model["status"] == ModelStatus.FAILED for model in models) else "healthy"
        body = {"status": status, "process": runtime.current.id, "models": models}
        return Response(self.RuntimeHealthSerializer(body).data)


class ModelsView(RuntimeView):
    access: ClassVar = {"GET": OPERATOR}

    class RuntimeModelsSerializer(serializers.Serializer):
        models = ModelReportSerializer(many=True)
        serving = serializers.ListField(
            child=serializers.DictField(), help_text="What requests can name, the preferred first, with capabilities."
        )

    @extend_schema(responses={200: RuntimeModelsSerializer})
    def get(self, request: Request) -> Response:
        """The registry of this process: what is installed, in memory, and served."""
        serving = _serving_stt() if self.task == "stt" else _serving_tts()
        return Response(self.RuntimeModelsSerializer({"models": self.reports(), "serving": serving}).data)


class InitializeView(RuntimeView):
    access: ClassVar = {"POST": OPERATOR}

    class InitializeSerializer(StrictSerializer):
        warm = serializers.BooleanField(required=False, default=False, help_text="Load the active models now.")

    class InitializedSerializer(serializers.Serializer):
        models = ModelReportSerializer(many=True)
        refused = serializers.ListField(child=serializers.DictField(), help_text="`{model, error}`")

    @extend_schema(request=InitializeSerializer, responses={200: InitializedSerializer})
    def post(self, request: Request) -> Response:
        """Rebuild this process's registry from the folders and the active rows."""
        rights.require_reload(self.actor)
        fields = validated(self.InitializeSerializer, request.data)
        refused = services.initialize(task=self.task, warm=fields["warm"])
        body = {"models": self.reports(), "refused": [asdict(refusal) for refusal in refused]}
        return Response(self.InitializedSerializer(body).data)


class ReloadView(RuntimeView):
    access: ClassVar = {"POST": OPERATOR}

    class TaskReloadSerializer(StrictSerializer):
        model = serializers.CharField(required=False, max_length=165, help_text="name, or name@version.")

    @extend_schema(request=TaskReloadSerializer, responses={200: ReloadOutcomeSerializer})
    def post(self, request: Request) -> Response:
        """Load the active models of this task anew, in every process; no request fails."""
        rights.require_reload(self.actor)
        fields = validated(self.TaskReloadSerializer, request.data)
        return Response(ReloadOutcomeSerializer(services.reload(actor=self.actor, task=self.task, **fields)).data)


class TranscribeView(JsonView):
    access: ClassVar = {"POST": OPERATOR}
    parser_classes = (MultiPartParser,)

    class RuntimeTranscribeSerializer(StrictSerializer):
        file = serializers.FileField(allow_empty_file=True, help_text="Any common audio or video container.")
        language_hint = serializers.CharField(max_length=35, required=False, help_text="BCP-47 or ISO 639-1.")
        model = serializers.CharField(max_length=100, required=False)

    class RuntimeTranscriptSerializer(serializers.Serializer):
        text = serializers.CharField()
        language = serializers.CharField()
        confidence = serializers.FloatField()
        duration_seconds = serializers.FloatField()
        model_used = serializers.CharField()
        meta = serializers.DictField(help_text="What each stage gave: routing, segments, words, quality, seconds.")

    @extend_schema(
        request={"multipart/form-data": RuntimeTranscribeSerializer},
        parameters=[OpenApiParameter("language_hint", str, description="BCP-47 or ISO 639-1.")],
        responses={200: RuntimeTranscriptSerializer},
    )
    def post(self, request: Request) -> Response:
        """Run the pipeline on a recording and show what each stage gave. Makes no job."""
        merged = {**request.query_params.dict(), **form_of(request).dict()}
        fields = validated(self.RuntimeTranscribeSerializer, merged)
        upload = fields.pop("file")
        options = TranscriptionOptions(word_timestamps=True, **fields)
        with jobs.without_row(actor=self.actor, task=Task.STT) as job:
            return Response(_transcribe(job, upload, options, self.client_left))


class SynthesizeView(JsonView):
    access: ClassVar = {"POST": OPERATOR}

    class RuntimeSynthesizeSerializer(StrictSerializer):
        text = serializers.CharField(trim_whitespace=False)
        language = serializers.CharField(max_length=35, required=False)
        voice = serializers.CharField(max_length=100, required=False)
        model = serializers.CharField(max_length=100, required=False)
        speed = serializers.FloatField(min_value=0.25, max_value=4.0, required=False)
        ssml = serializers.BooleanField(required=False)

    class RuntimeSpeechSerializer(serializers.Serializer):
        audio_base64 = serializers.CharField(help_text="A wav file.")
        sample_rate = serializers.IntegerField(help_text="Hertz.")
        duration_seconds = serializers.FloatField()
        meta = serializers.DictField(help_text="The voice, its model, each chunk's text and seconds, and timings.")

    @extend_schema(request=RuntimeSynthesizeSerializer, responses={200: RuntimeSpeechSerializer})
    def post(self, request: Request) -> Response:
        """Run the pipeline on a text and show what each stage gave. Makes no job."""
        fields = validated(self.RuntimeSynthesizeSerializer, request.data)
        text = fields.pop("text")
        if len(text) > settings.TTS_MAX_CHARACTERS:
            raise errors.InvalidRequest(
                f"The text has {len(text):,} characters; the limit is {settings.TTS_MAX_CHARACTERS:,}.",
                code="text_too_long",
                param="text",
            )
        with jobs.without_row(actor=self.actor, task=Task.TTS) as job:
            return Response(_synthesize(job, text, SynthesisOptions(**fields), self.client_left))


# ── Running the pipelines ───────────────────────────────────────────────────────────────────────────────────────────


def _transcribe(
    job: Job, upload: TemporaryUploadedFile, options: TranscriptionOptions, cancel: threading.Event | None
) -> dict[str, Any]:
    if not upload.size:
        raise AudioEmpty("The file is empty.", param="file")
    if upload.size > settings.STT_MAX_UPLOAD_BYTES:
        raise errors.TooLarge(
            f"The file has {upload.size:,} bytes; the limit is {settings.STT_MAX_UPLOAD_BYTES:,}.",
            code="file_too_large",
            param="file",
        )
    resolution = stt.resolve(options)
    path = Path(upload.temporary_file_path())  # the only upload handler writes files
    outputs: dict[str, dict[str, Any]] = {}
    with db.released():
        transcript = stt.transcribe(
            path,
            options,
            max_duration_seconds=settings.STT_MAX_DURATION_SECONDS,
            cancel=cancel,
            observe=outputs.__setitem__,
            on_duration=lambda seconds: _reserve(job, Amounts.of(audio_seconds=seconds)),
        )
    job.metered = Metered(
        model=transcript.model_used,
        audio_seconds=transcript.duration_seconds * transcript.channels,
        compute_seconds=sum(transcript.timings.values()),
    )
    return {
        "text": transcript.text,
        "language": transcript.language,
        "confidence": transcript.confidence,
        "duration_seconds": transcript.duration_seconds,
        "model_used": transcript.model_used,
        "meta": _stages(transcript, resolution, outputs),
    }


def _stages(transcript: Transcript, resolution: stt.Resolution, outputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    chosen = resolution.model
    return {
        "process": runtime.current.id,
        "routing": {
            "model": chosen.name,
            "engine": chosen.engine,
            "language": resolution.language,
            "language_confidence": resolution.language_confidence,
            "fallback_reason": transcript.fallback_reason,
        },
        "stages": [
            {"name": name, "seconds": transcript.timings.get(name), "output": outputs.get(name, {})}
            for name in transcript.stages
        ],
        "segments": [asdict(segment) for segment in transcript.segments],
        "language": {"language": transcript.language, "confidence": transcript.language_confidence},
        "score": asdict(transcript.quality),
        "timings": transcript.timings,
    }


def _synthesize(job: Job, text: str, options: SynthesisOptions, cancel: threading.Event | None) -> dict[str, Any]:
    voice = tts.resolve(options)
    rate = tts.output_sample_rate(options)
    started = time.perf_counter()
    parts: list[dict[str, Any]] = []
    _reserve(job, Amounts(characters=len(text)))

    def noted() -> Any:
        for chunk in tts.synthesize(text, options, cancel=cancel):
            seconds = round(time.perf_counter() - started, 4)
            parts.append({"text": chunk.text, "audio_seconds": chunk.duration_seconds, "ready_after_seconds": seconds})
            job.metered = _spoken(voice.model, parts, len(text))
            yield chunk

    with db.released(), tempfile.SpooledTemporaryFile(max_size=1 << 22) as file:
        encoded = audio.encode_to_file(noted(), "wav", file, sample_rate=rate)
        file.seek(0)
        content = file.read()
    job.metered = replace(_spoken(voice.model, parts, len(text)), characters=len(text))
    return {
        "audio_base64": base64.b64encode(content).decode("ascii"),
        "sample_rate": rate,
        "duration_seconds": encoded.duration_seconds,
        "meta": {
            "process": runtime.current.id,
            "voice": asdict(voice),
            "chunks": parts,
            "timings": {"total": round(time.perf_counter() - started, 4)},
        },
    }


def _spoken(model: str, parts: list[dict[str, Any]], most: int) -> Metered:
    return Metered(
        model=model,
        characters=min(most, sum(len(part["text"]) for part in parts)),
        audio_seconds=sum(part["audio_seconds"] for part in parts),
        compute_seconds=parts[-1]["ready_after_seconds"] if parts else 0.0,
    )


def _reserve(job: Job, amounts: Amounts) -> None:
    """Raises QuotaExceeded. The connection is given back: a model runs next."""
    try:
        quota.reserve(job, amounts)
    finally:
        connection.close()


def _serving_stt() -> list[dict[str, Any]]:
    return [_plain(asdict(info)) for info in stt.models()]


def _serving_tts() -> list[dict[str, Any]]:
    voices: dict[str, list[str]] = {}
    for voice in tts.voices():
        voices.setdefault(voice.model, []).append(voice.id)
    return [
        {
            "name": info.name,
            "engine": info.engine,
            "capabilities": _plain(asdict(info.capabilities)),
            "voices": voices.get(info.name, []),
        }
        for info in tts.models()
    ]


def _plain(value: Any) -> Any:
    """JSON has no sets."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset | list | tuple):
        return sorted(map(_plain, value)) if isinstance(value, set | frozenset) else [_plain(item) for item in value]
    return value
