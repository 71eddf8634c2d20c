"""POST /api/v1/stt/transcribe-realtime: what a browser needs to speak to the socket, without a key in the page."""

from __future__ import annotations

import uuid
from typing import ClassVar
from urllib.parse import urlencode

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import client_tokens
from accounts.actors import Access
from accounts.models import Role
from common.api import JsonView
from common.serializers import StrictSerializer, validated

SCOPE = "stt"


class RealtimeView(JsonView):
    access: ClassVar = {"POST": Access(role=Role.DEVELOPER, scope=SCOPE)}

    class RealtimeSerializer(StrictSerializer):
        expires_in = serializers.IntegerField(
            min_value=10, max_value=3600, default=60, help_text="Seconds within which the session must be opened."
        )
        allowed_origins = serializers.ListField(
            child=serializers.URLField(max_length=200), max_length=20, default=list, help_text="Pages that may use it."
        )

    class RealtimeSessionSerializer(serializers.Serializer):
        session_id = serializers.UUIDField(help_text="The id of the job that the session becomes.")
        websocket_url = serializers.CharField(help_text="With the token in it.")
        client_token = serializers.CharField()
        expires_at = serializers.DateTimeField()

    @extend_schema(request=RealtimeSerializer, responses={201: RealtimeSessionSerializer})
    def post(self, request: Request) -> Response:
        """A client token for one live session, for a browser."""
        fields = validated(self.RealtimeSerializer, request.data)
        token, claims = client_tokens.issue(
            actor=self.actor,
            scope=SCOPE,
            session_id=uuid.uuid4(),
            seconds=fields["expires_in"],
            allowed_origins=[origin.rstrip("/") for origin in fields["allowed_origins"]],
        )
        address = request.build_absolute_uri("/api/v1/stt/stream").replace("http", "ws", 1)
        body = {
            "session_id": str(claims.session_id),
            "websocket_url": f"{address}?{urlencode({'client_token': token})}",
            "client_token": token,
            "expires_at": claims.expires_at,
        }
        return Response(body, status=201, headers={"Cache-Control": "no-store"})
