"""/api/v1/auth/sso: the organisation's OpenID provider."""

from __future__ import annotations

from typing import Any, ClassVar

from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Access
from accounts.models import Role, SsoProvider
from accounts.sso import services
from common import errors
from common.api import JsonView
from common.network import public_url
from common.serializers import StrictSerializer, validated

OWNER = Access(role=Role.OWNER)  # who settles who signs in could sign in as anybody of the organisation
ROLES = SsoProvider.ROLES


class SsoInputSerializer(StrictSerializer):
    issuer = serializers.CharField(max_length=500, help_text="Below it lies /.well-known/openid-configuration.")
    client_id = serializers.CharField(max_length=300)
    client_secret = serializers.CharField(
        max_length=500, write_only=True, required=False, help_text="Never shown; left out, it stays as it is."
    )
    domains = serializers.ListField(
        child=serializers.CharField(max_length=253),
        max_length=services.MOST_DOMAINS,
        help_text="Of the e-mail addresses that may sign in.",
    )
    default_role = serializers.ChoiceField(choices=ROLES, default=Role.VIEWER, help_text="Of new members.")
    role_claim = serializers.CharField(
        max_length=100, default="", allow_blank=True, help_text="Claim of the ID token that settles roles: `groups`."
    )
    roles = serializers.DictField(
        child=serializers.ChoiceField(choices=ROLES), default=dict, help_text="What values of the claim stand for."
    )
    enabled = serializers.BooleanField(default=True)

    def validate_roles(self, roles: dict[str, str]) -> dict[str, str]:
        if len(roles) > 100 or any(len(value) > 200 for value in roles):
            raise serializers.ValidationError("At most 100 values of 200 characters.", code="too_many")
        return roles


class SsoSerializer(SsoInputSerializer):
    redirect_uri = serializers.CharField(help_text="To register at the provider.")


class SsoView(JsonView):
    access: ClassVar = {"GET": Access(role=Role.ADMIN), "PUT": OWNER, "DELETE": OWNER}

    @extend_schema(responses={200: SsoSerializer})
    def get(self, request: Request) -> Response:
        """The organisation's OpenID provider, without the client secret; 404 where there is none."""
        row = services.of(self.actor.organization)
        if row is None:
            raise errors.NotFound("This organisation has no single sign-on.", code="sso_unknown")
        return Response(self._answer(row))

    @extend_schema(request=SsoInputSerializer, responses={200: SsoSerializer})
    def put(self, request: Request) -> Response:
        """Settle it. The provider is asked for its metadata at once."""
        fields = validated(SsoInputSerializer, request.data)
        return Response(self._answer(services.configure(actor=self.actor, fields=fields)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Forget it; members stay, and sign in with passwords."""
        services.remove(actor=self.actor)
        return Response(status=204)

    def _answer(self, row: SsoProvider) -> dict[str, Any]:
        uri = redirect_uri(self.request, str(row.organization_id))
        return {**SsoInputSerializer(row).data, "redirect_uri": uri}


def redirect_uri(request: Any, organization_id: str) -> str:
    """Of the organisation's own: an answer of one provider cannot be taken for another's."""
    return public_url(request) + reverse("dashboard:sso-callback", args=[organization_id])
