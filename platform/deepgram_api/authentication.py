"""`Authorization: Token <key>`, beside what every route takes."""

from __future__ import annotations

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.request import Request

from accounts.actors import Actor
from accounts.authentication import CredentialAuthentication, authenticate_caller
from accounts.models import User


class TokenAuthentication(CredentialAuthentication):
    def authenticate(self, request: Request) -> tuple[User | None, Actor] | None:
        credential = token_of(request)
        if not credential:
            return super().authenticate(request)
        actor = authenticate_caller(request._request, credential)
        return actor.user, actor


def token_of(request: HttpRequest | Request) -> str:
    """The API key or access token behind `Token`; empty where there is none."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "token" else ""


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = TokenAuthentication
    name = "deepgramToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        description = "`Token <API key>`, or `Bearer <API key or access token>`."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}
