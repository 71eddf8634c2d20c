"""Cross-origin requests: from the configured origins only, and never with cookies."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from tests.conftest import Client, Tenant

ORIGIN = "https://app.example.com"


@pytest.fixture
def allowed(settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


@pytest.mark.usefixtures("allowed")
def test_preflight(anonymous: Client) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key, content-type, idempotency-key",
    }
    answer = anonymous.options("/tts/synthesize", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    granted = {name.strip() for name in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"x-api-key", "authorization", "content-type", "idempotency-key"} <= granted
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.usefixtures("allowed")
def test_answers_can_be_read(tenant: Tenant) -> None:
    client = tenant.key("tts")
    for path, status in (("/tts/jobs", 200), ("/tts/jobs?status=x", 400), ("/nothing", 404)):
        answer = client.get(path, headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        exposed = answer.headers["Access-Control-Expose-Headers"].lower()
        assert {"x-request-id", "retry-after", "ratelimit-remaining"} <= set(exposed.replace(",", " ").split())
        assert "origin" in answer.headers["Vary"].lower()


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", f"{ORIGIN}.evil.com", "http://app.example.com"])
def test_others_are_not_let_in(tenant: Tenant, origin: str) -> None:
    answer = tenant.key("tts").get("/tts/jobs", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_nobody_by_default(tenant: Tenant) -> None:
    answer = tenant.key("tts").get("/tts/jobs", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.usefixtures("allowed")
def test_only_the_api_is_open(anonymous: Client) -> None:
    answer = anonymous.get("//admin/login/", headers={"Origin": ORIGIN})
    assert "Access-Control-Allow-Origin" not in answer.headers
