"""`Idempotency-Key`, and the retries of the official SDKs: computed and billed once, answered each time."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import models
from django.utils import timezone

from analytics.models import UsageRecord
from jobs import idempotency
from jobs.models import IdempotencyRecord
from stt.models import SttJob
from tests.api.support import silence
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob

TEXT = "Say this once."
SLOW_TEXT = "A sentence that takes the engine some time to speak. " * 400


def speak(client: Client, key: str | None, text: str = TEXT, **fields: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return client.post("/tts/synthesize", json={"text": text, **fields}, headers=headers)


def hear(client: Client, key: str, content: bytes, **fields: Any) -> httpx.Response:
    files = {"audio_file": ("a.wav", content, "audio/wav")}
    return client.post("/stt/transcribe", files=files, data=fields, headers={"Idempotency-Key": key})


def retry(client: Client, count: int, text: str = TEXT) -> httpx.Response:
    """As the openai SDK sends it."""
    return client.post("/tts/synthesize", json={"text": text}, headers={"x-stainless-retry-count": str(count)})


def replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def jobs(tenant: Tenant, model: type[models.Model] = TtsJob) -> int:
    return model._default_manager.filter(organization=tenant.organization).count()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


# ── The same answer ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_same_request_gets_the_first_answer_and_is_billed_once(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    first = speak(client, key, speed=1.1, format="wav")
    # Another order of the same JSON.
    again = client.post("/tts/synthesize", content=b'{ "format":"wav", "speed": 1.1, "text":"Say this once."}',
                        headers={"Idempotency-Key": key, "Content-Type": "application/json"})  # fmt: skip
    assert (first.status_code, again.status_code) == (200, 200)
    assert (replayed(first), replayed(again)) == (False, True)
    links = first.json()["audio_url"], again.json()["audio_url"]
    assert {**first.json(), "audio_url": ""} == {**again.json(), "audio_url": ""}
    assert client.get(links[0]).content == client.get(links[1]).content
    assert jobs(tenant) == 1
    assert UsageRecord.objects.get(organization=tenant.organization).characters == len(TEXT)


def test_links_of_a_repeated_answer_are_fresh(tenant: Tenant, key: str, settings: Any) -> None:
    client = tenant.key("tts")
    first = speak(client, key).json()["audio_url"]
    time.sleep(2.1)
    settings.AUDIO_URL_TTL_SECONDS = 1
    again = speak(client, key).json()["audio_url"]
    error_of(client.get(first), 404, "link_expired")
    assert client.get(again).status_code == 200


def test_queued_job(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    first, again = (speak(client, key, **{"async": True}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["Location"] == again.headers["Location"]
    assert again.json()["status"] == "queued"  # the first answer
    assert jobs(tenant) == 1


def test_batches(tenant: Tenant, key: str) -> None:
    client = tenant.key()
    items = {"items": [{"text": "One."}, {"text": "Two.", "voice": "nobody"}]}
    answers = [client.post("/tts/synthesize-batch", json=items, headers={"Idempotency-Key": key}) for _ in range(2)]
    assert answers[0].json()["batch_id"] == answers[1].json()["batch_id"]
    assert replayed(answers[1])
    files = [("audio_files", (name, silence(0.5), "audio/wav")) for name in ("a.wav", "b.wav")]
    send = {"files": files, "headers": {"Idempotency-Key": key + "stt"}}
    answers = [client.post("/stt/batch-transcribe", **send) for _ in range(2)]
    assert answers[0].json()["batch_id"] == answers[1].json()["batch_id"]
    assert (jobs(tenant), jobs(tenant, SttJob)) == (1, 2)


def test_stream_is_repeated_from_the_storage(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    first = speak(client, key, SLOW_TEXT[:500], stream=True, format="mp3")
    again = speak(client, key, SLOW_TEXT[:500], stream=True, format="mp3")
    assert replayed(again)
    assert first.content == again.content
    for header in ("X-Job-ID", "Content-Type"):
        assert first.headers[header] == again.headers[header]
    assert jobs(tenant) == 1


def test_upload(tenant: Tenant, key: str) -> None:
    client = tenant.key("stt")
    first = hear(client, key, silence(1), prompt="A meeting.")
    again = hear(client, key, silence(1), prompt="A meeting.")
    assert first.json()["job_id"] == again.json()["job_id"]
    assert replayed(again)
    for other in (
        hear(client, key, silence(1.1), prompt="A meeting."),
        hear(client, key, silence(1), prompt="A party."),
        hear(client, key, silence(1)),
    ):
        error_of(other, 409, "idempotency_key_reused")
    assert jobs(tenant, SttJob) == 1


# ── Another request ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_other_request_with_the_same_key(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    assert speak(client, key).status_code == 200
    assert error_of(speak(client, key, "Something else."), 409, "idempotency_key_reused")["type"] == (
        "invalid_request_error"
    )
    error_of(speak(client, key, speed=2.0), 409)
    error_of(
        client.post("/tts/synthesize-batch", json={"items": [{"text": TEXT}]}, headers={"Idempotency-Key": key}), 409
    )
    assert jobs(tenant) == 1


def test_keys_belong_to_a_credential(tenant: Tenant, other_tenant: Tenant, key: str) -> None:
    clients = [tenant.key("tts"), tenant.key("tts"), tenant.user("developer"), other_tenant.key("tts")]
    answers = [speak(client, key, f"I am number {number}.") for number, client in enumerate(clients)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json()["job_id"] for answer in answers}) == 4


@pytest.mark.parametrize("value", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_rejects_wrong_keys(tenant: Tenant, value: str) -> None:
    headers = [*tenant.key("tts").headers.raw, (b"Idempotency-Key", value.encode("latin-1"))]
    answer = httpx.post(f"{tenant.server}/api/v1/tts/synthesize", json={"text": TEXT}, headers=headers, trust_env=False)
    error_of(answer, 400, "idempotency_key_invalid")
    assert jobs(tenant) == 0


def test_errors_are_not_remembered(tenant: Tenant, key: str) -> None:
    client = tenant.key()
    error_of(speak(client, key, voice="nobody"), 400, "voice_not_found")
    error_of(speak(client, key, voice="nobody"), 400, "voice_not_found")
    assert speak(client, key).status_code == 200
    error_of(hear(client, key + "stt", b"no audio" * 50), 422)
    assert hear(client, key + "stt", silence(0.5)).status_code == 200
    error_of(Client(tenant.server).post("/tts/synthesize", json={}, headers={"Idempotency-Key": key}), 401)


def test_keys_are_forgotten_after_a_day(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    first = speak(client, key)
    IdempotencyRecord.objects.filter(key=key).update(expires_at=timezone.now() - timedelta(seconds=1))
    again = speak(client, key, "Something else.")
    assert again.status_code == 200
    assert again.json()["job_id"] != first.json()["job_id"]
    row = IdempotencyRecord.objects.get(key=key)
    assert timedelta(hours=23) < row.expires_at - timezone.now() <= timedelta(hours=24)
    IdempotencyRecord.objects.filter(key=key).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert idempotency.purge() >= 1
    assert not IdempotencyRecord.objects.filter(key=key).exists()


def test_deleted_job_is_not_kept_in_an_answer(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    job_id = speak(client, key).json()["job_id"]
    assert client.delete(f"/tts/jobs/{job_id}").status_code == 204
    assert not IdempotencyRecord.objects.filter(organization=tenant.organization).exists()


def test_organization_that_keeps_nothing(tenant: Tenant, key: str) -> None:
    tenant.organization.transcript_retention_days = 0
    tenant.organization.save()
    client = tenant.key("tts")
    assert speak(client, key).status_code == 200
    error_of(speak(client, key), 409, "idempotency_answer_not_kept")
    assert jobs(tenant) == 1
    assert IdempotencyRecord.objects.get(key=key).body == ""


# ── At the same time ────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_of_many_simultaneous_requests_computes(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: speak(client, key, SLOW_TEXT[:6000]), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert [replayed(answer) for answer in answers].count(False) == 1
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    assert jobs(tenant) == 1
    assert UsageRecord.objects.get(organization=tenant.organization).characters == 6000


def test_waiting_is_bounded(tenant: Tenant, key: str, settings: Any) -> None:
    client = tenant.key("tts")
    _abandoned_record(tenant, client, key, heartbeat_at=timezone.now())
    settings.IDEMPOTENCY_WAIT_SECONDS = 0.3
    answer = speak(client, key)
    error_of(answer, 409, "idempotency_in_progress")
    assert int(answer.headers["Retry-After"]) >= 1


def test_crashed_first_attempt_can_be_repeated(tenant: Tenant, key: str) -> None:
    """As a killed server leaves it: under way, without a heartbeat."""
    client = tenant.key("tts")
    long_ago = timezone.now() - timedelta(seconds=idempotency.LEASE_SECONDS + 1)
    _abandoned_record(tenant, client, key, heartbeat_at=long_ago)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: speak(client, key), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert jobs(tenant) == 1


def _abandoned_record(tenant: Tenant, client: Client, key: str, *, heartbeat_at: Any) -> None:
    speak(client, key)
    rows = IdempotencyRecord.objects.filter(organization=tenant.organization, key=key)
    assert rows.update(status=None, body="", heartbeat_at=heartbeat_at) == 1
    TtsJob.objects.filter(organization=tenant.organization).delete()


# ── Clients that leave, and SDKs that try again ─────────────────────────────────────────────────────────────────────


def test_sdk_retry_gets_the_first_answer(tenant: Tenant) -> None:
    client = tenant.key("tts")
    first = retry(client, 0)
    again = retry(client, 1)
    assert (replayed(first), replayed(again)) == (False, True)
    assert first.json()["job_id"] == again.json()["job_id"]
    # A new call counts from 0 again: whoever asks twice gets two.
    another = retry(client, 0)
    assert not replayed(another)
    assert retry(client, 2).json()["job_id"] == another.json()["job_id"]
    assert not replayed(retry(client, 1, "A first try that never arrived."))
    assert not replayed(speak(client, None))
    assert jobs(tenant) == 4


@pytest.mark.parametrize("count", ["", "-1", "x", "1.0", "9" * 5000])
def test_what_counts_no_retries_is_ignored(tenant: Tenant, count: str) -> None:
    client = tenant.key("tts")
    headers = {"x-stainless-retry-count": count}
    answers = [client.post("/tts/synthesize", json={"text": "Hi."}, headers=headers) for _ in range(2)]
    assert [(answer.status_code, replayed(answer)) for answer in answers] == [(200, False)] * 2


def test_slow_answer_is_computed_and_billed_once(tenant: Tenant) -> None:
    """The SDK's time-out breaks the connection, and its retry comes while the first is still computing."""
    client = tenant.key("tts")
    text = SLOW_TEXT
    with pytest.raises(httpx.ReadTimeout):
        client.post("/tts/synthesize", json={"text": text}, headers={"x-stainless-retry-count": "0"}, timeout=0.3)
    answer = retry(client, 1, text)
    assert answer.status_code == 200, answer.text
    assert replayed(answer)
    (record,) = UsageRecord.objects.filter(organization=tenant.organization)
    assert (record.status, record.characters) == ("succeeded", len(text))


def test_client_that_does_not_come_back_stops_the_work(tenant: Tenant, key: str, settings: Any) -> None:
    settings.IDEMPOTENCY_GRACE_SECONDS = 0.5
    client = tenant.key("tts")
    text = SLOW_TEXT * 4
    with pytest.raises(httpx.ReadTimeout):
        client.post("/tts/synthesize", json={"text": text}, headers={"Idempotency-Key": key}, timeout=0.3)
    record = until(lambda: UsageRecord.objects.filter(organization=tenant.organization).first())
    assert record.status == "cancelled"
    assert record.characters < len(text)
    until(lambda: not IdempotencyRecord.objects.filter(key=key).exists())


def test_broken_stream_is_not_remembered(tenant: Tenant, key: str) -> None:
    client = tenant.key("tts")
    body = {"text": SLOW_TEXT * 4, "stream": True, "format": "wav"}
    with client.stream("POST", "/tts/synthesize", json=body, headers={"Idempotency-Key": key}) as answer:
        next(answer.iter_bytes())
    until(lambda: not IdempotencyRecord.objects.filter(key=key).exists())
    assert TtsJob.objects.get(organization=tenant.organization).status == "cancelled"


def test_stream_whose_client_comes_back_is_finished_for_it(tenant: Tenant, settings: Any) -> None:
    settings.IDEMPOTENCY_STREAM_GRACE_SECONDS = 20.0
    client = tenant.key("tts")
    body, text = {"text": SLOW_TEXT, "stream": True, "format": "wav"}, SLOW_TEXT
    with client.stream("POST", "/tts/synthesize", json=body, headers={"x-stainless-retry-count": "0"}) as answer:
        job_id = answer.headers["X-Job-ID"]
        next(answer.iter_bytes())
    again = client.post("/tts/synthesize", json=body, headers={"x-stainless-retry-count": "1"})
    assert (again.status_code, replayed(again), again.headers["X-Job-ID"]) == (200, True, job_id)
    (record,) = UsageRecord.objects.filter(organization=tenant.organization)
    assert (record.status, record.characters) == ("succeeded", len(text))
    assert again.content == client.get(client.get(f"/tts/jobs/{job_id}").json()["audio_url"]).content


def test_stream_that_was_left_makes_nothing_more(tenant: Tenant, settings: Any) -> None:
    """While it is kept for a client that may come back."""
    settings.IDEMPOTENCY_STREAM_GRACE_SECONDS = 2.0
    client = tenant.key("tts")
    body = {"text": SLOW_TEXT * 4, "stream": True, "format": "wav"}
    with client.stream("POST", "/tts/synthesize", json=body, headers={"x-stainless-retry-count": "0"}) as answer:
        next(answer.iter_bytes())
    record = until(lambda: UsageRecord.objects.filter(organization=tenant.organization).first())
    assert record.status == "cancelled"
    assert record.characters < len(SLOW_TEXT)


def test_requests_without_a_key_cost_nothing(tenant: Tenant) -> None:
    client = tenant.key("tts")
    first, again = speak(client, None), speak(client, None)
    assert first.json()["job_id"] != again.json()["job_id"]
    assert not IdempotencyRecord.objects.filter(organization=tenant.organization).exists()
