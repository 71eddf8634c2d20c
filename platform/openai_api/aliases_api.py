"""/api/v1/openai/aliases"""

from __future__ import annotations

import uuid
from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated
from ml.types import MOST_VOICE_CHARACTERS
from openai_api import selectors, services
from openai_api.models import AliasKind, OpenAIAlias

READ = Access()
ADMIN = Access(role=Role.ADMIN)


class AliasSerializer(serializers.ModelSerializer):
    class Meta:
        model = OpenAIAlias
        fields = ("id", "kind", "name", "target", "created_at")
        read_only_fields = fields


class AliasInputSerializer(StrictSerializer):
    kind = serializers.ChoiceField(choices=AliasKind.choices, help_text="What the name stands for.")
    name = serializers.RegexField(
        r"\A[A-Za-z0-9][A-Za-z0-9._:/+@-]*\Z",
        max_length=100,
        help_text="What clients send, such as whisper-1 or alloy.",
    )
    target = serializers.CharField(
        max_length=MOST_VOICE_CHARACTERS,
        required=False,
        allow_blank=True,
        help_text="The name of a model, or the id of a voice. Empty, for a model: whichever serves the language.",
    )


class AliasListView(JsonView):
    access: ClassVar = {"GET": READ, "POST": ADMIN}

    @extend_schema(**paginated_schema(AliasSerializer), operation_id="openai_aliases_list")
    def get(self, request: Request) -> Response:
        """The names that the organisation's OpenAI clients may send, beside the platform's."""
        return paginated(self, selectors.list_aliases(actor=self.actor), AliasSerializer)

    @extend_schema(request=AliasInputSerializer, responses={201: AliasSerializer})
    def post(self, request: Request) -> Response:
        """Let a name stand for a model or a voice."""
        alias = services.create_alias(actor=self.actor, **validated(AliasInputSerializer, request.data))
        return Response(AliasSerializer(alias).data, status=201)


class AliasView(JsonView):
    access: ClassVar = {"GET": READ, "PATCH": ADMIN, "DELETE": ADMIN}

    @extend_schema(responses={200: AliasSerializer})
    def get(self, request: Request, alias_id: uuid.UUID) -> Response:
        """One alias."""
        return Response(AliasSerializer(selectors.get_alias(actor=self.actor, alias_id=alias_id)).data)

    @extend_schema(request=AliasInputSerializer(partial=True), responses={200: AliasSerializer})
    def patch(self, request: Request, alias_id: uuid.UUID) -> Response:
        """Change an alias."""
        alias = selectors.get_alias(actor=self.actor, alias_id=alias_id)
        changes = validated(AliasInputSerializer, request.data, partial=True)
        return Response(AliasSerializer(services.update_alias(actor=self.actor, alias=alias, changes=changes)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, alias_id: uuid.UUID) -> Response:
        """Delete an alias: the name means again what it means to the platform."""
        services.delete_alias(actor=self.actor, alias=selectors.get_alias(actor=self.actor, alias_id=alias_id))
        return Response(status=204)
