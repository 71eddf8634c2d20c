"""What a transcription session is asked: OpenAI's `session` object, in its present shape and in that of the beta.

    settings = Settings().updated({"audio": {"input": {"transcription": {"model": "whisper-1"}}}}, path="session")

A session is kept in the present shape; the beta's is read into it and written from it. Updates change what they name:
objects are merged, `null` sets the default, and for `turn_detection` none at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rest_framework import serializers

from accounts.actors import Actor
from common import errors
from common.serializers import StrictSerializer, validated
from ml.audio.stream import MAX_RATE, MIN_RATE
from ml.stt import live
from openai_api import names
from openai_api.fields import NamedChoiceField
from openai_api.models import AliasKind
from stt.live.listening import Start

Shape = Literal["ga", "beta"]

LOGPROBS = "item.input_audio_transcription.logprobs"
INCLUDES = (LOGPROBS,)
RATE = 24_000

_ENCODINGS = {"audio/pcm": "pcm_s16le", "audio/pcmu": "mulaw", "audio/pcma": "alaw"}
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_PAUSES = {"low": 1.2, "medium": 0.7, "auto": 0.7, "high": 0.4}
"""Seconds of silence for each eagerness of `semantic_vad`: no model here judges whether a sentence is complete."""

_SERVER_VAD: dict[str, Any] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
}
_SEMANTIC_VAD: dict[str, Any] = {"type": "semantic_vad", "eagerness": "auto"}
_ONLY_FILES = "gpt-4o-transcribe-diarize"


# ── What requests may have ──────────────────────────────────────────────────────────────────────────────────────────


class _Serializer(StrictSerializer):
    """`null` is what is usual, where the field does not say otherwise."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, dict):
            nullable = {name for name, field in self.fields.items() if field.allow_null}
            data = {name: value for name, value in data.items() if value is not None or name in nullable}
        return super().to_internal_value(data)


class RealtimeFormatSerializer(_Serializer):
    type = NamedChoiceField(tuple(_ENCODINGS))
    rate = serializers.IntegerField(min_value=MIN_RATE, max_value=MAX_RATE, required=False)


class RealtimeTranscriptionSerializer(_Serializer):
    model = serializers.CharField(max_length=100, required=False, allow_null=True)
    language = serializers.CharField(max_length=35, required=False, allow_null=True, allow_blank=True)
    languages = serializers.ListField(
        child=serializers.CharField(max_length=35), required=False, allow_null=True, max_length=20
    )
    prompt = serializers.CharField(max_length=4000, required=False, allow_null=True, allow_blank=True)
    keywords = serializers.ListField(
        child=serializers.CharField(max_length=100), required=False, allow_null=True, max_length=200
    )
    delay = NamedChoiceField(("minimal", "low", "medium", "high", "xhigh"), required=False)


class RealtimeTurnDetectionSerializer(_Serializer):
    type = NamedChoiceField(("server_vad", "semantic_vad"), required=False)
    threshold = serializers.FloatField(min_value=0.0, max_value=1.0, required=False)
    prefix_padding_ms = serializers.IntegerField(min_value=0, max_value=2_000, required=False)
    silence_duration_ms = serializers.IntegerField(min_value=100, max_value=5_000, required=False)
    eagerness = NamedChoiceField(tuple(_PAUSES), required=False)
    # Of conversations; accepted, for there is no response that they could concern.
    create_response = serializers.BooleanField(required=False)
    interrupt_response = serializers.BooleanField(required=False)
    idle_timeout_ms = serializers.IntegerField(required=False)


class RealtimeNoiseReductionSerializer(_Serializer):
    type = NamedChoiceField(("near_field", "far_field"), required=False)
    strength = serializers.FloatField(min_value=0.0, max_value=10.0, required=False)


class RealtimeInputSerializer(_Serializer):
    format = RealtimeFormatSerializer(required=False, allow_null=True)
    transcription = RealtimeTranscriptionSerializer(required=False, allow_null=True)
    turn_detection = RealtimeTurnDetectionSerializer(required=False, allow_null=True)
    noise_reduction = RealtimeNoiseReductionSerializer(required=False, allow_null=True)


class RealtimeAudioSerializer(_Serializer):
    input = RealtimeInputSerializer(required=False)


class RealtimeSessionSerializer(_Serializer):
    """OpenAI's present shape."""

    type = NamedChoiceField(("transcription",), required=False, help_text="There are no other sessions here.")
    audio = RealtimeAudioSerializer(required=False)
    include = serializers.ListField(child=NamedChoiceField(INCLUDES), required=False, allow_null=True)


class RealtimeBetaSessionSerializer(_Serializer):
    """The shape of `OpenAI-Beta: realtime=v1`."""

    input_audio_format = NamedChoiceField(tuple(_BETA_FORMATS), required=False)
    input_audio_transcription = RealtimeTranscriptionSerializer(required=False, allow_null=True)
    turn_detection = RealtimeTurnDetectionSerializer(required=False, allow_null=True)
    input_audio_noise_reduction = RealtimeNoiseReductionSerializer(required=False, allow_null=True)
    include = serializers.ListField(child=NamedChoiceField(INCLUDES), required=False, allow_null=True)
    modalities = serializers.ListField(child=serializers.CharField(max_length=20), required=False, max_length=5)
    client_secret = serializers.DictField(required=False, allow_null=True)


# ── What a session has ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Settings:
    """JSON values, as OpenAI names them."""

    format: Mapping[str, Any] = field(default_factory=lambda: {"type": "audio/pcm", "rate": RATE})
    transcription: Mapping[str, Any] = field(default_factory=dict)
    turn_detection: Mapping[str, Any] | None = field(default_factory=lambda: dict(_SERVER_VAD))
    noise_reduction: Mapping[str, Any] | None = None
    include: tuple[str, ...] = ()

    def updated(self, session: Any, *, shape: Shape, within: str = "session") -> Settings:
        """With what `session` changes. within: where it stands in the request, for errors; "": it is the request.

        Raises DRF's ValidationError.
        """
        kind = RealtimeSessionSerializer if shape == "ga" else RealtimeBetaSessionSerializer
        if within:
            event = type("Event", (serializers.Serializer,), {within: kind()})
            fields = validated(event, {within: session})[within]
        else:
            fields = validated(kind, session)
        given = fields.get("audio", {}).get("input", {}) if shape == "ga" else _of_beta(fields)
        changes: dict[str, Any] = {}
        if "format" in given:
            changes["format"] = _format(given["format"])
        if "transcription" in given:
            changes["transcription"] = _merged(self.transcription, given["transcription"]) or {}
        if "turn_detection" in given:
            changes["turn_detection"] = _turn_detection(self.turn_detection, given["turn_detection"])
        if "noise_reduction" in given:
            changes["noise_reduction"] = _merged(self.noise_reduction, given["noise_reduction"])
        if "include" in fields:
            changes["include"] = tuple(fields["include"] or ())
        return replace(self, **changes)

    # ── What they mean here ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def model(self) -> str:
        """As the client names it; "" for whichever serves."""
        return str(self.transcription.get("model") or "")

    @property
    def speaks_early(self) -> bool:
        """Whether text is told while somebody speaks. OpenAI's turn-based models tell it after the turn."""
        return self.model not in names.TURN_MODELS

    @property
    def bytes_per_second(self) -> int:
        return int(self.format["rate"]) * (2 if self.format["type"] == "audio/pcm" else 1)

    def start(self, *, actor: Actor) -> Start:
        """How to hear. Queries the database, for the organisation's names of models."""
        if self.model == _ONLY_FILES:
            raise errors.InvalidRequest(
                f"'{_ONLY_FILES}' tells speakers apart in recordings, not in live speech.", param="model"
            )
        languages = self.transcription.get("languages") or []
        language = self.transcription.get("language") or (languages[0] if len(languages) == 1 else None)
        options = {
            "language_hint": language,
            "prompt": self.transcription.get("prompt") or None,
            "hotwords": tuple(self.transcription.get("keywords") or ()),
        }
        if self.model:
            options["model"] = names.resolve_model(actor=actor, kind=AliasKind.STT, name=self.model)
        sound = {
            "encoding": _ENCODINGS[self.format["type"]],
            "sample_rate": self.format["rate"],
            "interim_results": self.speaks_early,
        }
        return Start({name: value for name, value in options.items() if value}, sound, self._endpointing())

    def _endpointing(self) -> live.Endpointing:
        vad = self.turn_detection
        if vad is None:
            return live.Endpointing(enabled=False)
        if vad["type"] == "semantic_vad":
            return live.Endpointing(silence_seconds=_PAUSES[vad["eagerness"]])
        threshold = min(0.95, max(0.05, vad["threshold"]))
        return live.Endpointing(
            silence_seconds=vad["silence_duration_ms"] / 1000,
            padding_seconds=vad["prefix_padding_ms"] / 1000,
            threshold=threshold,
            end_threshold=max(0.03, threshold - 0.15),
        )

    # ── How they are shown ──────────────────────────────────────────────────────────────────────────────────────────

    def to_json(self) -> dict[str, Any]:
        """OpenAI's present shape, which `updated` takes."""
        audio = {
            "format": dict(self.format) if self.format["type"] == "audio/pcm" else {"type": self.format["type"]},
            "transcription": dict(self.transcription) or None,
            "noise_reduction": self.noise_reduction,
            "turn_detection": self.turn_detection,
        }
        return {"type": "transcription", "audio": {"input": audio}, "include": list(self.include) or None}

    def to_beta_json(self) -> dict[str, Any]:
        formats = {name: beta for beta, name in _BETA_FORMATS.items()}
        return {
            "input_audio_format": formats[self.format["type"]],
            "input_audio_transcription": dict(self.transcription) or None,
            "input_audio_noise_reduction": self.noise_reduction,
            "turn_detection": self.turn_detection,
            "include": list(self.include) or None,
        }


def transcription_path(shape: Shape) -> str:
    """Where the model and the language stand in a request, for errors."""
    return "session.audio.input.transcription" if shape == "ga" else "session.input_audio_transcription"


def _of_beta(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The beta's fields under their present names."""
    given = {
        "transcription": "input_audio_transcription",
        "turn_detection": "turn_detection",
        "noise_reduction": "input_audio_noise_reduction",
    }
    found = {name: fields[beta] for name, beta in given.items() if beta in fields}
    if "input_audio_format" in fields:
        found["format"] = {"type": _BETA_FORMATS[fields["input_audio_format"]]}
    return found


def _format(given: Mapping[str, Any] | None) -> dict[str, Any]:
    kind = given["type"] if given else "audio/pcm"
    usual = RATE if kind == "audio/pcm" else 8_000
    return {"type": kind, "rate": (given or {}).get("rate", usual)}


def _turn_detection(before: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """With all that its kind has: of the kind before what was set, else what is usual."""
    if given is None:
        return None
    kind = given.get("type") or (before or _SERVER_VAD)["type"]
    usual = _SERVER_VAD if kind == "server_vad" else _SEMANTIC_VAD
    kept = before if before is not None and before["type"] == kind else {}
    return {**usual, **kept, **given, "type": kind}


def _merged(before: Mapping[str, Any] | None, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if given is None else {**(before or {}), **given}
