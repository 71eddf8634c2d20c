"""Keys for browsers: POST /v1/realtime/client_secrets, and /v1/realtime/transcription_sessions of the beta."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common.serializers import StrictSerializer, validated
from openai_api.base import OpenAIView
from openai_api.fields import NamedChoiceField
from openai_api.realtime import secrets
from openai_api.realtime.settings import RealtimeBetaSessionSerializer, RealtimeSessionSerializer, Settings
from stt import services

DEFAULT_SECONDS = 600
_NOT_STORED = {"Cache-Control": "no-store"}


class RealtimeExpirySerializer(StrictSerializer):
    anchor = NamedChoiceField(("created_at",), default="created_at")
    seconds = serializers.IntegerField(min_value=10, max_value=7200, default=DEFAULT_SECONDS)


class ClientSecretsView(OpenAIView):
    access: ClassVar = {"POST": Access(role=Role.DEVELOPER, scope=secrets.SCOPE)}

    class ClientSecretRequestSerializer(StrictSerializer):
        expires_after = RealtimeExpirySerializer(required=False)
        session = RealtimeSessionSerializer(required=False)

    class ClientSecretSerializer(serializers.Serializer):
        value = serializers.CharField(help_text="Begins with `ek_`; opens sessions until it expires.")
        expires_at = serializers.IntegerField(help_text="Seconds since 1970.")
        session = serializers.DictField()

    @extend_schema(
        request=ClientSecretRequestSerializer,
        responses={200: ClientSecretSerializer},
        operation_id="openai_realtime_client_secret",
    )
    def post(self, request: Request) -> Response:
        """A short-lived key for a browser, with the settings of its transcription sessions."""
        fields = validated(self.ClientSecretRequestSerializer, request.data)
        given: Any = request.data
        settings = Settings().updated(given["session"], shape="ga") if "session" in fields else Settings()
        seconds = fields.get("expires_after", {}).get("seconds", DEFAULT_SECONDS)
        value, expires_at = _issue(self, settings, seconds)
        session = {"id": _session_id(), "object": "realtime.transcription_session", "expires_at": 0}
        body = {"value": value, "expires_at": expires_at, "session": {**session, **settings.to_json()}}
        return Response(body, headers=_NOT_STORED)


class TranscriptionSessionsView(OpenAIView):
    access: ClassVar = {"POST": Access(role=Role.DEVELOPER, scope=secrets.SCOPE)}

    class TranscriptionSessionSerializer(RealtimeBetaSessionSerializer):
        client_secret = serializers.DictField(help_text="`{value, expires_at}`")  # type: ignore[assignment]

    @extend_schema(
        request=RealtimeBetaSessionSerializer,
        responses={200: TranscriptionSessionSerializer},
        operation_id="openai_realtime_transcription_session",
    )
    def post(self, request: Request) -> Response:
        """The same in the beta's shape."""
        given: Any = request.data
        settings = Settings().updated(given, shape="beta", within="")
        wanted = (given.get("client_secret") or {}).get("expires_at") or {}
        seconds = validated(RealtimeExpirySerializer, wanted)["seconds"]
        value, expires_at = _issue(self, settings, seconds)
        session: dict[str, Any] = {"id": _session_id(), "object": "realtime.transcription_session"}
        secret = {"value": value, "expires_at": expires_at}
        return Response({**session, **settings.to_beta_json(), "client_secret": secret}, headers=_NOT_STORED)


def _issue(view: OpenAIView, settings: Settings, seconds: int) -> tuple[str, int]:
    start = settings.start(actor=view.actor)
    services.verify(services.with_defaults(actor=view.actor, options=start.options))
    value, expires_at = secrets.issue(actor=view.actor, settings=settings, seconds=seconds)
    return value, int(expires_at.timestamp())


def _session_id() -> str:
    return f"sess_{uuid.uuid4().hex[:24]}"
