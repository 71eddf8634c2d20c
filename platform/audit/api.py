"""/api/v1/audit"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role
from audit import selectors
from audit.models import ActorType, AuditEntry
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated


class AuditActorSerializer(serializers.Serializer):
    type = serializers.ChoiceField(choices=ActorType.choices)
    id = serializers.UUIDField(allow_null=True)
    label = serializers.CharField(  # type: ignore[assignment]  # also an attribute of fields
        help_text="The e-mail address or the key's name, as it was then."
    )


class AuditObjectSerializer(serializers.Serializer):
    type = serializers.CharField()
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]


class AuditEntrySerializer(serializers.ModelSerializer):
    actor = serializers.SerializerMethodField()
    object = serializers.SerializerMethodField()

    class Meta:
        model = AuditEntry
        fields = ("id", "created_at", "action", "actor", "object", "address", "user_agent", "request_id", "details")
        read_only_fields = fields

    @extend_schema_field(AuditActorSerializer)
    def get_actor(self, entry: AuditEntry) -> dict[str, Any]:
        return {"type": entry.actor_type, "id": entry.actor_id, "label": entry.actor_label}

    @extend_schema_field(AuditObjectSerializer(allow_null=True))
    def get_object(self, entry: AuditEntry) -> dict[str, Any] | None:
        if not entry.object_type:
            return None
        return {"type": entry.object_type, "id": entry.object_id, "label": entry.object_label}


class AuditQuerySerializer(StrictSerializer):
    action = serializers.CharField(max_length=64, required=False)
    actor = serializers.CharField(max_length=254, required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)
    page = serializers.IntegerField(min_value=1, required=False)
    page_size = serializers.IntegerField(min_value=1, required=False)


class AuditView(JsonView):
    access: ClassVar = {"GET": Access(role=Role.ADMIN)}

    @extend_schema(
        **paginated_schema(
            AuditEntrySerializer,
            OpenApiParameter("action", str, description="`api_key.created`, or `api_key` for all of its kind."),
            OpenApiParameter("actor", str, description="The id or e-mail address of who did it."),
            OpenApiParameter("since", OpenApiTypes.DATETIME),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="Before then."),
        ),
        operation_id="audit_list",
    )
    def get(self, request: Request) -> Response:
        """Who did what in the organisation, newest first."""
        query = validated(AuditQuerySerializer, request.query_params)
        entries = selectors.list_entries(
            actor=self.actor,
            action=query.get("action"),
            by=query.get("actor"),
            since=query.get("since"),
            until=query.get("until"),
        )
        return paginated(self, entries, AuditEntrySerializer)
