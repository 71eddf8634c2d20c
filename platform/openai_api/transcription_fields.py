"""What requests for transcriptions and translations may have."""

from __future__ import annotations

from typing import Any

from django.http import QueryDict
from rest_framework import serializers

from openai_api import forms, known_speakers
from openai_api.fields import ChunkingField, ListField, NamedChoiceField, PhrasesField
from stt.api import StageOptionsSerializer

JSON, VERBOSE, DIARIZED = "json", "verbose_json", "diarized_json"
TRANSLATION_FORMATS = (JSON, "text", "srt", VERBOSE, "vtt")
TRANSCRIPTION_FORMATS = (*TRANSLATION_FORMATS, DIARIZED)
STREAMED_FORMATS = (JSON, "text", DIARIZED)

_PHRASES_CHARACTERS = 4000


class _RecordingSerializer(StageOptionsSerializer):
    """Both kinds of request: OpenAI's parameters, and with `extra_body` the platform's own options."""

    file = serializers.FileField(allow_empty_file=True, help_text="Any common audio or video container.")
    model = serializers.CharField(
        max_length=100, help_text="An alias such as `whisper-1`, or a model of GET /v1/models."
    )
    temperature = serializers.FloatField(
        min_value=0.0, max_value=1.0, default=0.0, help_text="Accepted; the engines decode at 0 and rise by themselves."
    )
    hotwords = PhrasesField(required=False, help_text="Own: phrases to favour, as a list or with commas between.")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        fields = forms.plain(data) if isinstance(data, QueryDict) else dict(data)
        optional = {name for name, field in self.fields.items() if not field.required}
        return super().to_internal_value({k: v for k, v in fields.items() if k not in optional or v not in (None, "")})

    def validate_hotwords(self, phrases: list[str]) -> list[str]:
        if sum(map(len, phrases)) > _PHRASES_CHARACTERS:
            raise serializers.ValidationError(f"At most {_PHRASES_CHARACTERS:,} characters.", code="max_length")
        return phrases


class TranslationSerializer(_RecordingSerializer):
    response_format = NamedChoiceField(TRANSLATION_FORMATS, default=JSON)


class TranscriptionSerializer(_RecordingSerializer):
    response_format = NamedChoiceField(TRANSCRIPTION_FORMATS, default=JSON)
    language = serializers.CharField(max_length=35, required=False, help_text="ISO 639-1 or BCP-47.")
    languages = ListField(
        child=serializers.CharField(max_length=35), required=False, help_text="One is taken as `language`."
    )
    keywords = PhrasesField(required=False, help_text="The same as `hotwords`.")
    timestamp_granularities = ListField(
        child=NamedChoiceField(("word", "segment")), default=["segment"], help_text="For `verbose_json`."
    )
    include = ListField(child=NamedChoiceField(("logprobs",)), default=list, help_text="For `json`.")
    stream = serializers.BooleanField(default=False, help_text="Answer with events as it is heard.")
    chunking_strategy = ChunkingField(
        required=False, help_text="Accepted: recordings are always cut by voice activity detection."
    )
    known_speaker_names = ListField(
        child=serializers.CharField(max_length=100), required=False, help_text="For `diarized_json`; up to four."
    )
    known_speaker_references = ListField(
        child=serializers.CharField(max_length=8_000_000),
        required=False,
        help_text="A data URL for each name, with 2 to 10 seconds of the voice.",
    )

    def validate_keywords(self, phrases: list[str]) -> list[str]:
        return self.validate_hotwords(phrases)

    def validate(self, fields: dict[str, Any]) -> dict[str, Any]:
        chosen = fields["response_format"]
        _check_known_speakers(fields)
        if "timestamp_granularities" in self.initial_names and chosen != VERBOSE:
            _refuse("timestamp_granularities", f"needs response_format '{VERBOSE}', not '{chosen}'")
        if fields["include"] and chosen != JSON:
            _refuse("include", f"needs response_format '{JSON}', not '{chosen}'")
        if fields["stream"] and chosen not in STREAMED_FORMATS:
            _refuse("stream", f"is for the response formats {', '.join(STREAMED_FORMATS)}, not '{chosen}'")
        return fields

    @property
    def initial_names(self) -> set[str]:
        """The parameters that the request has."""
        return {name.partition("[")[0] for name in self.initial_data}


def _check_known_speakers(fields: dict[str, Any]) -> None:
    """Decodes the samples."""
    names, references = (fields.get(f"known_speaker_{part}", []) for part in ("names", "references"))
    if len(names) != len(references):
        _refuse("known_speaker_references", "needs one sample for each of known_speaker_names")
    if len(names) > known_speakers.MOST or len(set(names)) < len(names):
        _refuse("known_speaker_names", f"has at most {known_speakers.MOST} different names")
    if names and fields["response_format"] != DIARIZED:
        _refuse("known_speaker_names", f"needs response_format '{DIARIZED}', not '{fields['response_format']}'")
    try:
        fields["known_speaker_references"] = [known_speakers.content_of(reference) for reference in references]
    except ValueError:
        _refuse("known_speaker_references", "is a list of data URLs, such as data:audio/wav;base64,…")


def _refuse(param: str, why: str) -> None:
    raise serializers.ValidationError({param: [serializers.ErrorDetail(f"'{param}' {why}.", code="invalid_choice")]})
