"""Each error of the platform as the class that the official SDK raises for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import openai
import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import ApiKey
from analytics import quota
from analytics.models import UsageRecord
from tests.api.support import silence
from tests.conftest import Client, Tenant
from tests.openai.support import client, sdk
from tts.models import TtsJob


def speak(as_client: openai.OpenAI, text: str = "Hello.", **options: Any) -> Any:
    return as_client.audio.speech.create(model="tts-1", voice="alloy", input=text, **options)


def check(error: openai.APIStatusError, status: int, type_name: str, code: str) -> None:
    """The shape, and the request id under which the server logged it."""
    assert (error.status_code, error.type, error.code) == (status, type_name, code)
    assert {"message", "type", "param", "code"} <= set(error.body)  # type: ignore[arg-type]
    assert error.request_id == error.response.headers["x-request-id"] == error.body["request_id"]  # type: ignore[index]


@pytest.mark.parametrize("key", ["sk-not-ours", "sp_00000000_wrong"])
def test_wrong_key(server: str, key: str) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        client(server, key).models.list()
    assert raised.value.type == "authentication_error"
    assert raised.value.request_id


def test_expired_key(tenant: Tenant) -> None:
    row, key = tenant.new_key()
    ApiKey.objects.filter(id=row.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(openai.AuthenticationError) as raised:
        speak(client(tenant.server, key))
    check(raised.value, 401, "authentication_error", "invalid_api_key")


def test_missing_scope(tenant: Tenant) -> None:
    with pytest.raises(openai.PermissionDeniedError) as raised:
        speak(sdk(tenant, "stt"))
    check(raised.value, 403, "permission_error", "scope_missing")
    with pytest.raises(openai.PermissionDeniedError):
        sdk(tenant, "tts").audio.transcriptions.create(model="whisper-1", file=("a.wav", silence(0.3)))


def test_rate_limit(tenant: Tenant) -> None:
    limited = client(tenant.server, tenant.new_key(rate_limit=1)[1])

    def list_often() -> None:
        for _ in range(4):  # the minute may turn once
            limited.models.list()

    with pytest.raises(openai.RateLimitError) as raised:
        list_often()
    check(raised.value, 429, "rate_limit_error", "rate_limit_exceeded")
    headers = raised.value.response.headers
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("1", "0")
    assert headers["x-ratelimit-reset-requests"].endswith("s")


def test_quota_is_not_tried_again(tenant: Tenant) -> None:
    """The SDK, which repeats what is answered 429, lets this one be."""
    quota.set_quota(organization=tenant.organization, monthly_characters=10, monthly_audio_seconds=1)
    patient = sdk(tenant, max_retries=3)
    with pytest.raises(openai.RateLimitError) as raised:
        speak(patient, "More than ten characters.")
    check(raised.value, 429, "quota_error", "insufficient_quota")
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert int(raised.value.response.headers["Retry-After"]) > 0
    assert raised.value.response.request.headers["x-stainless-retry-count"] == "0"
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as raised:
            patient.audio.transcriptions.create(model="whisper-1", file=("a.wav", silence(2)), stream=stream)
        assert raised.value.code == "insufficient_quota"
    assert not UsageRecord.objects.filter(organization=tenant.organization, status="succeeded").exists()


def test_too_many_at_once(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, max_concurrent_jobs=1)
    TtsJob.objects.create(organization=tenant.organization, status="processing", characters=1, sample_rate=8000,
                          started_at=timezone.now(), heartbeat_at=timezone.now())  # fmt: skip
    with pytest.raises(openai.RateLimitError) as raised:
        speak(sdk(tenant))
    check(raised.value, 429, "rate_limit_error", "rate_limit_exceeded")
    assert int(raised.value.response.headers["Retry-After"]) >= 1


def test_reused_idempotency_key(tenant: Tenant) -> None:
    as_client, headers = sdk(tenant), {"Idempotency-Key": "mine"}
    speak(as_client, extra_headers=headers)
    with pytest.raises(openai.ConflictError) as raised:
        speak(as_client, "Another text.", extra_headers=headers)
    check(raised.value, 409, "invalid_request_error", "idempotency_key_reused")


def test_fault(tenant: Tenant) -> None:
    """A real one: the table that the request needs is gone."""
    as_client = sdk(tenant)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tts_ttsjob RENAME TO hidden")
    try:
        with pytest.raises(openai.InternalServerError) as raised:
            speak(as_client)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO tts_ttsjob")
    check(raised.value, 500, "server_error", "internal_error")
    assert "tts_ttsjob" not in raised.value.message


def test_a_repeated_request_is_billed_once(tenant: Tenant) -> None:
    """The SDK's own retry, after an answer that did not come in time."""
    as_client = sdk(tenant)
    for count in ("0", "1", "2"):
        speak(as_client, extra_headers={"x-stainless-retry-count": count})
    record = UsageRecord.objects.get(organization=tenant.organization)
    assert record.characters == len("Hello.")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/chat/completions", 404),
        ("GET", "/audio/speech", 405),
        ("DELETE", "/audio/transcriptions", 405),
        ("POST", "/models", 405),
    ],
)
def test_wrong_routes_have_the_shape_too(tenant: Tenant, method: str, path: str, status: int) -> None:
    answer = tenant.key().request(method, f"//v1{path}")
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert {"message", "type", "param", "code"} <= set(error)
    assert answer.headers["x-request-id"] == error["request_id"]


def test_no_credential(anonymous: Client) -> None:
    answer = anonymous.post("//v1/audio/speech", json={})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (401, "authentication_error")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_bodies_that_cannot_be_read(tenant: Tenant) -> None:
    as_key = tenant.key()
    broken = as_key.post("//v1/audio/speech", content=b"{", headers={"Content-Type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    json_for_form = as_key.post("//v1/audio/transcriptions", json={"model": "whisper-1"})
    assert (json_for_form.status_code, json_for_form.json()["error"]["code"]) == (415, "unsupported_media_type")
    for wrong in ([], "text", 3):
        answer = as_key.post("//v1/audio/speech", json=wrong)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    large = as_key.post("//v1/audio/speech", json={"input": "x" * 17 * 1024 * 1024})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")
