"""Quotas: reserved before a model runs, settled after it, never overshot; GET /analytics/quota; warnings."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.core import mail
from django.test import override_settings
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from analytics import quota
from analytics.models import QuotaPeriod, Reservation, UsageRecord
from audit.models import AuditEntry
from jobs import queue
from jobs.models import IdempotencyRecord
from stt.models import AudioFile, SttJob
from tests.api.support import assert_nothing_was_kept, silence
from tests.api.test_async_jobs import LONG_TEXT, finished
from tests.browser import operator, signed_in, text_of
from tests.conftest import OWNED_AUDIO, Client, Tenant, error_of
from tts.models import TtsJob

TEXT = "Twenty characters ok"
CLIP = OWNED_AUDIO / "numbers.wav"


def limit(tenant: Tenant, **limits: Any) -> None:
    quota.set_quota(organization=tenant.organization, **limits)


def period(tenant: Tenant) -> QuotaPeriod:
    return QuotaPeriod.objects.get(organization=tenant.organization)


def state(tenant: Tenant) -> dict[str, Any]:
    answer = tenant.user("viewer").get("/analytics/quota")
    assert answer.status_code == 200, answer.text
    return answer.json()


def speak(client: Client, text: str = TEXT, **fields: Any) -> httpx.Response:
    return client.post("/tts/synthesize", json={"text": text, **fields})


def hear(client: Client, content: bytes, **fields: Any) -> httpx.Response:
    return client.post("/stt/transcribe", files={"audio_file": ("a.wav", content, "audio/wav")}, data=fields)


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def assert_settled(tenant: Tenant) -> None:
    """Nothing is held, and the month's row agrees with the usage records."""
    row = period(tenant)
    assert (row.reserved_characters, row.reserved_audio_seconds) == (0, 0)
    assert not Reservation.objects.filter(organization=tenant.organization).exists()
    assert quota.used(row) == quota.used_by_records(tenant.organization.id, row.month)


# ── Never overshot ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_hundred_at_once_against_a_quota_for_fifty(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=50 * len(TEXT))
    client = tenant.key("tts")
    with ThreadPoolExecutor(200) as threads:
        answers = list(threads.map(lambda _: speak(client), range(200)))
    assert Counter(answer.status_code for answer in answers) == {200: 50, 402: 150}
    error = error_of(next(answer for answer in answers if answer.status_code == 402), 402, "quota_exceeded")
    assert error["type"] == "quota_error"
    figures = error["quota"]
    assert (figures["resource"], figures["limit"], figures["requested"]) == ("characters", 1000, 20)
    assert figures["used"] + figures["reserved"] > 980
    assert TtsJob.objects.filter(organization=tenant.organization).count() == 50
    assert period(tenant).used_characters == 1000
    assert_settled(tenant)


def test_transcriptions_at_once(tenant: Tenant) -> None:
    limit(tenant, monthly_audio_seconds=4)
    client = tenant.key("stt")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: hear(client, silence(1.5)), range(8)))
    assert Counter(answer.status_code for answer in answers) == {200: 2, 402: 6}
    assert error_of(next(a for a in answers if a.status_code == 402), 402)["quota"]["resource"] == "audio_seconds"
    assert period(tenant).used_audio_seconds == 3
    assert AudioFile.objects.filter(organization=tenant.organization).count() == 2  # refused audio is not kept
    assert_settled(tenant)


def test_nothing_is_stored_when_nothing_is_left(tenant: Tenant) -> None:
    limit(tenant, monthly_audio_seconds=0, monthly_characters=0)
    for fields in ({}, {"async": "true"}):
        error_of(hear(tenant.key("stt"), silence(1), **fields), 402, "quota_exceeded")
    for body in ({}, {"async": True}, {"stream": True}):
        error_of(speak(tenant.key("tts"), **body), 402, "quota_exceeded")
    assert_nothing_was_kept(tenant)


def test_one_limit_does_not_stop_the_other_task(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=0)
    assert hear(tenant.key("stt"), silence(0.5)).status_code == 200
    error_of(speak(tenant.key("tts")), 402)


def test_budget(tenant: Tenant) -> None:
    limit(tenant, monthly_budget=1, price_per_million_characters=20_000, price_per_audio_hour=3600)
    client = tenant.key()
    assert speak(client).status_code == 200  # 0.40
    assert hear(client, silence(0.5)).status_code == 200  # 0.50
    assert error_of(speak(client), 402)["quota"]["resource"] == "budget"
    body = state(tenant)
    assert body["used"]["cost"] == pytest.approx(0.9)
    assert body["remaining"]["budget"] == pytest.approx(0.1)
    assert speak(client, "Four.").status_code == 200


def test_batch_items_are_refused_one_by_one(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=3 * len(TEXT))
    answer = tenant.key("tts").post("/tts/synthesize-batch", json={"items": [{"text": TEXT}] * 5})
    items = answer.json()["items"]
    assert Counter(item.get("status") or item["error"]["code"] for item in items) == {
        "succeeded": 3, "quota_exceeded": 2
    }  # fmt: skip
    assert_settled(tenant)


def test_streams_are_metered_too(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=len(TEXT))
    client = tenant.key("tts")
    assert speak(client, stream=True).status_code == 200
    until(lambda: period(tenant).used_characters == len(TEXT))
    error_of(speak(client, stream=True), 402)
    assert_settled(tenant)


# ── Released ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_queued_job_holds_its_characters_until_it_ends(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=len(LONG_TEXT) + 50)
    client = tenant.key("tts")
    job_id = speak(client, LONG_TEXT, **{"async": True}).json()["job_id"]
    body = state(tenant)
    assert body["reserved"]["characters"] == len(LONG_TEXT)
    assert body["remaining"]["characters"] == 50
    error_of(speak(client, TEXT * 5), 402)
    until(lambda: client.get(f"/tts/jobs/{job_id}").json()["progress"] > 0)
    client.delete(f"/tts/jobs/{job_id}")
    billed = until(lambda: UsageRecord.objects.filter(job_id=job_id).first())
    assert 0 < billed.characters < len(LONG_TEXT) / 2  # what was spoken until then
    until(lambda: not Reservation.objects.filter(job_id=job_id).exists())
    assert period(tenant).used_characters == billed.characters
    assert_settled(tenant)


def test_cancelled_transcription_bills_what_was_heard(tenant: Tenant) -> None:
    limit(tenant, monthly_audio_seconds=3600)
    client = tenant.key("stt")
    speech = client.get(speak(tenant.key("tts"), "A sentence that is to be heard. " * 60).json()["audio_url"]).content
    job_id = hear(client, speech, **{"async": "true"}).json()["job_id"]
    until(lambda: client.get(f"/stt/jobs/{job_id}").json()["progress"] > 0.3, 60)
    held = Reservation.objects.get(job_id=job_id)
    client.delete(f"/stt/jobs/{job_id}")
    billed = until(lambda: UsageRecord.objects.filter(job_id=job_id).first())
    assert billed.status == "cancelled"
    assert 0 < billed.audio_seconds < float(held.audio_seconds)
    until(lambda: not Reservation.objects.filter(job_id=job_id).exists())
    assert float(period(tenant).used_audio_seconds) == pytest.approx(billed.audio_seconds, abs=0.001)


def test_failure_bills_nothing(tenant: Tenant) -> None:
    limit(tenant, monthly_audio_seconds=10, monthly_characters=100)
    client = tenant.key()
    error_of(hear(client, b"no audio at all" * 40), 422)
    job_id = hear(client, b"no audio at all" * 40, **{"async": "true"}).json()["job_id"]
    assert finished(client, f"/stt/jobs/{job_id}")["status"] == "failed"
    assert state(tenant)["used"]["audio_seconds"] == 0
    assert not Reservation.objects.filter(organization=tenant.organization).exists()


def test_reservation_of_a_lost_process_is_released(tenant: Tenant) -> None:
    """As a killed server leaves them: a job that still runs, one that was cancelled, and one that is gone."""
    limit(tenant, monthly_characters=1000)
    long_ago = timezone.now() - timedelta(hours=1)
    fields = {"organization": tenant.organization, "characters": 20, "sample_rate": 8000, "text": TEXT}
    lost = TtsJob.objects.create(**fields, status="processing", heartbeat_at=long_ago, started_at=long_ago)
    cancelled = TtsJob.objects.create(**fields, status="cancelled", finished_at=long_ago)
    queued = TtsJob.objects.create(**fields, status="queued", is_async=True)
    gone = TtsJob(**fields)
    for job in (lost, cancelled, queued, gone):
        quota.reserve(job, quota.Amounts(characters=job.characters))
    Reservation.objects.filter(organization=tenant.organization).update(created_at=long_ago)
    Reservation.objects.filter(job_id=gone.id).update(created_at=long_ago - queue.ROWLESS_LIFETIME)
    assert period(tenant).reserved_characters == 80

    queue.fail_interrupted()
    queue.release_reservations()
    lost.refresh_from_db()
    assert (lost.status, lost.error_code) == ("failed", "interrupted")
    assert period(tenant).reserved_characters == 20
    assert [row.job_id for row in Reservation.objects.filter(organization=tenant.organization)] == [queued.id]
    assert period(tenant).used_characters == 0


def test_second_attempt_reserves_nothing_more(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=20)
    job = TtsJob.objects.create(organization=tenant.organization, characters=20, sample_rate=8000, text=TEXT)
    for _ in range(3):
        quota.reserve(job, quota.Amounts(characters=20))
    assert period(tenant).reserved_characters == 20


# ── Months ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_next_month_starts_again(tenant: Tenant) -> None:
    limit(tenant, monthly_characters=len(TEXT))
    client = tenant.key("tts")
    assert speak(client).status_code == 200
    resets_at = datetime.fromisoformat(error_of(speak(client), 402)["quota"]["resets_at"])
    assert (resets_at.day, resets_at.hour, resets_at.tzinfo) == (1, 0, UTC)
    this_month = period(tenant).month
    assert quota.month_of(resets_at - timedelta(microseconds=1)) == this_month
    assert quota.month_of(resets_at) == resets_at.date()
    in_a_month = _as_if_a_month_had_passed(tenant)
    assert speak(client).status_code == 200
    body = state(tenant)
    assert (body["period"], body["used"]["characters"]) == (f"{this_month:%Y-%m}", len(TEXT))
    error_of(speak(client), 402)
    assert quota.period_of(tenant.organization.id, in_a_month).used_characters == len(TEXT)


def _as_if_a_month_had_passed(tenant: Tenant) -> date:
    """What was done, was done in its last moment before this month began. The month in which it was."""
    rows = {"organization": tenant.organization}
    ended = datetime.combine(quota.current_month(), datetime.min.time(), UTC) - timedelta(microseconds=1)
    UsageRecord.objects.filter(**rows).update(created_at=ended)
    Reservation.objects.filter(**rows).update(month=quota.month_of(ended))
    QuotaPeriod.objects.filter(**rows).update(month=quota.month_of(ended))
    return quota.month_of(ended)


def test_limit_counts_what_was_used_before_it(tenant: Tenant) -> None:
    client = tenant.key("tts")
    assert speak(client).status_code == 200
    assert not QuotaPeriod.objects.filter(organization=tenant.organization).exists()
    limit(tenant, monthly_characters=30)
    assert state(tenant)["used"]["characters"] == 20
    error_of(speak(client), 402)
    limit(tenant, monthly_characters=None)
    assert speak(client).status_code == 200
    limit(tenant, monthly_characters=60)
    assert speak(client).status_code == 200
    error_of(speak(client), 402)
    assert_settled(tenant)


# ── Concurrency ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_concurrency_limit(tenant: Tenant) -> None:
    limit(tenant, max_concurrent_jobs=2)
    client = tenant.key("tts")
    text = "A sentence that takes the engine some time to speak. " * 60
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: speak(client, text), range(12)))
    codes = Counter(answer.status_code for answer in answers)
    assert codes[200] >= 2
    assert codes[429] >= 1
    assert codes[200] + codes[429] == 12
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert error_of(refused, 429, "concurrency_limit")["type"] == "rate_limit_error"
    assert int(refused.headers["Retry-After"]) >= 1
    jobs = TtsJob.objects.filter(organization=tenant.organization)
    assert jobs.count() == codes[200]
    _assert_never_more_than(2, list(jobs))
    assert state(tenant)["concurrency"] == {"limit": 2, "running": 0}


def test_queued_jobs_and_batches_wait_for_their_turn(tenant: Tenant) -> None:
    limit(tenant, max_concurrent_jobs=1)
    client = tenant.key("tts")
    items = [{"text": TEXT * 40, "custom_id": str(n)} for n in range(4)]
    batch = client.post("/tts/synthesize-batch", json={"items": items}).json()
    assert [item["status"] for item in batch["items"]] == ["succeeded"] * 4
    queued = [speak(client, TEXT * 40, **{"async": True}).json()["job_id"] for _ in range(4)]
    assert {finished(client, f"/tts/jobs/{job_id}")["status"] for job_id in queued} == {"succeeded"}
    rows = list(TtsJob.objects.filter(id__in=queued))
    assert {row.attempts for row in rows} == {1}  # waiting is no attempt
    _assert_never_more_than(1, rows)


def test_many_that_must_wait_keep_nobody_busy(tenant: Tenant, other_tenant: Tenant) -> None:
    """One slot, held by a long job: the others are looked at seldom, and called one after the other when it is free."""
    limit(tenant, max_concurrent_jobs=1)
    client = tenant.key("tts")
    with override_settings(TTS_MAX_CHARACTERS=1_000_000):  # it lasts until the others have been put off, and is deleted
        long = speak(client, LONG_TEXT * 8, **{"async": True}).json()["job_id"]
        until(lambda: client.get(f"/tts/jobs/{long}").json()["status"] == "processing")
    items = [{"text": f"Short {n}."} for n in range(100)]
    batch_id = client.post("/tts/synthesize-batch", json={"items": items, "async": True}).json()["batch_id"]
    ids = [str(job_id) for job_id in TtsJob.objects.filter(batch_id=batch_id).values_list("id", flat=True)]
    tasks = ProcrastinateJob.objects.filter(args__job_id__in=ids)
    until(lambda: not tasks.filter(scheduled_at=None).exists(), 60)
    other = speak(other_tenant.key("tts"), **{"async": True}).json()["job_id"]
    assert finished(other_tenant.key("tts"), f"/tts/jobs/{other}")["status"] == "succeeded"  # nobody else waits
    waits = sorted(task.scheduled_at for task in tasks)
    assert waits[-1] - waits[0] > timedelta(seconds=15)  # 99 places at a quarter of a second

    client.delete(f"/tts/jobs/{long}")
    rows = TtsJob.objects.filter(batch_id=batch_id)
    until(lambda: not rows.exclude(status="succeeded").exists(), 120)
    _assert_never_more_than(1, list(rows))
    spans = sorted((row.started_at, row.finished_at) for row in rows)
    idle = sum(((after[0] - before[1]).total_seconds() for before, after in itertools.pairwise(spans)), 0.0)
    assert idle / len(spans) < 1  # called, rather than looking for themselves


def _assert_never_more_than(most: int, jobs: list[TtsJob]) -> None:
    for job in jobs:
        overlapping = [other for other in jobs if other.started_at <= job.started_at < other.finished_at]
        assert len(overlapping) <= most


# ── Warnings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_owners_and_admins_are_warned_once_at_each_level(tenant: Tenant) -> None:
    for role in ("owner", "admin", "developer"):
        tenant.member(role)
    limit(tenant, monthly_characters=100)
    client = tenant.key("tts")

    def sent() -> list[str]:
        return [message.subject for message in mail.outbox if tenant.organization.name in message.subject]

    for _ in range(4):
        assert speak(client).status_code == 200
    until(lambda: len(sent()) == 1)
    assert speak(client).status_code == 200
    until(lambda: len(sent()) == 2)
    for _ in range(3):
        error_of(speak(client), 402)
    time.sleep(0.5)
    assert [("80 %" in subject, "used up" in subject) for subject in sent()] == [(True, False), (False, True)]
    message = next(message for message in mail.outbox if message.subject == sent()[0])
    assert set(message.to) == {tenant.member(role).user.email for role in ("owner", "admin")}
    assert "80 of 100 characters" in message.body


def test_refusal_near_the_end_counts_as_used_up(tenant: Tenant) -> None:
    tenant.member("owner")
    limit(tenant, monthly_characters=35)
    client = tenant.key("tts")
    error_of(speak(client, TEXT * 2), 402)  # too large a text is no reason to warn
    assert not QuotaPeriod.objects.filter(organization=tenant.organization, notified_100=True).exists()
    speak(client, "x" * 30)
    error_of(speak(client), 402)
    assert period(tenant).notified_100


# ── Without limits ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_unlimited_organization_costs_no_query(tenant: Tenant) -> None:
    from django.db import connection
    from django.test import Client as InProcess
    from django.test.utils import CaptureQueriesContext

    client = InProcess(headers={"x-api-key": tenant.new_key("tts")[1]})

    def queries() -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            answer = client.post("/api/v1/tts/synthesize", {"text": TEXT}, content_type="application/json")
        assert answer.status_code == 200
        return [query["sql"] for query in captured]

    queries()
    plain = queries()
    tables = ("quotaperiod", "reservation", IdempotencyRecord._meta.db_table)
    assert not [sql for sql in plain if any(table in sql for table in tables)]
    # The key; the job; its end, which is a transaction of two statements.
    assert len([sql for sql in plain if sql.split()[0] in ("SELECT", "INSERT", "UPDATE")]) == 4, plain


def test_state_without_limits(tenant: Tenant) -> None:
    speak(tenant.key("tts"))
    body = state(tenant)
    assert set(body["remaining"].values()) == {None}
    assert body["used"] == {"characters": len(TEXT), "audio_seconds": 0.0, "cost": 0.0}
    assert body["concurrency"]["limit"] is None


def test_installations_defaults(tenant: Tenant, other_tenant: Tenant, settings: Any) -> None:
    settings.QUOTA_DEFAULT_MONTHLY_CHARACTERS = 5
    limit(other_tenant, max_concurrent_jobs=3)  # a quota of its own: no limit of characters
    error_of(speak(tenant.key("tts")), 402)
    assert speak(other_tenant.key("tts")).status_code == 200
    assert state(tenant)["limits"]["monthly_characters"] == 5


# ── The admin's page ────────────────────────────────────────────────────────────────────────────────────────────────


def test_operator_sets_a_quota_and_owner_reads_it(tenant: Tenant, other_tenant: Tenant) -> None:
    page = "/admin/analytics/quota/"
    prices = {"price_per_million_characters": "0", "price_per_audio_hour": "0"}
    data = {"organization": str(tenant.organization.id), "monthly_characters": "30", **prices}
    browser = operator(tenant)
    assert speak(tenant.key("tts")).status_code == 200
    assert browser.submit(f"{page}add/", data).status_code == 302
    error_of(speak(tenant.key("tts")), 402)
    row = tenant.organization.__class__.objects.get(id=tenant.organization.id).quota
    assert browser.submit(f"{page}{row.pk}/change/", {"monthly_characters": "100", **prices}).status_code == 302
    assert speak(tenant.key("tts")).status_code == 200
    entries = AuditEntry.objects.filter(organization=tenant.organization, action="quota.changed").order_by("created_at")
    assert [entry.details["limits"]["monthly_characters"] for entry in entries] == ["30", "100"]
    assert {entry.actor_label for entry in entries} == {"operator@example.com"}
    refused = browser.submit(f"{page}{row.pk}/change/", {"monthly_budget": "5", **prices})
    assert "A budget needs a price" in text_of(refused)

    owner = signed_in(tenant, "owner")
    assert "100" in text_of(owner.get(page))
    assert owner.get(f"{page}{row.pk}/change/").status_code == 200
    token = {"csrfmiddlewaretoken": "x" * 64, "monthly_characters": "999"}
    assert owner.post(f"{page}{row.pk}/change/", data=token).status_code == 403
    assert signed_in(other_tenant, "owner").get(f"{page}{row.pk}/change/").status_code == 404
    assert not SttJob.objects.filter(organization=tenant.organization).exists()
