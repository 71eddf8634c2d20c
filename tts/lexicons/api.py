"""/api/v1/tts/lexicons and /api/v1/tts/voice-defaults"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common import errors
from common.access import get_owned
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated
from ml.audio.loudness import LEAST_LUFS, MOST_LUFS
from ml.tts import lexicon as rules
from ml.tts import pls
from ml.types import MOST_VOICE_CHARACTERS
from tts.lexicons import selectors, services
from tts.lexicons.models import LANGUAGE_TAG, PronunciationLexicon, VoiceDefaults

READ = Access(scope="tts")
WRITE = Access(role=Role.DEVELOPER)
FORMATS = ("pls", "csv")
MODES = ("replace", "merge")


class EntrySerializer(StrictSerializer):
    grapheme = serializers.CharField(max_length=rules.MAX_GRAPHEME, help_text="The word or words as written.")
    alias = serializers.CharField(max_length=rules.MAX_SPOKEN, required=False, default="", allow_blank=True)
    ipa = serializers.CharField(max_length=rules.MAX_SPOKEN, required=False, default="", allow_blank=True)
    language = serializers.CharField(max_length=35, required=False, default="", allow_blank=True, help_text="BCP-47.")
    case_sensitive = serializers.BooleanField(required=False, default=False)


class LexiconSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = PronunciationLexicon
        fields: ClassVar = ["id", "name", "language", "is_default", "entry_count", "created_at", "updated_at"]
        read_only_fields = fields


class LexiconSerializer(LexiconSummarySerializer):
    entries = EntrySerializer(many=True)

    class Meta(LexiconSummarySerializer.Meta):
        fields: ClassVar = [*LexiconSummarySerializer.Meta.fields, "entries"]
        read_only_fields = fields


class LexiconInputSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    language = serializers.RegexField(LANGUAGE_TAG, max_length=35, required=False, allow_blank=True)
    is_default = serializers.BooleanField(required=False, help_text="Apply it wherever a request names no lexicon.")
    entries = EntrySerializer(many=True, required=False)


class LexiconListView(JsonView):
    access: ClassVar = {"GET": READ, "POST": WRITE}

    @extend_schema(**paginated_schema(LexiconSummarySerializer), operation_id="tts_lexicons_list")
    def get(self, request: Request) -> Response:
        """The organisation's lexicons, without their entries."""
        return paginated(self, selectors.list_lexicons(actor=self.actor), LexiconSummarySerializer)

    @extend_schema(request=LexiconInputSerializer, responses={201: LexiconSerializer})
    def post(self, request: Request) -> Response:
        """Make a lexicon."""
        lexicon = services.create_lexicon(actor=self.actor, **validated(LexiconInputSerializer, request.data))
        return Response(LexiconSerializer(lexicon).data, status=201)


class LexiconView(JsonView):
    access: ClassVar = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}

    @extend_schema(responses={200: LexiconSerializer})
    def get(self, request: Request, lexicon_id: uuid.UUID) -> Response:
        """One lexicon with its entries."""
        return Response(LexiconSerializer(selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)).data)

    @extend_schema(request=LexiconInputSerializer(partial=True), responses={200: LexiconSerializer})
    def patch(self, request: Request, lexicon_id: uuid.UUID) -> Response:
        """Change a lexicon; `entries` replace those that it has."""
        lexicon = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        changes = validated(LexiconInputSerializer, request.data, partial=True)
        changed = services.update_lexicon(actor=self.actor, lexicon=lexicon, changes=changes)
        return Response(LexiconSerializer(changed).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, lexicon_id: uuid.UUID) -> Response:
        """Delete a lexicon."""
        lexicon = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        services.delete_lexicon(actor=self.actor, lexicon=lexicon)
        return Response(status=204)


class LexiconExportView(JsonView):
    access: ClassVar = {"GET": READ}

    class ExportQuerySerializer(StrictSerializer):
        format = serializers.ChoiceField(choices=FORMATS, default="pls")
        language = serializers.CharField(max_length=35, required=False)

    @extend_schema(
        parameters=[
            OpenApiParameter("format", str, enum=list(FORMATS), description="Default pls."),
            OpenApiParameter("language", str, description="For pls, which has one: default the lexicon's own."),
        ],
        responses={(200, "application/pls+xml"): str, (200, "text/csv"): str},
    )
    def get(self, request: Request, lexicon_id: uuid.UUID) -> HttpResponse:
        """A lexicon as a W3C PLS 1.0 document, or as CSV, which also keeps languages and case rules."""
        lexicon = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        query = validated(self.ExportQuerySerializer, request.query_params)
        if query["format"] == "csv":
            entries = map(selectors.entry_of, lexicon.entries)
            return _file(pls.write_csv(entries), "text/csv; charset=utf-8", f"{lexicon.id}.csv")
        language = query.get("language") or lexicon.language or "und"
        document = pls.write_pls(selectors.entries_of(lexicon), language)
        return _file(document, "application/pls+xml", f"{lexicon.id}.pls")


class LexiconImportView(JsonView):
    access: ClassVar = {"POST": WRITE}
    parser_classes = (MultiPartParser,)

    class ImportSerializer(StrictSerializer):
        file = serializers.FileField(help_text="PLS 1.0, or CSV with a header: grapheme, alias, ipa, language, …")
        format = serializers.ChoiceField(choices=FORMATS, required=False, help_text="Default: by the file's name.")
        mode = serializers.ChoiceField(choices=MODES, default="replace", help_text="What becomes of old entries.")

    @extend_schema(request={"multipart/form-data": ImportSerializer}, responses={200: LexiconSerializer})
    def post(self, request: Request, lexicon_id: uuid.UUID) -> Response:
        """Read entries from a file."""
        lexicon = selectors.get_lexicon(actor=self.actor, lexicon_id=lexicon_id)
        fields = validated(self.ImportSerializer, request.data)
        upload = fields["file"]
        if upload.size > settings.TTS_LEXICON_MAX_BYTES:
            raise errors.TooLarge(
                f"A lexicon's file has at most {settings.TTS_LEXICON_MAX_BYTES:,} bytes.",
                code="file_too_large",
                param="file",
            )
        format_name = fields.get("format") or ("csv" if upload.name.lower().endswith(".csv") else "pls")
        changed = services.import_entries(
            actor=self.actor,
            lexicon=lexicon,
            data=upload.read(),
            format_name=format_name,
            replace=fields["mode"] == "replace",
        )
        return Response(LexiconSerializer(changed).data)


# ── Voices' defaults ────────────────────────────────────────────────────────────────────────────────────────────────


class VoiceDefaultsSerializer(serializers.ModelSerializer):
    class Meta:
        model = VoiceDefaults
        fields = ("id", "voice", "speed", "pitch", "volume", "loudness", "style", "updated_at")
        read_only_fields = fields


class VoiceDefaultsInputSerializer(StrictSerializer):
    speed = serializers.FloatField(min_value=0.25, max_value=4.0, required=False)
    pitch = serializers.FloatField(min_value=-12.0, max_value=12.0, required=False, help_text="Semitones.")
    volume = serializers.FloatField(min_value=0.0, max_value=2.0, required=False, help_text="Linear gain.")
    loudness = serializers.FloatField(min_value=LEAST_LUFS, max_value=MOST_LUFS, required=False, help_text="LUFS.")
    style = serializers.CharField(  # type: ignore[assignment]  # DRF takes declared fields off the class
        max_length=40, required=False, help_text="A variant's id, for voices that take them."
    )


class VoiceDefaultsListView(JsonView):
    access: ClassVar = {"GET": READ, "POST": WRITE}

    class NewVoiceDefaultsSerializer(VoiceDefaultsInputSerializer):
        voice = serializers.CharField(max_length=MOST_VOICE_CHARACTERS, help_text="An id of GET /tts/voices.")

    @extend_schema(**paginated_schema(VoiceDefaultsSerializer), operation_id="tts_voice_defaults_list")
    def get(self, request: Request) -> Response:
        """How the organisation's voices speak where a request says nothing else."""
        return paginated(self, selectors.list_voice_defaults(actor=self.actor), VoiceDefaultsSerializer)

    @extend_schema(request=NewVoiceDefaultsSerializer, responses={200: VoiceDefaultsSerializer})
    def post(self, request: Request) -> Response:
        """Set a voice's defaults, in place of those that it has."""
        values: dict[str, Any] = validated(self.NewVoiceDefaultsSerializer, request.data)
        row = services.set_voice_defaults(actor=self.actor, voice_id=values.pop("voice"), values=values)
        return Response(VoiceDefaultsSerializer(row).data)


class VoiceDefaultsView(JsonView):
    access: ClassVar = {"DELETE": WRITE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, defaults_id: uuid.UUID) -> Response:
        """Let a voice speak as it does by itself."""
        services.delete_voice_defaults(actor=self.actor, defaults=get_owned(self.actor, VoiceDefaults, defaults_id))
        return Response(status=204)


def _file(data: bytes, content_type: str, name: str) -> HttpResponse:
    return HttpResponse(
        data, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
