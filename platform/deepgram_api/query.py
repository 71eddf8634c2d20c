"""What the query string of /v1/listen asks for.

What Deepgram knows and the platform does not is ignored, as Deepgram ignores what it does not know, unless somebody
would wait for it in vain: then it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from accounts.actors import Actor
from common import errors
from deepgram_api.names import resolve_model
from ml.audio.stream import MAX_RATE, MIN_RATE
from ml.stt import live
from ml.types import TranscriptionOptions
from stt import services
from stt.api import OptionalSwitch
from stt.live.listening import Start
from stt.live.protocol import MAX_HOTWORDS

RAW_ENCODINGS = {"linear16": "pcm_s16le", "linear32": "pcm_f32le", "mulaw": "mulaw", "alaw": "alaw"}
CONTAINED = ("opus", "ogg-opus", "flac")
"""Encodings that come in a container, which tells all about itself."""

MAX_CHANNELS = 8
LEAST_SILENCE_SECONDS = 0.1

_FALSE = ("", "false", "0", "none")
_ANALYSES = (
    "custom_intent", "custom_topic", "detect_entities", "intents", "replace", "search", "sentiment", "summarize",
    "topics",
)  # fmt: skip
_REFUSED = {
    "callback": "Nobody would be called back: ask with async=true at POST /api/v1/stt/transcribe and use webhooks.",
    **dict.fromkeys(_ANALYSES, "This is not offered here."),
}
_REDACTED = frozenset({"true", "pci", "credit_card", "credit_card_number", "email_address", "phone_number"})


class EndpointingField(serializers.Field):
    """Milliseconds, or false."""

    def to_internal_value(self, data: Any) -> int | bool:
        if str(data).lower() in ("true", "false"):
            return str(data).lower() == "true"
        try:
            milliseconds = int(str(data))
        except ValueError:
            milliseconds = -1
        if not 0 <= milliseconds <= 5000:
            raise serializers.ValidationError("Milliseconds from 0 to 5000, or false.", code="invalid")
        return milliseconds


class ListenSerializer(serializers.Serializer):
    """What both ways to listen have."""

    model = serializers.CharField(
        max_length=100, required=False, help_text="A name of Deepgram's, an alias, or an installed model."
    )
    language = serializers.CharField(max_length=35, required=False, help_text="BCP-47; `multi`: to be found out.")
    encoding = serializers.ChoiceField(
        [*RAW_ENCODINGS, *CONTAINED], required=False, help_text="Of raw samples; containers tell it themselves."
    )
    sample_rate = serializers.IntegerField(
        min_value=MIN_RATE, max_value=MAX_RATE, required=False, help_text="Of raw samples."
    )
    channels = serializers.IntegerField(
        min_value=1, max_value=MAX_CHANNELS, default=1, help_text="Of raw samples, interleaved."
    )
    multichannel = OptionalSwitch(help_text="Each channel by itself; for recordings.")
    punctuate = OptionalSwitch(help_text="Marks and capitals; default false.")
    smart_format = OptionalSwitch(help_text="`punctuate` and `numerals`.")
    numerals = OptionalSwitch(help_text="Numbers, dates and amounts as people write them; default false.")
    profanity_filter = OptionalSwitch(help_text="Mask swear words.")
    diarize = OptionalSwitch(help_text="Tell speakers apart; for recordings, with a diarization model.")
    redact = serializers.ListField(
        child=serializers.CharField(max_length=40, allow_blank=True),
        required=False,
        help_text="`true`, `pci`, `email_address`, `phone_number`: mask e-mail addresses, telephone and card numbers.",
    )
    keywords = serializers.ListField(
        child=serializers.CharField(max_length=120, allow_blank=True),
        required=False,
        max_length=MAX_HOTWORDS,
        help_text="Phrases to favour, each with a weight behind a colon, which only counts where it is negative.",
    )
    keyterm = serializers.ListField(
        child=serializers.CharField(max_length=120, allow_blank=True),
        required=False,
        max_length=MAX_HOTWORDS,
        help_text="Phrases to favour.",
    )

    def validate_redact(self, kinds: list[str]) -> bool:
        wanted = {kind.lower() for kind in kinds} - set(_FALSE)
        if unknown := sorted(wanted - _REDACTED):
            known = ", ".join(sorted(_REDACTED))
            raise serializers.ValidationError(
                f"'{unknown[0]}' is not redacted here, and would be told; there are: {known}.", code="invalid_choice"
            )
        return bool(wanted)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("encoding") in RAW_ENCODINGS and "sample_rate" not in fields:
            raise serializers.ValidationError(
                {"sample_rate": [serializers.ErrorDetail("Raw samples need a sample_rate.", code="required")]}
            )
        return fields


class LiveSerializer(ListenSerializer):
    interim_results = OptionalSwitch(help_text="Tell what is understood so far; default false.")
    endpointing = EndpointingField(
        required=False, help_text="How long a silence ends an utterance, in milliseconds; false: none does."
    )
    utterance_end_ms = serializers.IntegerField(min_value=200, max_value=30_000, required=False)
    vad_events = OptionalSwitch(help_text="Tell `SpeechStarted`.")


class RecordingSerializer(ListenSerializer):
    utterances = OptionalSwitch(help_text="Also by utterance.")
    paragraphs = OptionalSwitch(help_text="Also by paragraph.")
    detect_language = OptionalSwitch(help_text="Find the language out, and say it.")
    tag = serializers.ListField(child=serializers.CharField(max_length=128), required=False, max_length=20)
    extra = serializers.ListField(
        child=serializers.CharField(max_length=256), required=False, max_length=20, help_text="`key:value`, given back."
    )


@dataclass(frozen=True, slots=True)
class Query:
    """A query string, read. `fields` are those of the serializer that it has."""

    fields: dict[str, Any]

    @classmethod
    def of(cls, query: QueryDict, serializer_class: type[ListenSerializer]) -> Query:
        """Raises InvalidRequest."""
        for name, why in _REFUSED.items():
            if any(value.lower() not in _FALSE for value in query.getlist(name)):
                raise errors.InvalidRequest(f"{name} is not available. {why}", code="option_unavailable", param=name)
        serializer = serializer_class(data=query)
        if not serializer.is_valid():
            param, details = next(iter(serializer.errors.items()))
            detail = _first(details)
            raise errors.InvalidRequest(f"{param}: {detail}", code=f"parameter_{detail.code}", param=param)
        return cls(dict(serializer.validated_data))

    def wants(self, name: str) -> bool:
        return bool(self.fields.get(name))

    def transcription(self, actor: Actor) -> TranscriptionOptions:
        """With Deepgram's defaults where neither the request nor the organisation says anything. Queries the database.

        Raises InvalidRequest.
        """
        passed = ("profanity_filter", "redact", "diarize")
        named: dict[str, Any] = {name: self.fields[name] for name in passed if name in self.fields}
        for option, names in {"punctuate": ("punctuate", "smart_format"), "itn": ("numerals", "smart_format")}.items():
            if any(name in self.fields for name in names):
                named[option] = any(map(self.wants, names))
        if language := self._language():
            named["language_hint"] = language
        if "model" in self.fields:
            named["model"] = resolve_model(actor=actor, name=self.fields["model"])
        if self.wants("multichannel"):
            named["channels"] = "separate"
            named.pop("diarize", None)  # each channel is somebody's own
        named["hotwords"] = tuple(self._hotwords())
        return services.with_defaults(actor=actor, options=named, otherwise={"punctuate": False, "itn": False})

    def start(self, actor: Actor) -> Start:
        """How to listen to a stream. Queries the database."""
        if self.wants("multichannel") and self.fields["channels"] > 1:
            raise errors.InvalidRequest(
                "Channels are recognised one by one in recordings only; a stream for each does it live.",
                code="option_unavailable",
                param="multichannel",
            )
        fields = {**self.fields, "multichannel": False}
        options = Query(fields).transcription(actor)
        encoding = RAW_ENCODINGS.get(self.fields.get("encoding", ""), "opus")
        return Start(
            {name: getattr(options, name) for name in TranscriptionOptions.__slots__},
            {
                "encoding": encoding,
                "sample_rate": self.fields.get("sample_rate", 16_000),
                "interim_results": self.wants("interim_results"),
            },
            self._endpointing(),
        )

    def _endpointing(self) -> live.Endpointing:
        wanted = self.fields.get("endpointing", True)
        end = self.fields.get("utterance_end_ms")
        told = end / 1000 if end else None
        if isinstance(wanted, bool):
            return live.Endpointing(enabled=wanted, utterance_end_seconds=told)
        silence = max(LEAST_SILENCE_SECONDS, wanted / 1000)
        return live.Endpointing(silence_seconds=silence, utterance_end_seconds=told)

    def _language(self) -> str | None:
        language = self.fields.get("language")
        return None if language == "multi" or self.wants("detect_language") else language

    def _hotwords(self) -> list[str]:
        """Without weights; a word that is to be avoided is none to favour."""
        found = [phrase.strip() for phrase in self.fields.get("keyterm", ())]
        for keyword in self.fields.get("keywords", ()):
            phrase, colon, weight = keyword.rpartition(":")
            is_weighted = bool(colon) and _is_number(weight)
            if not (is_weighted and float(weight) < 0):
                found.append((phrase if is_weighted else keyword).strip())
        return [phrase[:100] for phrase in dict.fromkeys(found) if phrase]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first(details: Any) -> serializers.ErrorDetail:
    """Of a field's errors; those of a list's items are under their places."""
    while not isinstance(details, serializers.ErrorDetail):
        details = next(iter(details.values())) if isinstance(details, dict) else details[0]
    return details
