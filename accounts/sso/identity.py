"""From an ID token to whom it names, or a refusal: OpenID Connect Core 1.0, 3.1.3.7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry, Token

from accounts.sso import provider
from accounts.sso.provider import Metadata
from common import errors

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures of public keys alone: not `none`, and no HMAC, for which a public key could be taken."""
LEEWAY_SECONDS = 60
_MOST_CHARACTERS = 32_000


class Refused(errors.PermissionDenied):
    """What the provider says does not let anybody in."""

    code = "sso_refused"


@dataclass(frozen=True, slots=True)
class Identity:
    issuer: str
    subject: str
    email: str  # lower case, verified, of one of the organisation's domains
    name: str
    claims: dict[str, Any]


def verified(token: str, metadata: Metadata, *, client_id: str, nonce: str, domains: list[str]) -> Identity:
    """Raises Refused; ProviderFailed where the keys cannot be had."""
    claims = _claims(token, metadata, client_id=client_id, nonce=nonce)
    email = claims.get("email")
    if not isinstance(email, str) or email.count("@") != 1 or len(email) > 254:
        raise Refused("The provider tells no e-mail address.")
    if claims.get("email_verified") is not True:
        raise Refused("The provider does not say that the e-mail address is verified.")
    if email.lower().rpartition("@")[2] not in domains:
        raise Refused("The e-mail address is of none of the organisation's domains.")
    name = claims.get("name")
    return Identity(metadata.issuer, claims["sub"], email.lower(), name[:200] if isinstance(name, str) else "", claims)


def _claims(token: str, metadata: Metadata, *, client_id: str, nonce: str) -> dict[str, Any]:
    registry = JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": metadata.issuer},
        sub={"essential": True},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    try:
        claims = _decoded(token, metadata).claims
        registry.validate(claims)
    except (JoseError, ValueError) as error:
        raise Refused(f"The provider's ID token is not valid: {str(error)[:200] or type(error).__name__}.") from None
    others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (others or "azp" in claims) and claims.get("azp") != client_id:
        raise Refused("The provider's ID token was given to another client.")
    if not claims["sub"] or len(claims["sub"]) > 255:
        raise Refused("The provider's ID token names nobody.")
    return claims


def _decoded(token: str, metadata: Metadata) -> Token:
    if len(token) > _MOST_CHARACTERS:
        raise ValueError("it is too long")
    try:
        return _signed(token, provider.keys(metadata))
    except (InvalidKeyIdError, ValueError):  # the provider may have new keys
        return _signed(token, provider.keys(metadata, fresh=True))


def _signed(token: str, keys: dict[str, Any]) -> Token:
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
