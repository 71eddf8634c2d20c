"""/api/v1/organization: its settings, the export of its data, its deletion, and the proof of what was deleted."""

from __future__ import annotations

from typing import ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Organization, Role
from audit import services as audit
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated
from common.streaming import in_thread
from retention import export, selectors, services
from retention.models import DeletionRecord

ADMIN = Access(role=Role.ADMIN)
OWNER = Access(role=Role.OWNER)


class OrganizationDetailSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organization
        fields = ("id", "slug", "name", "audio_retention_days", "transcript_retention_days", "created_at")
        read_only_fields = fields


class OrganizationView(JsonView):
    access: ClassVar = {"GET": Access(), "PATCH": OWNER, "DELETE": OWNER}

    class OrganizationChangesSerializer(StrictSerializer):
        name = serializers.CharField(max_length=200, required=False)
        audio_retention_days = serializers.IntegerField(min_value=0, max_value=36_500, required=False, allow_null=True)
        transcript_retention_days = serializers.IntegerField(
            min_value=0, max_value=36_500, required=False, allow_null=True
        )

    class ConfirmationSerializer(StrictSerializer):
        confirm = serializers.CharField(max_length=63, help_text="The organisation's slug.")

    @extend_schema(responses={200: OrganizationDetailSerializer})
    def get(self, request: Request) -> Response:
        """The organisation and how long it keeps audio and texts."""
        return Response(OrganizationDetailSerializer(self.actor.organization).data)

    @extend_schema(request=OrganizationChangesSerializer, responses={200: OrganizationDetailSerializer})
    def patch(self, request: Request) -> Response:
        """Rename the organisation, or change how long it keeps audio and texts (0: not after the answer)."""
        changes = validated(self.OrganizationChangesSerializer, request.data)
        return Response(
            OrganizationDetailSerializer(services.update_organization(actor=self.actor, changes=changes)).data
        )

    @extend_schema(request=ConfirmationSerializer, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Delete the organisation and all of its data, for good."""
        confirm = validated(self.ConfirmationSerializer, request.data)["confirm"]
        services.require_confirmation(actor=self.actor, confirm=confirm)
        services.delete_organization(organization=self.actor.organization, by=self.actor.id)
        return Response(status=204)


class OrganizationExportView(JsonView):
    access: ClassVar = {"GET": OWNER}

    @extend_schema(responses={(200, "application/zip"): bytes})
    def get(self, request: Request) -> StreamingHttpResponse:
        """All of the organisation's data as a zip archive: rows as JSON lines, audio as files."""
        organization = self.actor.organization
        audit.record(actor=self.actor, action="organization.exported", target=organization)
        response = StreamingHttpResponse(in_thread(export.archive(organization)), content_type="application/zip")
        response["Content-Disposition"] = f'attachment; filename="{organization.slug}.zip"'
        return response


class DeletionListView(JsonView):
    access: ClassVar = {"GET": ADMIN}

    class DeletionSerializer(serializers.ModelSerializer):
        class Meta:
            model = DeletionRecord
            fields = ("id", "object_type", "object_id", "reason", "stored_objects", "deleted_by", "created_at")
            read_only_fields = fields

    @extend_schema(**paginated_schema(DeletionSerializer), operation_id="organization_deletions_list")
    def get(self, request: Request) -> Response:
        """Proof of deletion: what was deleted, when and why; newest first."""
        return paginated(self, selectors.list_deletions(actor=self.actor), self.DeletionSerializer)
