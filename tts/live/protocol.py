"""What a client of the speech socket says: JSON text messages with a `type`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rest_framework import serializers

from common.serializers import StrictSerializer
from ml.types import SynthesisOptions
from sockets import messages
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
    kind, fields = messages.read(text, _SERIALIZERS)
    return Message(kind, messages.validated(_SERIALIZERS[kind], fields))
