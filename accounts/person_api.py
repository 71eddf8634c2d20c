"""/api/v1/auth/{password,two-factor,sessions}: what people manage about themselves."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import passwords, sessions, two_factor
from accounts.actors import PUBLIC, Access
from accounts.forms import check_password
from accounts.models import User
from common.api import JsonView
from common.network import client_address, public_url
from common.ratelimit import count_password_reset
from common.serializers import StrictSerializer, validated

ANYONE = Access()  # who is logged in; no key
SETTING_UP = Access(before_policy=True)


class PersonView(JsonView):
    @property
    def person(self) -> User:
        return self.actor.user  # type: ignore[return-value]


# ── Passwords ───────────────────────────────────────────────────────────────────────────────────────────────────────


class PasswordView(PersonView):
    access: ClassVar = {"POST": ANYONE}

    class PasswordChangeSerializer(StrictSerializer):
        current_password = serializers.CharField(max_length=200, trim_whitespace=False)
        new_password = serializers.CharField(max_length=200, trim_whitespace=False)

    @extend_schema(request=PasswordChangeSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Change one's own password; all other log-ins end."""
        fields = validated(self.PasswordChangeSerializer, request.data)
        given = fields["current_password"]
        check_password(request._request, user=self.person, password=given, param="current_password")
        session = self.actor.login_session
        passwords.change(user=self.person, new_password=fields["new_password"], login_session=session)
        return Response(status=204)


class PasswordResetView(JsonView):
    access: ClassVar = {"POST": PUBLIC}
    authentication_classes = ()

    class PasswordResetSerializer(StrictSerializer):
        email = serializers.EmailField(max_length=254)

    @extend_schema(request=PasswordResetSerializer, responses={202: None})
    def post(self, request: Request) -> Response:
        """Ask for a link to set a new password, by e-mail. The answer is the same for every address."""
        email = validated(self.PasswordResetSerializer, request.data)["email"]
        count_password_reset(request._request, email=email, address=client_address(request) or "unknown")
        passwords.request_reset(email=email, base_url=public_url(request))
        return Response(status=202)


class PasswordResetConfirmView(JsonView):
    access: ClassVar = {"POST": PUBLIC}
    authentication_classes = ()

    class PasswordResetConfirmSerializer(StrictSerializer):
        token = serializers.CharField(max_length=300, help_text="The end of the link.")
        new_password = serializers.CharField(max_length=200, trim_whitespace=False)

    @extend_schema(request=PasswordResetConfirmSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Set a new password by the link that was sent; all log-ins end."""
        passwords.reset(**validated(self.PasswordResetConfirmSerializer, request.data))
        return Response(status=204)


# ── Two-factor ──────────────────────────────────────────────────────────────────────────────────────────────────────


class OwnPasswordSerializer(StrictSerializer):
    password = serializers.CharField(max_length=200, trim_whitespace=False, help_text="One's own, once more.")


class RecoveryCodesSerializer(serializers.Serializer):
    recovery_codes = serializers.ListField(
        child=serializers.CharField(), help_text="Each works once, instead of a code. They are not shown again."
    )


class TwoFactorView(PersonView):
    access: ClassVar = {"GET": SETTING_UP, "POST": SETTING_UP}

    class TwoFactorSerializer(serializers.Serializer):
        enabled = serializers.BooleanField()
        enabled_at = serializers.DateTimeField(allow_null=True)
        recovery_codes_left = serializers.IntegerField()

    class TwoFactorSecretSerializer(serializers.Serializer):
        secret = serializers.CharField(help_text="For the authenticator, in base32.")
        otpauth_url = serializers.CharField(help_text="The same, as QR codes say it.")

    @extend_schema(responses={200: TwoFactorSerializer})
    def get(self, request: Request) -> Response:
        """Whether one's own second factor is on."""
        row = two_factor.state_of(self.person)
        left = len(row.recovery_digests) if row else 0
        enabled_at = row.confirmed_at if row else None
        return Response({"enabled": row is not None, "enabled_at": enabled_at, "recovery_codes_left": left})

    @extend_schema(request=None, responses={200: TwoFactorSecretSerializer})
    def post(self, request: Request) -> Response:
        """Begin: a new secret for one's authenticator. It counts once a code has confirmed it."""
        row = two_factor.begin(user=self.person)
        return Response({"secret": two_factor.secret_of(row), "otpauth_url": two_factor.uri_of(row)})


class TwoFactorConfirmView(PersonView):
    access: ClassVar = {"POST": SETTING_UP}

    class OtpSerializer(StrictSerializer):
        otp = serializers.CharField(max_length=40)

    @extend_schema(request=OtpSerializer, responses={200: RecoveryCodesSerializer})
    def post(self, request: Request) -> Response:
        """Turn the second factor on with a first code."""
        otp = validated(self.OtpSerializer, request.data)["otp"]
        return Response({"recovery_codes": two_factor.confirm(user=self.person, otp=otp)})


class TwoFactorDisableView(PersonView):
    access: ClassVar = {"POST": SETTING_UP}

    @extend_schema(request=OwnPasswordSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Turn the second factor off."""
        _ask_password(request, self.person)
        two_factor.disable(user=self.person)
        return Response(status=204)


class RecoveryCodesView(PersonView):
    access: ClassVar = {"POST": SETTING_UP}

    @extend_schema(request=OwnPasswordSerializer, responses={200: RecoveryCodesSerializer})
    def post(self, request: Request) -> Response:
        """New recovery codes; the old ones are refused."""
        _ask_password(request, self.person)
        return Response({"recovery_codes": two_factor.renew_recovery_codes(user=self.person)})


def _ask_password(request: Request, person: User) -> None:
    password = validated(OwnPasswordSerializer, request.data)["password"]
    check_password(request._request, user=person, password=password)


# ── Sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────


class SessionListView(PersonView):
    access: ClassVar = {"GET": ANYONE}

    class SessionsSerializer(serializers.Serializer):
        class SignInSerializer(serializers.Serializer):
            id = serializers.UUIDField()
            kind = serializers.ChoiceField(choices=["browser", "api"])
            address = serializers.CharField(allow_null=True)
            user_agent = serializers.CharField()
            organization = serializers.CharField(allow_null=True, help_text="Of a log-in to the API.")
            created_at = serializers.DateTimeField()
            seen_at = serializers.DateTimeField()
            current = serializers.BooleanField()

        results = SignInSerializer(many=True)

    @extend_schema(responses={200: SessionsSerializer}, filters=False)
    def get(self, request: Request) -> Response:
        """Where one is signed in: browsers, and log-ins of the API."""
        found: list[Any] = sessions.list_sign_ins(user=self.person, login_session=self.actor.login_session)
        return Response(self.SessionsSerializer({"results": found}).data)


class SessionView(PersonView):
    access: ClassVar = {"DELETE": ANYONE}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, session_id: uuid.UUID) -> Response:
        """Sign oneself out somewhere."""
        sessions.end(user=self.person, sign_in_id=session_id)
        return Response(status=204)
