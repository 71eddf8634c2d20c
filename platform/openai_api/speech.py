"""POST /v1/audio/speech"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from common import storage
from common.serializers import StrictSerializer, validated
from common.streaming import in_thread, primed
from jobs.idempotency import JobStream, idempotent
from ml import audio
from ml.types import SynthesisOptions
from openai_api import errors, names, sse
from openai_api.base import OpenAIView, unbuffered
from openai_api.fields import NamedChoiceField, VoiceField
from openai_api.models import AliasKind
from tts import selectors, services
from tts.api import RUN
from tts.models import TtsJob
from tts.services import SynthesisRequest

PCM_RATE = 24_000  # hertz; OpenAI's, which headerless audio cannot tell
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")

_OWN_OPTIONS = ("language", "sample_rate", "speed", "pitch", "volume", "ssml")


class SpeechSerializer(StrictSerializer):
    """OpenAI's parameters, and with `extra_body` the platform's own."""

    model = serializers.CharField(max_length=100, help_text="An alias such as `tts-1`, or a model of GET /v1/models.")
    input = serializers.CharField(trim_whitespace=False, help_text="Up to TTS_MAX_CHARACTERS characters.")
    voice = VoiceField(
        help_text="A name such as `alloy`, an id of GET /api/v1/tts/voices, or a mix of ids; also as `{id}`."
    )
    response_format = NamedChoiceField(FORMATS, default="mp3")
    speed = serializers.FloatField(min_value=0.25, max_value=4.0, required=False, help_text="Default 1.")
    stream_format = NamedChoiceField(("audio", "sse"), default="audio")
    instructions = serializers.CharField(
        max_length=20_000, required=False, allow_blank=True, help_text="Accepted; no installed engine follows it."
    )
    stream = serializers.BooleanField(required=False, help_text="Accepted: audio is always sent while it is made.")
    language = serializers.CharField(max_length=35, required=False, help_text="Own: BCP-47; default: the voice's.")
    sample_rate = serializers.IntegerField(min_value=8000, max_value=48000, required=False, help_text="Own: hertz.")
    pitch = serializers.FloatField(min_value=-12.0, max_value=12.0, required=False, help_text="Own: semitones.")
    volume = serializers.FloatField(min_value=0.0, max_value=2.0, required=False, help_text="Own: linear gain.")
    ssml = serializers.BooleanField(required=False, help_text="Own: the input is SSML 1.1.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """JSON's null is as good as nothing."""
        known = {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
        return super().to_internal_value(known)


class SpeechView(OpenAIView):
    access: ClassVar = {"POST": RUN}

    @extend_schema(
        request=SpeechSerializer,
        responses={(200, "audio/*"): bytes, (200, "text/event-stream"): str},
        operation_id="openai_speech",
    )
    @idempotent
    def post(self, request: Request) -> JobStream:
        """Speak a text; the audio as it is made, or with `stream_format: sse` in events."""
        fields = validated(SpeechSerializer, request.data)
        job, chunks = services.synthesize_stream(actor=self.actor, request=self._synthesis(fields))
        return _answer(job, primed(chunks), fields)

    def replay(self, request: Request, job_id: uuid.UUID) -> JobStream:
        """The same answer again, from what is kept."""
        job = selectors.get_job(actor=self.actor, job_id=job_id)
        chunks = storage.read_range(job.audio_key, 0, storage.size(job.audio_key) - 1)
        return _answer(job, chunks, validated(SpeechSerializer, request.data))

    def _synthesis(self, fields: dict[str, Any]) -> SynthesisRequest:
        model = names.resolve_model(actor=self.actor, kind=AliasKind.TTS, name=fields["model"])
        voice = names.resolve_voice(
            actor=self.actor, name=fields["voice"], model=model, language=fields.get("language")
        )
        options = {name: fields[name] for name in _OWN_OPTIONS if name in fields}
        if fields["response_format"] == "pcm":
            options.setdefault("sample_rate", PCM_RATE)
        return SynthesisRequest(
            text=fields["input"],
            options=SynthesisOptions(model=model, voice=voice, **options),
            format=fields["response_format"],
        )


def _answer(job: TtsJob, chunks: Iterator[bytes], fields: dict[str, Any]) -> JobStream:
    events = fields["stream_format"] == "sse"
    content_type = sse.CONTENT_TYPE if events else audio.CONTENT_TYPES[fields["response_format"]]
    response = JobStream(job, in_thread(_Events(job, chunks) if events else chunks), content_type=content_type)
    response["X-Sample-Rate"] = str(job.sample_rate)
    unbuffered(response)
    return response


class _Events:
    """`speech.audio.delta` for each piece, then `speech.audio.done`, or an error. Closing it closes the pieces.

    A class rather than a generator: a generator that was never started runs no `finally`.
    """

    def __init__(self, job: TtsJob, chunks: Iterator[bytes]) -> None:
        self._job, self._chunks, self._ended = job, chunks, False

    def __iter__(self) -> _Events:
        return self

    def __next__(self) -> bytes:
        if self._ended:
            raise StopIteration
        try:
            piece = next(self._chunks, None)
        except Exception as error:
            self._ended = True
            return sse.event(errors.event(error))
        if piece is not None:
            return sse.event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        self._ended = True
        return sse.event({"type": "speech.audio.done", "usage": _usage(self._job)})

    def close(self) -> None:
        close = getattr(self._chunks, "close", lambda: None)
        close()


def _usage(job: TtsJob) -> dict[str, Any]:
    """The platform counts characters, not tokens: they stand where OpenAI has the tokens of the input."""
    return {"input_tokens": job.characters, "output_tokens": 0, "total_tokens": job.characters}
