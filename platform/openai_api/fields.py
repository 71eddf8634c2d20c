"""Fields of requests as OpenAI's clients send them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ml.types import MOST_VOICE_CHARACTERS
from openai_api import forms


class NamedChoiceField(serializers.ChoiceField):
    """Says which values there are, as OpenAI does."""

    def __init__(self, choices: Sequence[str], **kwargs: Any) -> None:
        listed = ", ".join(f"'{choice}'" for choice in choices)
        messages: dict[str, Any] = {"invalid_choice": f"Invalid value: '{{input}}'. Supported values are: {listed}."}
        super().__init__(choices, error_messages=messages, **kwargs)


class ListField(serializers.ListField):
    """A list, a list as JSON, or a single value that stands for a list of one."""

    def to_internal_value(self, data: Any) -> list[Any]:
        data = forms.decoded(data)
        return super().to_internal_value(data if isinstance(data, list) else [data])


class PhrasesField(ListField):
    """Phrases: a list, or one text with commas between them."""

    child = serializers.CharField(max_length=400)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, str):
            data = [part.strip() for part in data.split(",") if part.strip()]
        return super().to_internal_value(data)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 100},
            {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 100}},
                "additionalProperties": False,
            },
        ]
    }
)
class VoiceField(serializers.Field):
    """A name, or `{"id": …}`."""

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, dict) and set(data) == {"id"}:
            data = data["id"]
        if not isinstance(data, str) or not 1 <= len(data) <= MOST_VOICE_CHARACTERS:
            raise serializers.ValidationError(
                "Invalid value for 'voice': expected a name, or an object with an 'id'.", code="invalid_choice"
            )
        return data

    def to_representation(self, value: str) -> str:
        return value


class VadSerializer(serializers.Serializer):
    """`chunking_strategy` as an object."""

    type = serializers.ChoiceField(choices=["server_vad"])
    threshold = serializers.FloatField(min_value=0.0, max_value=1.0, required=False)
    prefix_padding_ms = serializers.IntegerField(min_value=0, max_value=60_000, required=False)
    silence_duration_ms = serializers.IntegerField(min_value=0, max_value=60_000, required=False)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "enum": ["auto"]},
            {
                "type": "object",
                "required": ["type"],
                "properties": {"type": {"type": "string", "enum": ["server_vad"]}},
            },
        ]
    }
)
class ChunkingField(serializers.Field):
    """`auto`, or an object that sets the voice activity detection."""

    def to_internal_value(self, data: Any) -> Any:
        data = forms.decoded(data)
        if data == "auto":
            return data
        serializer = VadSerializer(data=data)
        if not isinstance(data, dict) or not serializer.is_valid():
            raise serializers.ValidationError(
                "Invalid value for 'chunking_strategy': expected 'auto' or an object of type 'server_vad'.",
                code="invalid_choice",
            )
        return serializer.validated_data

    def to_representation(self, value: Any) -> Any:
        return value
