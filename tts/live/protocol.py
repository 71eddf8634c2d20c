"""What a client of the speech socket says: JSON text messages with a `type`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from common import errors
from common.serializers import StrictSerializer
from ml.types import SynthesisOptions
from tts.api import SpeechOptionsSerializer


class StartSerializer(SpeechOptionsSerializer):
    """`{"type": "start", …}`: the options of POST /tts/synthesize, without SSML."""

    max_ahead_seconds = serializers.FloatField(
        min_value=0.5,
        max_value=600.0,
        required=False,
        help_text="How much audio may be sent before it is time to hear it, so that `clear` finds something to drop.",
    )


class SpeakSerializer(StrictSerializer):
    text = serializers.JSONField(help_text="The next fragment of the text, as short as a letter.")

    def validate_text(self, text: Any) -> str:
        """Any string, also half a pair of surrogates: what is no text is left out before it is spoken."""
        if not isinstance(text, str):
            raise serializers.ValidationError("Not a valid string.", code="invalid")
        return text


class BareSerializer(StrictSerializer):
    """A message that says all with its type."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to speak, in which format and how far ahead."""

    options: SynthesisOptions
    format: str
    max_ahead_seconds: float | None


@dataclass(frozen=True, slots=True)
class Message:
    type: str
    fields: dict[str, Any]

    @property
    def start(self) -> Start:
        """Of a message of this type."""
        fields = dict(self.fields)
        ahead, format_name = fields.pop("max_ahead_seconds", None), fields.pop("format", "wav")
        return Start(SynthesisOptions(**fields), format_name, ahead)


_SERIALIZERS: dict[str, type[StrictSerializer]] = {
    "start": StartSerializer,
    "speak": SpeakSerializer,
    **dict.fromkeys(("flush", "clear", "stop", "keepalive"), BareSerializer),
}


def parse(text: str) -> Message:
    """Raises InvalidRequest for what is no message of this protocol."""
    try:
        raw = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise errors.InvalidRequest("The message is not valid JSON.", code="malformed_message") from None
    kind = raw.pop("type", None) if isinstance(raw, dict) else None
    serializer_class = _SERIALIZERS.get(kind) if isinstance(kind, str) else None
    if serializer_class is None:
        known = ", ".join(_SERIALIZERS)
        raise errors.InvalidRequest(
            f"A message is an object whose type is one of {known}.", code="unknown_message", param="type"
        )
    serializer = serializer_class(data=raw)
    if not serializer.is_valid():
        param, details = next(iter(serializer.errors.items()))
        raise errors.InvalidRequest(str(details[0]), code=f"parameter_{details[0].code}", param=param)
    return Message(str(kind), serializer.validated_data)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
