"""/api/v1/auth/…: log-in, who am I, API keys, members."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import passwords, policies, selectors, services, tokens
from accounts.actors import ANY_SCOPE, PUBLIC, Access
from accounts.models import ApiKey, LoginSession, Membership, Organization, Role, Scope, ServiceAccount, User
from accounts.tokens import TokenPair
from common import errors
from common.api import JsonView, paginated, paginated_schema
from common.network import client_address
from common.ratelimit import LoginThrottle
from common.serializers import StrictSerializer, validated

ADMIN = Access(role=Role.ADMIN)


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("id", "email", "name")
        read_only_fields = fields


class OrganizationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organization
        fields = ("id", "slug", "name")
        read_only_fields = fields


# ── Log-in ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class TokenPairSerializer(serializers.Serializer):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")


class LoginView(JsonView):
    access: ClassVar = {"POST": PUBLIC}
    authentication_classes = ()

    class LoginRequestSerializer(serializers.Serializer):
        email = serializers.CharField(max_length=254)
        password = serializers.CharField(max_length=200, trim_whitespace=False)
        org_slug = serializers.CharField(
            max_length=63,
            required=False,
            allow_blank=True,
            help_text="Which organisation; needed by members of several.",
        )
        otp = serializers.CharField(
            max_length=40,
            required=False,
            allow_blank=True,
            help_text="A code of the authenticator, or a recovery code, where two-factor is on (`otp_required`).",
        )

    class LoginResponseSerializer(TokenPairSerializer):
        user = UserSerializer()
        organization = OrganizationSerializer()
        role = serializers.ChoiceField(choices=Role.choices)

    @extend_schema(request=LoginRequestSerializer, responses={200: LoginResponseSerializer})
    def post(self, request: Request) -> Response:
        """Log in with e-mail address and password."""
        fields = validated(self.LoginRequestSerializer, _with_alias(request.data, "orgSlug", "org_slug"))
        address = client_address(request)
        throttle = LoginThrottle(request._request, email=fields["email"], address=address or "unknown")
        throttle.check()
        try:
            session, pair = services.login(
                email=fields["email"],
                password=fields["password"],
                otp=fields.get("otp", ""),
                organization_slug=fields.get("org_slug"),
                address=address,
                user_agent=request.headers.get("User-Agent", ""),
            )
        except errors.NotAuthenticated as error:
            if error.code != "otp_required":  # the password was right
                throttle.record_failure()
            raise
        return Response(_login_answer(session, pair))


class RefreshView(JsonView):
    access: ClassVar = {"POST": PUBLIC}
    authentication_classes = ()

    class RefreshRequestSerializer(serializers.Serializer):
        refresh_token = serializers.CharField(max_length=4000)

    @extend_schema(request=RefreshRequestSerializer, responses={200: TokenPairSerializer})
    def post(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair; the old one is refused from then on."""
        fields = validated(self.RefreshRequestSerializer, request.data)
        return Response(_token_fields(tokens.rotate(fields["refresh_token"])))


class LogoutView(JsonView):
    access: ClassVar = {"POST": Access(before_policy=True)}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request) -> Response:
        """End this log-in: its access and refresh tokens are refused from now on."""
        services.logout(actor=self.actor)
        return Response(status=204)


class MeView(JsonView):
    access: ClassVar = {"GET": Access(scope=ANY_SCOPE, before_policy=True), "PATCH": Access()}

    class ProfileSerializer(StrictSerializer):
        name = serializers.CharField(max_length=200, allow_blank=True)

    class MeSerializer(serializers.Serializer):
        type = serializers.ChoiceField(choices=["user", "api_key"])
        user = UserSerializer(allow_null=True)
        api_key = serializers.DictField(allow_null=True)
        organization = OrganizationSerializer()
        role = serializers.ChoiceField(choices=Role.choices)
        scopes = serializers.ListField(
            child=serializers.CharField(), allow_null=True, help_text="A key's scopes; null for a user."
        )

    @extend_schema(responses={200: MeSerializer})
    def get(self, request: Request) -> Response:
        """Who the credential stands for."""
        return Response(self._answer())

    @extend_schema(request=ProfileSerializer, responses={200: MeSerializer})
    def patch(self, request: Request) -> Response:
        """Change one's own name."""
        changes = validated(self.ProfileSerializer, request.data)
        passwords.update_profile(user=self.actor.user, changes=changes)  # type: ignore[arg-type]
        return Response(self._answer())

    def _answer(self) -> dict[str, Any]:
        actor = self.actor
        key = actor.api_key
        return {
            "type": "api_key" if key else "user",
            "user": UserSerializer(actor.user).data if actor.user else None,
            "api_key": _key_summary(key) if key else None,
            "organization": OrganizationSerializer(actor.organization).data,
            "role": actor.role,
            "scopes": list(actor.scopes) if actor.scopes is not None else None,
        }


def _key_summary(key: ApiKey) -> dict[str, Any]:
    owner = KeyOwnerSerializer(key.service_account).data if key.service_account else None
    return {"id": str(key.id), "name": key.name, "prefix": key.prefix, "service_account": owner}


# ── API keys ────────────────────────────────────────────────────────────────────────────────────────────────────────


_API_KEY_FIELDS: tuple[str, ...] = (
    "id", "name", "prefix", "last4", "scopes", "rate_limit", "networks", "expires_at", "rotated_at", "last_used_at",
    "revoked_at", "created_at", "created_by", "service_account",
)  # fmt: skip


class NetworksField(serializers.ListField):
    """Addresses and networks (CIDR), which the service judges."""

    child = serializers.CharField(max_length=43)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=policies.MOST_NETWORKS, **kwargs)


class KeyOwnerSerializer(serializers.ModelSerializer):
    class Meta:
        model = ServiceAccount
        fields = ("id", "name")
        read_only_fields = fields


class ApiKeySerializer(serializers.ModelSerializer):
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices))
    created_by = serializers.EmailField(source="created_by.email", allow_null=True, default=None)
    service_account = KeyOwnerSerializer(read_only=True, allow_null=True)

    class Meta:
        model = ApiKey
        fields = _API_KEY_FIELDS
        read_only_fields = fields


class ApiKeyWithSecretSerializer(ApiKeySerializer):
    key = serializers.CharField(help_text="The key itself. It is not shown again.")

    class Meta(ApiKeySerializer.Meta):
        fields = (*_API_KEY_FIELDS, "key")
        read_only_fields = fields


class KeyQuerySerializer(StrictSerializer):
    service_account = serializers.UUIDField()


class ApiKeyInputSerializer(StrictSerializer):
    name = serializers.CharField(max_length=100)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=Scope.choices), allow_empty=False, max_length=len(Scope.choices)
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    rate_limit = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=1_000_000, help_text="Requests a minute."
    )
    networks = NetworksField(
        required=False, help_text="From where it may be used, such as 203.0.113.0/24; empty: from anywhere."
    )

    def validate_scopes(self, scopes: list[str]) -> list[str]:
        return sorted(set(scopes))

    def validate_expires_at(self, value: Any) -> Any:
        if value is not None and value <= timezone.now():
            raise serializers.ValidationError("Must be in the future.", code="past")
        return value


class NewApiKeySerializer(ApiKeyInputSerializer):
    service_account = serializers.UUIDField(
        required=False, allow_null=True, help_text="Who owns it; with whose role it acts, and with whom it ends."
    )


class ApiKeyListView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(
        **paginated_schema(
            ApiKeySerializer, OpenApiParameter("service_account", OpenApiTypes.UUID, description="Only this one's.")
        ),
        operation_id="auth_api_keys_list",
    )
    def get(self, request: Request) -> Response:
        """The organisation's API keys, newest first, revoked ones included."""
        rows = selectors.list_api_keys(actor=self.actor)
        if "service_account" in request.query_params:
            wanted = validated(KeyQuerySerializer, {"service_account": request.query_params["service_account"]})
            rows = rows.filter(service_account_id=wanted["service_account"])
        return paginated(self, rows, ApiKeySerializer)

    @extend_schema(request=NewApiKeySerializer, responses={201: ApiKeyWithSecretSerializer})
    def post(self, request: Request) -> Response:
        """Make an API key. Only this answer shows it."""
        fields = validated(NewApiKeySerializer, request.data)
        if account_id := fields.pop("service_account", None):
            fields["service_account"] = selectors.get_service_account(actor=self.actor, account_id=account_id)
        row, key = services.create_api_key(actor=self.actor, **fields)
        return Response({**ApiKeySerializer(row).data, "key": key}, status=201)


class ApiKeyView(JsonView):
    access: ClassVar = {"GET": ADMIN, "PATCH": ADMIN, "DELETE": ADMIN}

    @extend_schema(responses={200: ApiKeySerializer})
    def get(self, request: Request, key_id: uuid.UUID) -> Response:
        """One API key, without its secret."""
        return Response(ApiKeySerializer(selectors.get_api_key(actor=self.actor, key_id=key_id)).data)

    @extend_schema(request=ApiKeyInputSerializer(partial=True), responses={200: ApiKeySerializer})
    def patch(self, request: Request, key_id: uuid.UUID) -> Response:
        """Change a key's name, scopes, expiry, rate limit or networks."""
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        changes = validated(ApiKeyInputSerializer, request.data, partial=True)
        return Response(ApiKeySerializer(services.update_api_key(actor=self.actor, api_key=row, changes=changes)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key_id: uuid.UUID) -> Response:
        """Revoke a key at once."""
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        services.revoke_api_key(actor=self.actor, api_key=row)
        return Response(status=204)


class ApiKeyRotateView(JsonView):
    access: ClassVar = {"POST": ADMIN}

    @extend_schema(request=None, responses={200: ApiKeyWithSecretSerializer})
    def post(self, request: Request, key_id: uuid.UUID) -> Response:
        """Replace the secret; the old one is refused at once. Only this answer shows the new one."""
        row = selectors.get_api_key(actor=self.actor, key_id=key_id)
        row, key = services.rotate_api_key(actor=self.actor, api_key=row)
        return Response({**ApiKeySerializer(row).data, "key": key})


# ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class MemberSerializer(serializers.ModelSerializer):
    user = UserSerializer(read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "user", "role", "created_at")
        read_only_fields = fields


class MemberListView(JsonView):
    access: ClassVar = {"GET": ADMIN, "POST": ADMIN}

    class MemberInputSerializer(StrictSerializer):
        email = serializers.EmailField(max_length=254)
        role = serializers.ChoiceField(choices=Role.choices, default=Role.VIEWER)
        name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
        password = serializers.CharField(
            max_length=200, required=False, trim_whitespace=False, help_text="For a person who has no account yet."
        )

    @extend_schema(**paginated_schema(MemberSerializer), operation_id="auth_members_list")
    def get(self, request: Request) -> Response:
        """The organisation's members."""
        return paginated(self, selectors.list_members(actor=self.actor), MemberSerializer)

    @extend_schema(request=MemberInputSerializer, responses={201: MemberSerializer})
    def post(self, request: Request) -> Response:
        """Add a person to the organisation."""
        fields = validated(self.MemberInputSerializer, request.data)
        member = services.add_member(
            actor=self.actor,
            email=fields["email"],
            role=fields["role"],
            name=fields["name"],
            password=fields.get("password"),
        )
        return Response(MemberSerializer(member).data, status=201)


class MemberView(JsonView):
    access: ClassVar = {"GET": ADMIN, "PATCH": ADMIN, "DELETE": ADMIN}

    class RoleSerializer(StrictSerializer):
        role = serializers.ChoiceField(choices=Role.choices)

    @extend_schema(responses={200: MemberSerializer})
    def get(self, request: Request, member_id: uuid.UUID) -> Response:
        """One member."""
        return Response(MemberSerializer(selectors.get_member(actor=self.actor, member_id=member_id)).data)

    @extend_schema(request=RoleSerializer, responses={200: MemberSerializer})
    def patch(self, request: Request, member_id: uuid.UUID) -> Response:
        """Change a member's role."""
        member = selectors.get_member(actor=self.actor, member_id=member_id)
        role = validated(self.RoleSerializer, request.data)["role"]
        return Response(MemberSerializer(services.change_role(actor=self.actor, member=member, role=role)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, member_id: uuid.UUID) -> Response:
        """Remove a member; their log-ins in this organisation end at once."""
        services.remove_member(actor=self.actor, member=selectors.get_member(actor=self.actor, member_id=member_id))
        return Response(status=204)


# ── Helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_alias(data: Any, alias: str, name: str) -> Any:
    """`data` with `alias` read as `name`; clients in JavaScript write camel case."""
    if isinstance(data, dict) and alias in data and name not in data:
        return {**data, name: data[alias]}
    return data


def _token_fields(pair: TokenPair) -> dict[str, Any]:
    return {
        "access_token": pair.access_token,
        "refresh_token": pair.refresh_token,
        "token_type": "Bearer",
        "expires_in": pair.expires_in,
    }


def _login_answer(session: LoginSession, pair: TokenPair) -> dict[str, Any]:
    member = session.membership
    return {
        **_token_fields(pair),
        "user": UserSerializer(member.user).data,
        "organization": OrganizationSerializer(member.organization).data,
        "role": member.role,
    }
