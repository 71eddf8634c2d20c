"""Guessing and forging: passwords, keys, tokens and signed links."""

from __future__ import annotations

import base64
import json
import time
import uuid

import pytest
from django.core import signing
from pytest_django.fixtures import Settings

from accounts import client_tokens, keys
from tests.conftest import PASSWORD, Client, Tenant, error_of
from tests.live.support import connect, receive, rest
from tts.models import TtsJob

# ── Guessing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_account_has_a_limit_an_hour(tenant: Tenant, settings: Settings) -> None:
    """Ten a minute, minute after minute, would be a search; each guess comes from another address."""
    settings.RATE_LIMIT_LOGIN_FAILURES = 1000
    settings.RATE_LIMIT_LOGIN_FAILURES_HOUR = 3
    email = tenant.member("developer").user.email
    wrong = {"email": email, "password": "wrong"}
    statuses = [Client(tenant.server).post("/auth/login", json=wrong).status_code for _ in range(8)]
    assert 429 in statuses
    assert statuses.count(401) <= 6  # the hour may turn while this runs
    right = Client(tenant.server).post("/auth/login", json={"email": email, "password": PASSWORD})
    assert int(error_of(right, 429, "rate_limited") and right.headers["Retry-After"]) > 0


def test_keys_cannot_be_tried_without_end(tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMIT_CREDENTIAL_FAILURES = 3
    row, key = tenant.new_key("tts")
    guesser = Client(tenant.server)
    statuses = []
    for _ in range(8):
        guess = f"{row.prefix}_{keys._random(32)}"
        statuses.append(guesser.get("/auth/me", headers={"x-api-key": guess}).status_code)
    assert 429 in statuses
    assert statuses.count(401) <= 6
    refused = guesser.get("/tts/jobs", headers={"Authorization": "Bearer made-up"})
    assert int(error_of(refused, 429, "rate_limited") and refused.headers["Retry-After"]) >= 1
    # Who shares the address with the guesser goes on working, and so does everybody elsewhere.
    assert guesser.get("/auth/me", headers={"x-api-key": key}).status_code == 200
    error_of(Client(tenant.server).get("/auth/me", headers={"x-api-key": "sp_x"}), 401)


def test_sockets_count_guesses_too(tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMIT_CREDENTIAL_FAILURES = 2
    address = Client(tenant.server).headers["X-Forwarded-For"]
    codes = []
    for _ in range(6):
        headers = {"x-api-key": f"sp_12345678_{keys._random(32)}", "X-Forwarded-For": address}
        with connect(f"{tenant.server}/api/v1/stt/stream", headers) as socket:
            first = receive(socket)
            codes.append((first["error"]["code"], rest(socket)[1]))
    assert ("api_key_invalid", 4401) in codes
    assert ("rate_limited", 4429) in codes


def test_the_nearest_guess_is_still_wrong(tenant: Tenant) -> None:
    row, key = tenant.new_key("tts")
    other = tenant.new_key("tts")[1]
    wrong = [
        key[:-1],
        key + "x",
        key[:-1] + chr(ord(key[-1]) ^ 1),
        key.lower(),
        key.upper(),
        row.prefix,
        f"{row.prefix}_",
    ]
    wrong += [f"{row.prefix}_{other.rpartition('_')[2]}", key.replace("_", "-"), "sp_", "sp__", "_", "sp_" * 500]
    for guess in wrong:
        answer = Client(tenant.server).get("/auth/me", headers={"x-api-key": guess.encode("utf-8")})
        assert answer.status_code in (400, 401), (guess, answer.text)
    assert Client(tenant.server).get("/auth/me", headers={"x-api-key": key}).status_code == 200


# ── Access tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _read(part: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_access_tokens_cannot_be_changed(tenant: Tenant, other_tenant: Tenant) -> None:
    token = tenant.user("viewer").headers["Authorization"].removeprefix("Bearer ")
    stranger = other_tenant.user("owner").headers["Authorization"].removeprefix("Bearer ")
    head, claims, signature = token.split(".")
    plain, theirs = _read(claims), _read(stranger.split(".")[1])
    forged = [
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{claims}.",
        f"{_part({'alg': 'None', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_part({**_read(head), 'kid': '../../secret_key'})}.{claims}.{signature}",
        *(f"{head}.{_part({**plain, name: theirs[name]})}.{signature}" for name in ("sub", "org", "sid", "jti")),
        f"{head}.{_part({**plain, 'exp': plain['exp'] + 10**6})}.{signature}",
        f"{head}.{_part({**plain, 'token_type': 'refresh'})}.{signature}",
        f"{head}.{claims}.{stranger.split('.')[2]}",
        f"{head}.{claims}",
        f"{head}.{claims}.",
    ]
    for each in forged:
        error_of(Client(tenant.server).get("/auth/me", headers={"Authorization": f"Bearer {each}"}), 401)


def test_the_organisation_is_the_sessions_not_the_tokens(
    tenant: Tenant, other_tenant: Tenant, settings: Settings
) -> None:
    """Even with the signing key: a claim of another organisation opens nothing, for the session's row decides."""
    import jwt

    token = tenant.user("owner").headers["Authorization"].removeprefix("Bearer ")
    claims = _read(token.split(".")[1]) | {"org": str(other_tenant.organization.id)}
    signed = jwt.encode(claims, settings.SIMPLE_JWT["SIGNING_KEY"], algorithm="HS256")
    me = Client(tenant.server).get("/auth/me", headers={"Authorization": f"Bearer {signed}"}).json()
    assert me["organization"]["id"] == str(tenant.organization.id)


def test_refresh_tokens_are_no_access_tokens(tenant: Tenant, anonymous: Client) -> None:
    body = {"email": tenant.member("viewer").user.email, "password": PASSWORD}
    pair = anonymous.post("/auth/login", json=body).json()
    error_of(anonymous.get("/auth/me", headers={"Authorization": f"Bearer {pair['refresh_token']}"}), 401)
    error_of(anonymous.post("/auth/refresh", json={"refresh_token": pair["access_token"]}), 401)


# ── Tokens for browsers ─────────────────────────────────────────────────────────────────────────────────────────────


def test_client_tokens_cannot_be_changed(tenant: Tenant, other_tenant: Tenant) -> None:
    issued = {"scope": "tts", "session_id": uuid.uuid4(), "seconds": 60}
    token, _ = client_tokens.issue(actor=tenant.actor(), **issued)
    foreign, _ = client_tokens.issue(actor=other_tenant.actor(), **issued)
    body, stamp, signature = token.split(":")
    claims = signing.loads(token.removeprefix("ct_"), salt=client_tokens._SALT)
    other = foreign.split(":")
    for forged in (
        f"{other[0]}:{stamp}:{signature}",
        f"{body}:{other[1]}x:{signature}",
        f"{body}:{stamp}:{other[2]}",
        f"{body}:{stamp}",
        "ct_" + signing.dumps(claims, salt="another purpose", compress=True),
        "ct_" + signing.dumps(claims, salt=client_tokens._SALT, key="another key", compress=True),
        # Signed by us, but for what cannot be: another organisation than the maker's; a kind of maker there is none of.
        "ct_" + signing.dumps({**claims, "o": str(other_tenant.organization.id)}, salt=client_tokens._SALT),
    ):
        with connect(f"{tenant.server}/api/v1/tts/stream?client_token={forged}") as socket:
            assert receive(socket)["error"]["code"] == "client_token_invalid", forged
            assert rest(socket)[1] == 4401


# ── Links to audio ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def link(tenant: Tenant) -> str:
    return tenant.key("tts").post("/tts/synthesize", json={"text": "Hi."}).json()["audio_url"]


def test_signed_links_cannot_be_changed(tenant: Tenant, other_tenant: Tenant, link: str, anonymous: Client) -> None:
    start, token, name = link.rsplit("/", 2)
    other = other_tenant.key("tts").post("/tts/synthesize", json={"text": "Secret."}).json()["audio_url"]
    foreign = other.rsplit("/", 2)[1]
    parts, theirs = token.split(":"), foreign.split(":")
    assert len(parts) == len(theirs) > 1
    mixed = [
        ":".join([*parts[:at], theirs[at], *parts[at + 1 :]]) for at in range(len(parts)) if parts[at] != theirs[at]
    ]
    flipped = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(0, len(token), 7)]
    key = TtsJob.objects.get(organization=other_tenant.organization).audio_key
    made_up = [
        signing.dumps(key), signing.dumps(key, key="guessed"), key.replace("/", "%2F"), "..%2F..%2Fsecret_key",
        token[:-1], token + "A", f"{token}:{token}",
    ]  # fmt: skip
    for forged in {*mixed, *flipped, *made_up} - {token, foreign}:
        answer = anonymous.get(f"{start}/{forged}/{name}")
        assert answer.status_code == 404, (forged, answer.status_code)
        assert answer.headers["Content-Type"].startswith("application/json")
    assert anonymous.get(link).status_code == 200
    assert anonymous.get(f"{start}/{foreign}/{name}").content == anonymous.get(other).content  # the token alone decides


def test_signed_links_end(link: str, anonymous: Client, settings: Settings) -> None:
    settings.AUDIO_URL_TTL_SECONDS = 1
    time.sleep(1.2)
    error_of(anonymous.get(link), 404, "link_expired")


def test_links_end_with_the_key_that_signed_them(link: str, anonymous: Client, settings: Settings) -> None:
    settings.SECRET_KEY = "another " * 10
    error_of(anonymous.get(link), 404)
