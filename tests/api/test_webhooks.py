"""Webhooks: deliveries to a real server that lies, hangs and fails."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta
from http.server import BaseHTTPRequestHandler

import pytest
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import Webhook

from audit.models import AuditEntry
from tests.api.support import silence
from tests.api.webhook_support import ended, publish, register
from tests.conftest import Tenant, error_of
from tests.webhook_receiver import Receiver, dripping, running, silent, status
from webhooks import delivering
from webhooks.models import WebhookEndpoint

pytestmark = pytest.mark.usefixtures("quick_webhooks")


# ── What is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_finished_job_is_delivered_and_verifies(tenant: Tenant, receiver: Receiver) -> None:
    made = register(tenant.user("admin"), receiver.url, "job.succeeded")
    job = tenant.key("tts").post("/tts/synthesize", json={"text": "Hello, Ångström.", "async": True}).json()
    sent = receiver.wait()[0]
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert abs(int(sent.headers["webhook-timestamp"]) - time.time()) < 10
    assert sent.signed_with(made["secret"]) == [True]
    assert Webhook(made["secret"]).verify(sent.body, sent.headers) == sent.json

    body = sent.json
    assert body["type"] == "job.succeeded"
    assert body["timestamp"].endswith("Z")  # as all times of the API
    shown = tenant.key("tts").get(f"/tts/jobs/{job['job_id']}").json()
    shown.pop("audio_url")
    shown.pop("timestamps")
    assert body["data"] == {**shown, "task": "tts", "omitted": []}
    row = ended(made["id"])[0]
    assert (row.status, row.attempts, row.response_status, row.response_excerpt) == ("delivered", 1, 200, "thanks")
    assert row.event_id == sent.headers["webhook-id"]
    assert str(row.object_id) == job["job_id"]


def test_each_way_for_a_job_to_end_is_told_once(tenant: Tenant, receiver: Receiver) -> None:
    made = register(tenant.user("admin"), receiver.url)
    client = tenant.key()
    done = client.post("/stt/transcribe", files={"audio_file": ("s.wav", silence(0.5))}).json()
    failed = client.post("/stt/transcribe", files={"audio_file": ("s.wav", b"no audio at all")})
    assert failed.status_code == 422
    from tts.models import TtsJob

    queued = TtsJob.objects.create(organization=tenant.organization, status="queued", text="Never.", characters=6,
                                   sample_rate=8000)  # fmt: skip
    assert client.delete(f"/tts/jobs/{queued.id}").status_code == 204
    ended(made["id"], 3)
    told = {body["type"]: body["data"] for body in (sent.json for sent in receiver.received)}
    assert sorted(told) == ["job.cancelled", "job.failed", "job.succeeded"]
    assert len(receiver.received) == 3
    assert told["job.succeeded"]["job_id"] == done["job_id"]
    assert told["job.failed"]["error"]["code"] == "audio_undecodable"
    assert (told["job.cancelled"]["job_id"], told["job.cancelled"]["status"]) == (str(queued.id), "cancelled")


def test_a_batch_is_told_once_when_its_last_job_ends(tenant: Tenant, receiver: Receiver) -> None:
    made = register(tenant.user("admin"), receiver.url, "batch.finished")
    client = tenant.key("tts")
    items = [{"text": f"Number {n}.", "custom_id": f"c{n}"} for n in range(6)] + [{"text": "x", "voice": "nobody"}]
    batches = [
        client.post("/tts/synthesize-batch", json={"items": items, "async": queued}).json() for queued in (True, False)
    ]
    ended(made["id"], 2, 60)
    time.sleep(0.3)
    told = {sent.json["data"]["batch_id"]: sent.json["data"] for sent in receiver.received}
    assert len(receiver.received) == len(told) == 2
    for batch in batches:
        data = told[batch["batch_id"]]
        assert (data["task"], data["total"], data["progress"], data["counts"]["succeeded"]) == ("tts", 6, 1.0, 6)
        made_jobs = [(item["job_id"], f"c{n}") for n, item in enumerate(batch["items"][:6])]
        assert sorted((job["job_id"], job["custom_id"]) for job in data["jobs"]) == sorted(made_jobs)
        assert {job["status"] for job in data["jobs"]} == {"succeeded"}
        state = client.get(f"/tts/batches/{batch['batch_id']}").json()
        assert state["finished_at"] == data["finished_at"]


def test_a_quota_that_runs_out_is_told(tenant: Tenant, receiver: Receiver) -> None:
    from analytics.quota import set_quota

    set_quota(organization=tenant.organization, monthly_characters=10)
    made = register(tenant.user("admin"), receiver.url, "quota.warning", "quota.exceeded")
    client = tenant.key("tts")
    client.post("/tts/synthesize", json={"text": "12345678"})
    ended(made["id"])
    error_of(client.post("/tts/synthesize", json={"text": "12345678"}), 402)
    ended(made["id"], 2)
    told = [(sent.json["type"], sent.json["data"]["level"]) for sent in receiver.received]
    assert told == [("quota.warning", 80), ("quota.exceeded", 100)]
    assert receiver.received[0].json["data"]["limits"]["monthly_characters"] == 10


def test_only_subscribed_events_of_the_own_organization_are_sent(
    tenant: Tenant, other_tenant: Tenant, receiver: Receiver
) -> None:
    made = register(tenant.user("admin"), receiver.url, "voice.ready")
    publish(other_tenant, "voice.ready", whose="theirs")
    publish(tenant, "quota.warning", whose="mine, but not wanted")
    publish(tenant, "voice.ready", whose="mine")
    ended(made["id"])
    assert [sent.json["data"] for sent in receiver.received] == [{"whose": "mine"}]


def test_a_rolled_back_change_is_not_told(tenant: Tenant, receiver: Receiver) -> None:
    from django.db import transaction

    made = register(tenant.user("admin"), receiver.url)
    with transaction.atomic():
        publish(tenant, n=1)
        transaction.set_rollback(True)
    publish(tenant, n=2)
    ended(made["id"])
    assert [sent.json["data"] for sent in receiver.received] == [{"n": 2}]


def test_nobody_listening_costs_no_query(tenant: Tenant) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    publish(tenant)
    with CaptureQueriesContext(connection) as queries:
        publish(tenant)
    assert len(queries) == 0


def test_a_very_large_job_is_told_without_its_largest_fields(tenant: Tenant) -> None:
    from jobs import announcing
    from tts.models import TtsJob

    text = "x" * announcing.MAX_BYTES
    job = TtsJob(organization=tenant.organization, text=text, characters=len(text), sample_rate=8000)
    said = announcing.describe(job)
    assert (said["text"], said["omitted"], said["characters"]) == (None, ["text"], len(text))


def test_deleting_a_job_takes_its_text_out_of_the_log(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url)
    client = tenant.key("tts")
    job_id = client.post("/tts/synthesize", json={"text": "A secret text."}).json()["job_id"]
    delivery = ended(made["id"])[0]
    url = f"/webhooks/{made['id']}/deliveries/{delivery.id}"
    assert admin.get(url).json()["payload"]["data"]["text"] == "A secret text."
    assert client.delete(f"/tts/jobs/{job_id}").status_code == 204
    kept = {"job_id": job_id, "task": "tts", "status": "succeeded", "content_deleted": True}
    assert admin.get(url).json()["payload"]["data"] == kept


def test_an_organization_that_keeps_no_texts_has_none_in_its_deliveries(tenant: Tenant, receiver: Receiver) -> None:
    tenant.organization.transcript_retention_days = 0
    tenant.organization.save()
    made = register(tenant.user("admin"), receiver.url)
    tenant.key("tts").post("/tts/synthesize", json={"text": "A secret text."})
    ended(made["id"])
    data = receiver.received[0].json["data"]
    assert b"secret" not in receiver.received[0].body
    assert "omitted" not in data or data["omitted"] == ["text"]  # the answer's end may have emptied it already


# ── Failures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_retries_after_errors_and_time_outs_under_the_same_id(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(500, b"broken\0"), silent, status(204, b"")]
    made = register(tenant.user("admin"), receiver.url)
    publish(tenant, n=1)
    row = ended(made["id"])[0]
    assert (row.status, row.attempts, row.response_status, row.error) == ("delivered", 3, 204, "")
    assert [attempt["status"] for attempt in row.log] == [500, None, 204]
    assert row.log[0]["error"] == "The answer was 500."
    assert "in time" in row.log[1]["error"]
    assert len({sent.headers["webhook-id"] for sent in receiver.received}) == 1
    assert len({sent.body for sent in receiver.received}) == 1
    assert all(sent.signed_with(made["secret"]) == [True] for sent in receiver.received)
    assert WebhookEndpoint.objects.get(id=made["id"]).consecutive_failures == 0


def test_gives_up_after_the_last_wait(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(503)]
    made = register(tenant.user("admin"), receiver.url)
    publish(tenant)
    row = ended(made["id"])[0]
    assert (row.status, row.attempts, row.next_attempt_at) == ("failed", 3, None)
    shown = tenant.user("admin").get(f"/webhooks/{made['id']}").json()
    assert (shown["active"], shown["consecutive_failures"]) == (True, 3)


def test_a_dripping_answer_is_cut_off(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [dripping]
    made = register(tenant.user("admin"), receiver.url)
    delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
    assert (delivery["status"], delivery["error"]) == ("failed", "There was no answer in time.")
    assert delivery["duration_seconds"] < 2


def test_reads_no_more_than_the_beginning_of_an_answer(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(200, b"a" * 5_000_000)]
    made = register(tenant.user("admin"), receiver.url)
    delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
    assert (delivery["status"], delivery["response_excerpt"]) == ("delivered", "a" * 1024)


def test_redirects_are_not_followed(tenant: Tenant, receiver: Receiver) -> None:
    with running() as elsewhere:
        receiver.answers = [status(302, Location=elsewhere.url)]
        made = register(tenant.user("admin"), receiver.url)
        delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
        assert (delivery["status"], delivery["response_status"]) == ("failed", 302)
        assert "redirects are not followed" in delivery["error"]
        assert not elsewhere.received


def test_gone_disables_and_activating_starts_afresh(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    receiver.answers = [status(410), status(200)]
    with running() as watcher:
        other = register(admin, watcher.url, "webhook.disabled")
        made = register(admin, receiver.url, "voice.ready")
        publish(tenant, n=1)
        row = ended(made["id"])[0]
        assert (row.status, row.attempts) == ("failed", 1)
        told = watcher.wait()[0].json
        assert (told["type"], told["data"]["webhook_id"]) == ("webhook.disabled", made["id"])
        ended(other["id"])
    shown = admin.get(f"/webhooks/{made['id']}").json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "The endpoint answered 410: it is gone.")
    entry = AuditEntry.objects.get(organization=tenant.organization, action="webhook.disabled")
    assert (entry.actor_type, entry.object_id) == ("system", made["id"])

    publish(tenant, n=2)
    url = f"/webhooks/{made['id']}/deliveries/{row.id}/redeliver"
    error_of(admin.post(url), 409, "webhook_disabled")
    assert len(receiver.received) == 1
    answer = admin.patch(f"/webhooks/{made['id']}", json={"active": True})
    assert (answer.json()["consecutive_failures"], answer.json()["disabled_at"]) == (0, None)
    assert admin.post(url).status_code == 202
    publish(tenant, n=3)
    ended(made["id"], 3)
    assert sorted(sent.json["data"]["n"] for sent in receiver.received) == [1, 1, 3]


def test_failing_for_days_disables(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(500)]
    made = register(tenant.user("admin"), receiver.url)
    rows = WebhookEndpoint.objects.filter(id=made["id"])
    with override_settings(WEBHOOK_RETRY_SECONDS=()):
        rows.update(consecutive_failures=100, failing_since=timezone.now() - timedelta(days=2))
        publish(tenant)
        ended(made["id"], 1)
        assert rows.get().active, "many failures, but not for days"
        rows.update(consecutive_failures=1, failing_since=timezone.now() - timedelta(days=9))
        publish(tenant)
        ended(made["id"], 2)
        assert rows.get().active, "for days, but few"
        rows.update(consecutive_failures=100)
        publish(tenant)
        ended(made["id"], 3)
    row = rows.get()
    assert not row.active
    assert row.disabled_reason == "Every attempt of the last 3 days failed. The last one: The answer was 500."


def test_a_repeated_task_sends_nothing_twice(tenant: Tenant, receiver: Receiver) -> None:
    made = register(tenant.user("admin"), receiver.url)
    publish(tenant)
    row = ended(made["id"])[0]
    delivering.run_attempt(row.id, 0)
    delivering.run_attempt(row.id, 1)
    delivering.run_attempt(uuid.uuid4(), 0)
    assert len(receiver.received) == 1


def test_one_endpoint_that_hangs_takes_not_all_places(tenant: Tenant, receiver: Receiver) -> None:
    released = threading.Event()

    def hanging(handler: BaseHTTPRequestHandler) -> None:
        released.wait(60)
        status(200)(handler)

    receiver.answers = [hanging]
    admin = tenant.user("admin")
    register(admin, receiver.url, "quota.warning")
    with running() as healthy, override_settings(WEBHOOK_TOTAL_SECONDS=60):
        made = register(admin, healthy.url, "voice.ready")
        for n in range(40):
            publish(tenant, "quota.warning", n=n)
        receiver.wait(delivering.PER_ENDPOINT)
        publish(tenant, "voice.ready")
        healthy.wait()
        assert not released.is_set()
        assert len(receiver.received) == delivering.PER_ENDPOINT, "it was sent beside those that hang, not after them"
        released.set()
        ended(made["id"])
