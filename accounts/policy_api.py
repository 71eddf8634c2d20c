"""/api/v1/auth/policy: what the organisation demands of credentials."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import policies
from accounts.api import ADMIN, NetworksField
from accounts.models import SecurityPolicy
from common import context
from common.api import JsonView
from common.serializers import StrictSerializer, validated


class PolicyInputSerializer(StrictSerializer):
    networks = NetworksField(
        required=False,
        help_text="From where keys and members may act, such as 203.0.113.0/24; empty: from anywhere. Your own "
        "address must be among them.",
    )
    keys_must_expire = serializers.BooleanField(required=False)
    key_max_days = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=policies.MOST_DAYS,
        help_text="Longest life of a key, from when it is made or rotated. Keys from before go on: api_keys_outside.",
    )
    require_two_factor = serializers.BooleanField(
        required=False, help_text="Members without it are refused (`two_factor_required`) until they turn it on."
    )
    sso_only = serializers.BooleanField(
        required=False, help_text="Members but owners sign in with the organisation's provider alone."
    )
    idle_minutes = serializers.IntegerField(
        required=False,
        allow_null=True,
        min_value=5,
        max_value=60 * 24 * 30,
        help_text="A sign-in that is not used for so long ends.",
    )


class PolicySerializer(PolicyInputSerializer):
    address = serializers.CharField(allow_null=True, help_text="Yours, as the server sees it.")
    api_keys_outside = serializers.IntegerField(help_text="Usable keys that live longer than the policy allows.")


class PolicyView(JsonView):
    access: ClassVar = {"GET": ADMIN, "PATCH": ADMIN}

    @extend_schema(responses={200: PolicySerializer})
    def get(self, request: Request) -> Response:
        """What the organisation demands of credentials."""
        return Response(self._answer(policies.of(self.actor.organization)))

    @extend_schema(request=PolicyInputSerializer(partial=True), responses={200: PolicySerializer})
    def patch(self, request: Request) -> Response:
        """Change it; it holds from the next request on."""
        changes = validated(PolicyInputSerializer, request.data, partial=True)
        return Response(self._answer(policies.update(actor=self.actor, changes=changes)))

    def _answer(self, policy: SecurityPolicy) -> dict[str, Any]:
        self.actor.organization.security_policy = policy
        return {
            **PolicyInputSerializer(policy).data,
            "address": context.origin.get().address,
            "api_keys_outside": policies.keys_outside(self.actor.organization).count(),
        }
