"""What is asked of an OpenID provider over HTTP: where things are, its keys, and tokens for a code.

Requests go where webhooks may go (`webhooks.targets`), follow no redirect and end in time.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.core.cache import cache

from common import errors
from webhooks import targets
from webhooks.sending import connected

CACHED_SECONDS = 3600
TOTAL_SECONDS = 10.0
MOST_BYTES = 512 * 1024
REFRESH_SECONDS = 60
"""An unknown key id makes us ask for the keys again, this often at the most: anybody can send one."""


class ProviderFailed(errors.Unavailable):
    """The provider is away, or answers what no provider should."""

    code = "sso_provider_failed"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Of OpenID Connect Discovery 1.0, what we use."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool  # in the answer's `iss`, RFC 9207
    secret_in_body: bool  # takes the client secret in the form alone, not as HTTP Basic


def discover(issuer: str, *, fresh: bool = False) -> Metadata:
    """The provider's metadata, at most an hour old. Raises ProviderFailed."""
    kept = None if fresh else cache.get(_key("metadata", issuer))
    if kept is None:
        kept = asdict(_metadata(issuer, _get(issuer.rstrip("/") + "/.well-known/openid-configuration")))
        cache.set(_key("metadata", issuer), kept, CACHED_SECONDS)
    return Metadata(**kept)


def keys(metadata: Metadata, *, fresh: bool = False) -> dict[str, Any]:
    """The provider's public keys (JWKS). fresh: asks again, unless it did so a moment ago."""
    name = _key("keys", metadata.jwks_uri)
    kept = cache.get(name)
    if kept is None or (fresh and cache.add(f"{name}:asked", 1, REFRESH_SECONDS)):
        kept = _get(metadata.jwks_uri)
        cache.set(name, kept, CACHED_SECONDS)
    return kept


def redeem(metadata: Metadata, *, client_id: str, secret: str, form: dict[str, str]) -> str:
    """The ID token that the provider gives for a code. Raises ProviderFailed, also where the code is refused."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if metadata.secret_in_body:
        form = {**form, "client_id": client_id, "client_secret": secret}
    else:
        pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"  # RFC 6749, 2.3.1
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    token = _exchange("POST", metadata.token_endpoint, urlencode(form).encode(), headers).get("id_token")
    if not isinstance(token, str):
        raise ProviderFailed("The provider gave no ID token.")
    return token


def _metadata(issuer: str, found: dict[str, Any]) -> Metadata:
    if found.get("issuer") != issuer:  # exactly: a provider that names another could speak for it
        raise ProviderFailed(f"The provider names another issuer: {str(found.get('issuer'))[:200]!r}.")
    authorization, token, jwks = (
        _endpoint(found.get(name)) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    )
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    names_itself = found.get("authorization_response_iss_parameter_supported") is True
    return Metadata(issuer, authorization, token, jwks, names_itself, "client_secret_basic" not in methods)


def _endpoint(url: Any) -> str:
    if not isinstance(url, str):
        raise ProviderFailed("The provider's metadata lack an endpoint.")
    try:
        targets.parse(url)
    except targets.TargetRefused as refused:
        raise ProviderFailed(f"An endpoint of the provider is refused. {refused.message}") from None
    return url


def _get(url: str) -> dict[str, Any]:
    return _exchange("GET", url, None, {})


def _exchange(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> dict[str, Any]:
    try:
        target = targets.parse(url)
        addresses = targets.addresses(target, targets.resolve)
        own = {"Host": target.authority, "Accept": "application/json", "Connection": "close"}
        with connected(target, addresses, seconds=TOTAL_SECONDS) as (connection, expired):
            connection.request(method, target.path, body=body, headers={**headers, **own})
            answer = connection.getresponse()
            raw = answer.read(MOST_BYTES + 1)
            if expired.is_set():
                raise TimeoutError
    except targets.TargetRefused as refused:
        raise ProviderFailed(f"The provider cannot be asked. {refused.message}") from None
    except (OSError, http.client.HTTPException) as failure:
        raise ProviderFailed(f"The provider does not answer ({type(failure).__name__}).") from None
    if answer.status != 200 or len(raw) > MOST_BYTES:
        raise ProviderFailed(f"The provider refused: its answer was {answer.status}.")
    return _json(raw)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ProviderFailed("The provider's answer is no JSON object.")
    return found


def _key(kind: str, url: str) -> str:
    return f"sso-{kind}:{hashlib.sha256(url.encode()).hexdigest()}"
