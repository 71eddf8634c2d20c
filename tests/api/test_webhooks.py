"""/webhooks: endpoints, and deliveries to a real server that lies, hangs and fails."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import Webhook

from audit.models import AuditEntry
from tests.api.support import silence
from tests.conftest import Client, Tenant, error_of
from tests.webhook_receiver import Receiver, dripping, running, silent, status
from webhooks import delivering, events, services, signing
from webhooks.models import WebhookDelivery, WebhookEndpoint

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture(autouse=True)
def quick_and_local() -> Iterator[None]:
    """Deliveries to this machine are allowed, and attempts follow each other at once."""
    with override_settings(
        WEBHOOK_ALLOWED_NETWORKS=LOOPBACK, WEBHOOK_RETRY_SECONDS=(0.05, 0.05), WEBHOOK_TOTAL_SECONDS=0.6
    ):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as receiver:
        yield receiver


def _register(client: Client, url: str, *wanted: str, **fields: Any) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": url, **({"events": list(wanted)} if wanted else {}), **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def _ended(webhook_id: str, count: int = 1, seconds: float = 20) -> list[WebhookDelivery]:
    """The endpoint's deliveries, oldest first, once `count` of them have ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = list(WebhookDelivery.objects.filter(endpoint_id=webhook_id).order_by("created_at"))
        if sum(row.finished_at is not None for row in rows) >= count:
            return rows
        time.sleep(0.02)
    raise AssertionError([(row.status, row.attempts, row.error) for row in rows])


def _publish(tenant: Tenant, event: str = "voice.ready", **data: Any) -> None:
    events.publish(organization_id=tenant.organization.id, event=event, data=lambda: data)


# ── What is sent ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_finished_job_is_delivered_and_verifies(tenant: Tenant, receiver: Receiver) -> None:
    made = _register(tenant.user("admin"), receiver.url, "job.succeeded")
    job = tenant.key("tts").post("/tts/synthesize", json={"text": "Hello, Ångström.", "async": True}).json()
    sent = receiver.wait()[0]
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert abs(int(sent.headers["webhook-timestamp"]) - time.time()) < 10
    assert sent.signed_with(made["secret"]) == [True]
    assert Webhook(made["secret"]).verify(sent.body, sent.headers) == sent.json

    body = sent.json
    assert body["type"] == "job.succeeded"
    shown = tenant.key("tts").get(f"/tts/jobs/{job['job_id']}").json()
    shown.pop("audio_url")
    shown.pop("timestamps")
    assert body["data"] == {**shown, "task": "tts", "omitted": []}
    row = _ended(made["id"])[0]
    assert (row.status, row.attempts, row.response_status, row.response_excerpt) == ("delivered", 1, 200, "thanks")
    assert row.event_id == sent.headers["webhook-id"]
    assert str(row.object_id) == job["job_id"]


def test_each_way_for_a_job_to_end_is_told_once(tenant: Tenant, receiver: Receiver) -> None:
    made = _register(tenant.user("admin"), receiver.url)
    client = tenant.key()
    done = client.post("/stt/transcribe", files={"audio_file": ("s.wav", silence(0.5))}).json()
    failed = client.post("/stt/transcribe", files={"audio_file": ("s.wav", b"no audio at all")})
    assert failed.status_code == 422
    from tts.models import TtsJob

    queued = TtsJob.objects.create(organization=tenant.organization, status="queued", text="Never.", characters=6,
                                   sample_rate=8000)  # fmt: skip
    assert client.delete(f"/tts/jobs/{queued.id}").status_code == 204
    _ended(made["id"], 3)
    told = {body["type"]: body["data"] for body in (sent.json for sent in receiver.received)}
    assert sorted(told) == ["job.cancelled", "job.failed", "job.succeeded"]
    assert len(receiver.received) == 3
    assert told["job.succeeded"]["job_id"] == done["job_id"]
    assert told["job.failed"]["error"]["code"] == "audio_undecodable"
    assert (told["job.cancelled"]["job_id"], told["job.cancelled"]["status"]) == (str(queued.id), "cancelled")


def test_a_batch_is_told_once_when_its_last_job_ends(tenant: Tenant, receiver: Receiver) -> None:
    made = _register(tenant.user("admin"), receiver.url, "batch.finished")
    client = tenant.key("tts")
    items = [{"text": f"Number {n}.", "custom_id": f"c{n}"} for n in range(6)] + [{"text": "x", "voice": "nobody"}]
    batches = [
        client.post("/tts/synthesize-batch", json={"items": items, "async": queued}).json() for queued in (True, False)
    ]
    _ended(made["id"], 2, 60)
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
    made = _register(tenant.user("admin"), receiver.url, "quota.warning", "quota.exceeded")
    client = tenant.key("tts")
    client.post("/tts/synthesize", json={"text": "12345678"})
    _ended(made["id"])
    error_of(client.post("/tts/synthesize", json={"text": "12345678"}), 402)
    _ended(made["id"], 2)
    told = [(sent.json["type"], sent.json["data"]["level"]) for sent in receiver.received]
    assert told == [("quota.warning", 80), ("quota.exceeded", 100)]
    assert receiver.received[0].json["data"]["limits"]["monthly_characters"] == 10


def test_only_subscribed_events_of_the_own_organization_are_sent(
    tenant: Tenant, other_tenant: Tenant, receiver: Receiver
) -> None:
    made = _register(tenant.user("admin"), receiver.url, "voice.ready")
    _publish(other_tenant, "voice.ready", whose="theirs")
    _publish(tenant, "quota.warning", whose="mine, but not wanted")
    _publish(tenant, "voice.ready", whose="mine")
    _ended(made["id"])
    assert [sent.json["data"] for sent in receiver.received] == [{"whose": "mine"}]


def test_a_rolled_back_change_is_not_told(tenant: Tenant, receiver: Receiver) -> None:
    from django.db import transaction

    made = _register(tenant.user("admin"), receiver.url)
    with transaction.atomic():
        _publish(tenant, n=1)
        transaction.set_rollback(True)
    _publish(tenant, n=2)
    _ended(made["id"])
    assert [sent.json["data"] for sent in receiver.received] == [{"n": 2}]


def test_nobody_listening_costs_no_query(tenant: Tenant) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    _publish(tenant)
    with CaptureQueriesContext(connection) as queries:
        _publish(tenant)
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
    made = _register(admin, receiver.url)
    client = tenant.key("tts")
    job_id = client.post("/tts/synthesize", json={"text": "A secret text."}).json()["job_id"]
    delivery = _ended(made["id"])[0]
    url = f"/webhooks/{made['id']}/deliveries/{delivery.id}"
    assert admin.get(url).json()["payload"]["data"]["text"] == "A secret text."
    assert client.delete(f"/tts/jobs/{job_id}").status_code == 204
    kept = {"job_id": job_id, "task": "tts", "status": "succeeded", "content_deleted": True}
    assert admin.get(url).json()["payload"]["data"] == kept


def test_an_organization_that_keeps_no_texts_has_none_in_its_deliveries(tenant: Tenant, receiver: Receiver) -> None:
    tenant.organization.transcript_retention_days = 0
    tenant.organization.save()
    made = _register(tenant.user("admin"), receiver.url)
    tenant.key("tts").post("/tts/synthesize", json={"text": "A secret text."})
    _ended(made["id"])
    data = receiver.received[0].json["data"]
    assert b"secret" not in receiver.received[0].body
    assert "omitted" not in data or data["omitted"] == ["text"]  # the answer's end may have emptied it already


# ── Failures ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_retries_after_errors_and_time_outs_under_the_same_id(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(500, b"broken\0"), silent, status(204, b"")]
    made = _register(tenant.user("admin"), receiver.url)
    _publish(tenant, n=1)
    row = _ended(made["id"])[0]
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
    made = _register(tenant.user("admin"), receiver.url)
    _publish(tenant)
    row = _ended(made["id"])[0]
    assert (row.status, row.attempts, row.next_attempt_at) == ("failed", 3, None)
    shown = tenant.user("admin").get(f"/webhooks/{made['id']}").json()
    assert (shown["active"], shown["consecutive_failures"]) == (True, 3)


def test_a_dripping_answer_is_cut_off(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [dripping]
    made = _register(tenant.user("admin"), receiver.url)
    delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
    assert (delivery["status"], delivery["error"]) == ("failed", "There was no answer in time.")
    assert delivery["duration_seconds"] < 2


def test_reads_no_more_than_the_beginning_of_an_answer(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(200, b"a" * 5_000_000)]
    made = _register(tenant.user("admin"), receiver.url)
    delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
    assert (delivery["status"], delivery["response_excerpt"]) == ("delivered", "a" * 1024)


def test_redirects_are_not_followed(tenant: Tenant, receiver: Receiver) -> None:
    with running() as elsewhere:
        receiver.answers = [status(302, Location=elsewhere.url)]
        made = _register(tenant.user("admin"), receiver.url)
        delivery = tenant.user("admin").post(f"/webhooks/{made['id']}/test").json()
        assert (delivery["status"], delivery["response_status"]) == ("failed", 302)
        assert "redirects are not followed" in delivery["error"]
        assert not elsewhere.received


def test_gone_disables_and_activating_starts_afresh(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    receiver.answers = [status(410), status(200)]
    with running() as watcher:
        other = _register(admin, watcher.url, "webhook.disabled")
        made = _register(admin, receiver.url, "voice.ready")
        _publish(tenant, n=1)
        row = _ended(made["id"])[0]
        assert (row.status, row.attempts) == ("failed", 1)
        told = watcher.wait()[0].json
        assert (told["type"], told["data"]["webhook_id"]) == ("webhook.disabled", made["id"])
        _ended(other["id"])
    shown = admin.get(f"/webhooks/{made['id']}").json()
    assert (shown["active"], shown["disabled_reason"]) == (False, "The endpoint answered 410: it is gone.")
    entry = AuditEntry.objects.get(organization=tenant.organization, action="webhook.disabled")
    assert (entry.actor_type, entry.object_id) == ("system", made["id"])

    _publish(tenant, n=2)
    url = f"/webhooks/{made['id']}/deliveries/{row.id}/redeliver"
    error_of(admin.post(url), 409, "webhook_disabled")
    assert len(receiver.received) == 1
    answer = admin.patch(f"/webhooks/{made['id']}", json={"active": True})
    assert (answer.json()["consecutive_failures"], answer.json()["disabled_at"]) == (0, None)
    assert admin.post(url).status_code == 202
    _publish(tenant, n=3)
    _ended(made["id"], 3)
    assert sorted(sent.json["data"]["n"] for sent in receiver.received) == [1, 1, 3]


def test_failing_for_days_disables(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(500)]
    made = _register(tenant.user("admin"), receiver.url)
    rows = WebhookEndpoint.objects.filter(id=made["id"])
    with override_settings(WEBHOOK_RETRY_SECONDS=()):
        rows.update(consecutive_failures=100, failing_since=timezone.now() - timedelta(days=2))
        _publish(tenant)
        _ended(made["id"], 1)
        assert rows.get().active, "many failures, but not for days"
        rows.update(consecutive_failures=1, failing_since=timezone.now() - timedelta(days=9))
        _publish(tenant)
        _ended(made["id"], 2)
        assert rows.get().active, "for days, but few"
        rows.update(consecutive_failures=100)
        _publish(tenant)
        _ended(made["id"], 3)
    row = rows.get()
    assert not row.active
    assert row.disabled_reason == "Every attempt of the last 3 days failed. The last one: The answer was 500."


def test_a_repeated_task_sends_nothing_twice(tenant: Tenant, receiver: Receiver) -> None:
    made = _register(tenant.user("admin"), receiver.url)
    _publish(tenant)
    row = _ended(made["id"])[0]
    delivering.run_attempt(row.id, 0)
    delivering.run_attempt(row.id, 1)
    delivering.run_attempt(uuid.uuid4(), 0)
    assert len(receiver.received) == 1


def test_one_endpoint_that_hangs_takes_not_all_places(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [silent]
    admin = tenant.user("admin")
    _register(admin, receiver.url, "quota.warning")
    with running() as healthy, override_settings(WEBHOOK_TOTAL_SECONDS=1.5):
        made = _register(admin, healthy.url, "voice.ready")
        for n in range(40):
            _publish(tenant, "quota.warning", n=n)
        receiver.wait(delivering.PER_ENDPOINT)
        started = time.monotonic()
        _publish(tenant, "voice.ready")
        healthy.wait()
        assert time.monotonic() - started < 1
        assert len(receiver.received) <= delivering.PER_ENDPOINT
        _ended(made["id"])


# ── Managing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_secret_is_shown_once_and_not_stored(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = _register(admin, receiver.url, "job.failed", "job.failed", description="Mine")
    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["description"], made["active"]) == (["job.failed"], "Mine", True)
    assert made["created_by"] == tenant.member("admin").user.email
    row = WebhookEndpoint.objects.get(id=made["id"])
    assert made["secret"].removeprefix("whsec_") not in str(vars(row))
    for shown in (admin.get(f"/webhooks/{row.id}").json(), admin.get("/webhooks").json()["results"][0]):
        assert shown["id"] == made["id"]
        assert not {"secret", "salt", "previous_salt"} & set(shown)


def test_rotation_signs_with_both_secrets_for_a_day(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = _register(admin, receiver.url)
    rotated = admin.post(f"/webhooks/{made['id']}/rotate-secret").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_expires_at"]
    admin.post(f"/webhooks/{made['id']}/test")
    sent = receiver.received[0]
    assert sent.signed_with(rotated["secret"]) == [True, False]
    assert sent.signed_with(made["secret"]) == [False, True]
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(sent.body, sent.headers)
    WebhookEndpoint.objects.filter(id=made["id"]).update(previous_until=timezone.now())
    admin.post(f"/webhooks/{made['id']}/test")
    assert receiver.received[1].signed_with(rotated["secret"]) == [True]


def test_test_button_tells_the_outcome_and_is_not_repeated(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(200, b"pong"), status(500)]
    admin = tenant.user("admin")
    made = _register(admin, receiver.url, "job.failed", active=False)
    answer = admin.post(f"/webhooks/{made['id']}/test").json()
    assert (answer["event"], answer["status"], answer["response_excerpt"]) == ("webhook.test", "delivered", "pong")
    assert receiver.received[0].json["type"] == "webhook.test"
    assert receiver.received[0].signed_with(made["secret"]) == [True]
    failed = admin.post(f"/webhooks/{made['id']}/test").json()
    assert (failed["status"], failed["attempts"], failed["next_attempt_at"]) == ("failed", 1, None)
    assert WebhookEndpoint.objects.get(id=made["id"]).consecutive_failures == 0


def test_redelivery_repeats_the_event_under_its_id(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = _register(admin, receiver.url)
    _publish(tenant, n=1)
    first = _ended(made["id"])[0]
    answer = admin.post(f"/webhooks/{made['id']}/deliveries/{first.id}/redeliver")
    assert answer.status_code == 202
    assert answer.json()["id"] != str(first.id)
    _ended(made["id"], 2)
    one, two = receiver.received
    assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])


def test_deliveries_are_listed_and_filtered(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(200), status(500)]
    admin = tenant.user("admin")
    made = _register(admin, receiver.url)
    with override_settings(WEBHOOK_RETRY_SECONDS=()):
        _publish(tenant, n=1)
        _ended(made["id"], 1)
        _publish(tenant, n=2)
        _ended(made["id"], 2)
    page = admin.get(f"/webhooks/{made['id']}/deliveries").json()
    assert [row["status"] for row in page["results"]] == ["failed", "delivered"]
    assert "payload" not in page["results"][0]
    only = admin.get(f"/webhooks/{made['id']}/deliveries?status=failed&page_size=1").json()
    assert (only["count"], only["results"][0]["log"][0]["status"]) == (1, 500)
    error_of(admin.get(f"/webhooks/{made['id']}/deliveries?status=lost"), 400)


def test_a_delivery_belongs_to_its_webhook(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    first, second = _register(admin, receiver.url, "voice.ready"), _register(admin, receiver.url, "job.failed")
    _publish(tenant)
    row = _ended(first["id"])[0]
    error_of(admin.get(f"/webhooks/{second['id']}/deliveries/{row.id}"), 404)
    error_of(admin.post(f"/webhooks/{second['id']}/deliveries/{row.id}/redeliver"), 404)


def test_changes_and_deletion(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = _register(admin, receiver.url)
    changed = admin.patch(f"/webhooks/{made['id']}", json={"events": ["job.failed"], "url": receiver.url + "?a=b"})
    assert (changed.json()["events"], changed.json()["url"]) == (["job.failed"], receiver.url + "?a=b")
    admin.post(f"/webhooks/{made['id']}/test")
    assert receiver.received[0].path == "/hook?a=b"
    error_of(admin.patch(f"/webhooks/{made['id']}", json={"url": "http://10.0.0.1/"}), 400, "webhook_url_refused")
    assert admin.delete(f"/webhooks/{made['id']}").status_code == 204
    error_of(admin.get(f"/webhooks/{made['id']}"), 404)
    assert not WebhookDelivery.objects.filter(endpoint_id=made["id"]).exists()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"url": "https://example.com/" + "x" * 2000}, "url"),
        ({"events": []}, "events"),
        ({"events": ["job.finished"]}, "events.0"),
        ({"events": ["webhook.test"]}, "events.0"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_rejects_wrong_fields(tenant: Tenant, fields: dict, param: str) -> None:
    body = {"url": "https://203.0.113.9/", "events": ["job.failed"], **fields}
    assert error_of(tenant.user("admin").post("/webhooks", json=body), 400)["param"] == param
    assert not WebhookEndpoint.objects.filter(organization=tenant.organization).exists()


def test_an_organization_has_so_many_and_no_more(tenant: Tenant, receiver: Receiver) -> None:
    with override_settings(WEBHOOK_MAX_ENDPOINTS=2):
        admin = tenant.user("admin")
        for _ in range(2):
            _register(admin, receiver.url)
        error_of(admin.post("/webhooks", json={"url": receiver.url}), 409, "too_many_webhooks")


def test_old_deliveries_are_purged(tenant: Tenant, receiver: Receiver) -> None:
    made = _register(tenant.user("admin"), receiver.url)
    _publish(tenant, n=1)
    _publish(tenant, n=2)
    old, new = _ended(made["id"], 2)
    WebhookDelivery.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=31))
    assert delivering.purge() == 1
    assert [row.id for row in WebhookDelivery.objects.filter(endpoint_id=made["id"])] == [new.id]


def test_every_webhook_action_is_audited_without_secrets(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = _register(admin, receiver.url + "/path-token?token=abc", "voice.ready")
    url = f"/webhooks/{made['id']}"
    admin.patch(url, json={"description": "x"})
    rotated = admin.post(f"{url}/rotate-secret").json()
    admin.post(f"{url}/test")
    _publish(tenant)
    row = next(row for row in _ended(made["id"], 2) if row.event == "voice.ready")
    admin.post(f"{url}/deliveries/{row.id}/redeliver")
    _ended(made["id"], 3)
    admin.delete(url)
    entries = list(
        AuditEntry.objects.filter(organization=tenant.organization, object_id=made["id"]).order_by("created_at")
    )
    assert [entry.action.removeprefix("webhook.") for entry in entries] == [
        "created", "updated", "secret_rotated", "tested", "redelivered", "deleted",
    ]  # fmt: skip
    assert {entry.actor_label for entry in entries} == {tenant.member("admin").user.email}
    written = " ".join(str(vars(entry)) for entry in entries)
    for secret in (made["secret"], rotated["secret"], "token", WebhookEndpoint(id=made["id"]).salt):
        assert secret.removeprefix("whsec_") not in written


def test_secrets_differ_by_endpoint_and_are_stable() -> None:
    one, two = signing.new_salt(), signing.new_salt()
    assert signing.secret_of(one) != signing.secret_of(two)
    assert signing.secret_of(one) == signing.secret_of(one)


def test_a_secret_is_not_recovered_by_services(tenant: Tenant, receiver: Receiver) -> None:
    row, secret = services.create_endpoint(actor=tenant.actor(), url=receiver.url, events=["job.failed"])
    assert secret not in str(vars(WebhookEndpoint.objects.get(id=row.id)))
