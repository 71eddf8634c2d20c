"""What clients of the recognition socket say, and what they are told: JSON text messages with a `type`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rest_framework import serializers

from common.serializers import StrictSerializer
from ml.audio.stream import ENCODINGS, MAX_RATE, MIN_RATE
from ml.stt import live
from ml.types import Word
from sockets import messages
from stt.live.listening import Start

MAX_HOTWORDS = 200
CONTROLS = ("finalize", "keepalive", "stop")

_ENDPOINTING = ("silence_seconds", "max_utterance_seconds", "utterance_end_seconds")
_SOUND = ("encoding", "sample_rate", "interim_results")


class HotwordsField(serializers.Field):
    """A list of phrases, or one text with commas between them."""

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        phrases = data.split(",") if isinstance(data, str) else data
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
            raise serializers.ValidationError("A list of phrases is expected.", code="invalid")
        kept = tuple(phrase.strip()[:100] for phrase in phrases if phrase.strip())
        if len(kept) > MAX_HOTWORDS:
            raise serializers.ValidationError(f"At most {MAX_HOTWORDS} phrases.", code="max_length")
        return kept


class StartSerializer(StrictSerializer):
    """`{"type": "start", …}`."""

    encoding = serializers.ChoiceField(choices=list(ENCODINGS), default="pcm_s16le")
    sample_rate = serializers.IntegerField(min_value=MIN_RATE, max_value=MAX_RATE, default=16_000)
    interim_results = serializers.BooleanField(default=True)
    keep_audio = serializers.BooleanField(default=False)
    language = serializers.CharField(max_length=35, required=False)
    model = serializers.CharField(max_length=100, required=False)
    prompt = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    hotwords = HotwordsField(required=False)
    task = serializers.ChoiceField(choices=["transcribe", "translate"], required=False)
    itn = serializers.BooleanField(required=False)
    punctuate = serializers.BooleanField(required=False)
    profanity_filter = serializers.BooleanField(required=False)
    redact = serializers.BooleanField(required=False)
    silence_seconds = serializers.FloatField(min_value=0.1, max_value=5.0, required=False)
    max_utterance_seconds = serializers.FloatField(min_value=2.0, max_value=30.0, required=False)
    utterance_end_seconds = serializers.FloatField(min_value=0.2, max_value=30.0, required=False)


@dataclass(frozen=True, slots=True)
class Message:
    type: str
    start: Start | None = None


def parse(text: str) -> Message:
    """Raises InvalidRequest for what is no message of this protocol."""
    kind, fields = messages.read(text, ("start", *CONTROLS))
    return Message(kind, _start(messages.validated(StartSerializer, fields)) if kind == "start" else None)


def _start(fields: dict[str, Any]) -> Start:
    sound = {name: fields.pop(name) for name in _SOUND}
    endpointing = live.Endpointing(**{name: fields.pop(name) for name in _ENDPOINTING if name in fields})
    keep_audio = fields.pop("keep_audio")
    if "language" in fields:
        fields["language_hint"] = fields.pop("language")
    return Start(fields, sound, endpointing, keep_audio)


def told(event: live.LiveEvent) -> dict[str, Any] | None:
    """The message that tells an event; None for those that no message of their own tells."""
    match event:
        case live.SpeechStarted():
            return {"type": "speech_started", **asdict(event)}
        case live.Partial():
            fields = {"segment": event.segment, "text": event.text, "stable": event.stable}
            return {"type": "partial", **fields, "start": event.start, "end": event.end}
        case live.Final():
            fields = asdict(event)
            return {"type": "final", **fields, "words": [_word(word) for word in event.words]}
        case live.UtteranceEnd():
            return {"type": "utterance_end", "last_word_end": event.last_word_end}
        case live.Finalized():
            return {"type": "finalized", "at": event.at}
        case _:
            return None


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": word.start, "end": word.end, "confidence": word.confidence}
