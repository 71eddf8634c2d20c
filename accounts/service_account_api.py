"""/api/v1/auth/service-accounts"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import selectors, service_accounts
from accounts.api import ADMIN
from accounts.models import Role, ServiceAccount
from common.api import JsonView, paginated, paginated_schema
from common.serializers import StrictSerializer, validated


class ServiceAccountSerializer(serializers.ModelSerializer):
    disabled = serializers.SerializerMethodField()
    created_by = serializers.EmailField(source="created_by.email", allow_null=True, default=None)
    usable_keys = serializers.IntegerField(default=0)

    class Meta:
        model = ServiceAccount
        fields = ("id", "name", "description", "role", "disabled", "usable_keys", "created_at", "created_by")
        read_only_fields = fields

    def get_disabled(self, row: ServiceAccount) -> bool:
        return row.disabled_at is not None


class ServiceAccountInputSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=300, required=False, allow_blank=True)
    role = serializers.ChoiceField(
        choices=ServiceAccount.ROLES,
        required=False,
        help_text="What its keys may do within their scopes; default: developer.",
    )


class ServiceAccountChangesSerializer(ServiceAccountInputSerializer):
    disabled = serializers.BooleanField(required=False, help_text="Refuses all of its keys while it is true.")


class ServiceAccountListView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(**paginated_schema(ServiceAccountSerializer), operation_id="auth_service_accounts_list")
    def get(self, request: Request) -> Response:
        """The organisation's service accounts, by name."""
        return paginated(self, selectors.list_service_accounts(actor=self.actor), ServiceAccountSerializer)

    @extend_schema(request=ServiceAccountInputSerializer, responses={201: ServiceAccountSerializer})
    def post(self, request: Request) -> Response:
        """Make a service account. It gets its keys with `POST /auth/api-keys`."""
        fields: dict[str, Any] = {"role": Role.DEVELOPER, **validated(ServiceAccountInputSerializer, request.data)}
        row = service_accounts.create(actor=self.actor, **fields)
        return Response(ServiceAccountSerializer(row).data, status=201)


class ServiceAccountView(JsonView):
    access: ClassVar = {"GET": ADMIN, "PATCH": ADMIN, "DELETE": ADMIN}

    @extend_schema(responses={200: ServiceAccountSerializer})
    def get(self, request: Request, account_id: uuid.UUID) -> Response:
        """One service account."""
        return Response(ServiceAccountSerializer(self._row(account_id)).data)

    @extend_schema(request=ServiceAccountChangesSerializer(partial=True), responses={200: ServiceAccountSerializer})
    def patch(self, request: Request, account_id: uuid.UUID) -> Response:
        """Change, disable or enable it."""
        changes = validated(ServiceAccountChangesSerializer, request.data, partial=True)
        row = service_accounts.update(actor=self.actor, account=self._row(account_id), changes=changes)
        return Response(ServiceAccountSerializer(row).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, account_id: uuid.UUID) -> Response:
        """Revoke all of its keys for good, and forget it."""
        service_accounts.delete(actor=self.actor, account=self._row(account_id))
        return Response(status=204)

    def _row(self, account_id: uuid.UUID) -> ServiceAccount:
        return selectors.get_service_account(actor=self.actor, account_id=account_id)
