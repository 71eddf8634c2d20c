"""Requests a minute: headers, and 429 where a limit is passed."""

from __future__ import annotations

import httpx
import pytest
from pytest_django.fixtures import Settings

from tests.conftest import PASSWORD, Client, Tenant, error_of
from tts.models import TtsJob


def _limits(answer: httpx.Response) -> tuple[int, int, int]:
    return tuple(int(answer.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))  # type: ignore[return-value]


def test_headers_count_down(tenant: Tenant) -> None:
    client = tenant.key("tts")
    limit, first, reset = _limits(client.get("/tts/voices/espeak:en-us"))
    assert limit == 1200
    assert 0 <= reset <= 60
    _, second, _ = _limits(client.get("/tts/jobs?status=none"))  # errors count, and carry the headers, too
    assert second in (first - 1, limit - 1)
    assert "RateLimit-Limit" not in client.get("//health").headers


def test_key_with_a_limit_of_its_own(tenant: Tenant) -> None:
    client = tenant.key("tts", rate_limit=3)
    answers = [client.post("/tts/synthesize", json={"text": "Hello."}) for _ in range(8)]
    statuses = [answer.status_code for answer in answers]
    # The window may turn once while this runs.
    assert 3 <= statuses.count(200) <= 6, statuses
    refused = answers[statuses.index(429)]
    error = error_of(refused, 429, "rate_limited")
    assert error["type"] == "rate_limit_error"
    assert error["message"] == f"Too many requests; try again in {refused.headers['Retry-After']} s."
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert _limits(refused)[:2] == (3, 0)
    assert TtsJob.objects.filter(organization=tenant.organization).count() == statuses.count(200)
    assert tenant.key("tts").get("/tts/jobs").status_code == 200


def test_user_limit(tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMIT_ACTOR = 3
    client = tenant.user("viewer")
    statuses = [client.get("/auth/me").status_code for _ in range(8)]
    assert 429 in statuses
    assert tenant.user("admin").get("/auth/me").status_code == 200


def test_organization_limit(tenant: Tenant, other_tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMIT_ORGANIZATION = 4
    statuses = [tenant.key("tts").get("/auth/me").status_code for _ in range(9)]
    assert 4 <= statuses.count(200) <= 8
    assert 429 in statuses
    assert other_tenant.key("tts").get("/auth/me").status_code == 200


def test_failed_log_ins_are_throttled(tenant: Tenant, anonymous: Client) -> None:
    email = tenant.member("developer").user.email
    statuses = []
    for _ in range(22):
        # Each attempt from elsewhere: the address that is tried counts, not only the one that tries.
        answer = Client(tenant.server).post("/auth/login", json={"email": email, "password": "wrong"})
        statuses.append(answer.status_code)
        if answer.status_code == 429:
            break
    assert 10 <= statuses.count(401) <= 20
    assert error_of(answer, 429, "rate_limited")["type"] == "rate_limit_error"
    assert int(answer.headers["Retry-After"]) >= 1
    other = {"email": tenant.member("viewer").user.email, "password": PASSWORD}
    assert anonymous.post("/auth/login", json=other).status_code == 200


def test_right_log_ins_are_not_throttled(tenant: Tenant, anonymous: Client) -> None:
    body = {"email": tenant.member("developer").user.email, "password": PASSWORD}
    assert {anonymous.post("/auth/login", json=body).status_code for _ in range(15)} == {200}


def test_one_client_address_cannot_try_many_accounts(anonymous: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_LOGIN_FAILURES = 1
    statuses = []
    for number in range(12):
        body = {"email": f"nobody-{number}@example.com", "password": "wrong"}
        statuses.append(anonymous.post("/auth/login", json=body).status_code)
    assert 429 in statuses
    assert 5 <= statuses.count(401) <= 10


@pytest.mark.parametrize("spoofed", ["1.2.3.4, {own}", "::1,{own}"])
def test_client_cannot_choose_its_address(server: str, settings: Settings, spoofed: str) -> None:
    """Only what our own proxy appended counts."""
    settings.RATE_LIMIT_LOGIN_FAILURES = 1
    own = Client(server).headers["X-Forwarded-For"]
    statuses = []
    for number in range(12):
        headers = {"X-Forwarded-For": spoofed.replace("1", str(number)).format(own=own)}
        body = {"email": f"nobody-{number}@example.com", "password": "wrong"}
        statuses.append(Client(server).post("/auth/login", json=body, headers=headers).status_code)
    assert 429 in statuses
