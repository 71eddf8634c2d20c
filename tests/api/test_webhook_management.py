"""/webhooks: endpoints, their secrets, their deliveries, and what the audit trail says of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import Webhook

from audit.models import AuditEntry
from tests.api.webhook_support import ended, publish, register
from tests.browser import signed_in
from tests.conftest import Tenant, error_of
from tests.webhook_receiver import Receiver, status
from webhooks import delivering, services, signing
from webhooks.models import WebhookDelivery, WebhookEndpoint

pytestmark = pytest.mark.usefixtures("quick_webhooks")


def test_secret_is_shown_once_and_not_stored(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url, "job.failed", "job.failed", description="Mine")
    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["description"], made["active"]) == (["job.failed"], "Mine", True)
    assert made["created_by"] == tenant.member("admin").user.email
    row = WebhookEndpoint.objects.get(id=made["id"])
    assert made["secret"].removeprefix("whsec_") not in str(vars(row))
    for shown in (admin.get(f"/webhooks/{row.id}").json(), admin.get("/webhooks").json()["results"][0]):
        assert shown["id"] == made["id"]
        assert not {"secret", "salt", "previous_salt"} & set(shown)


def test_owners_make_change_and_delete_them_in_the_administration(tenant: Tenant, receiver: Receiver) -> None:
    browser, page = signed_in(tenant, "owner"), "/admin/webhooks/webhookendpoint/"
    made = {"organization": str(tenant.organization.id), "url": receiver.url, "events": ["job.failed"]}
    assert browser.submit(f"{page}add/", made).status_code == 302
    assert "whsec_" in browser.get(page).text, "shown this once"
    assert "whsec_" not in browser.get(page).text
    register(tenant.user("admin"), receiver.url)
    rows = WebhookEndpoint.objects.filter(organization=tenant.organization)
    for _ in range(2):  # the second changes nothing
        row = rows.get(events=["job.failed"])
        fields = {"url": row.url, "description": "Mine", "events": ["job.failed"], "active": "on"}
        assert browser.submit(f"{page}{row.pk}/change/", fields).status_code == 302
    both = {"action": "delete_selected", "_selected_action": [str(row.pk) for row in rows], "post": "yes"}
    assert browser.submit(page, both).status_code == 302
    assert not rows.all().exists()
    trail = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="webhook.")
    actions = [entry.action.partition(".")[2] for entry in trail.order_by("created_at")]
    assert actions == ["created", "created", "updated", "deleted", "deleted"]


def test_rotation_signs_with_both_secrets_for_a_day(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url)
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
    made = register(admin, receiver.url, "job.failed", active=False)
    answer = admin.post(f"/webhooks/{made['id']}/test").json()
    assert (answer["event"], answer["status"], answer["response_excerpt"]) == ("webhook.test", "delivered", "pong")
    assert receiver.received[0].json["type"] == "webhook.test"
    assert receiver.received[0].signed_with(made["secret"]) == [True]
    failed = admin.post(f"/webhooks/{made['id']}/test").json()
    assert (failed["status"], failed["attempts"], failed["next_attempt_at"]) == ("failed", 1, None)
    assert WebhookEndpoint.objects.get(id=made["id"]).consecutive_failures == 0


def test_redelivery_repeats_the_event_under_its_id(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url)
    publish(tenant, n=1)
    first = ended(made["id"])[0]
    answer = admin.post(f"/webhooks/{made['id']}/deliveries/{first.id}/redeliver")
    assert answer.status_code == 202
    assert answer.json()["id"] != str(first.id)
    ended(made["id"], 2)
    one, two = receiver.received
    assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])


def test_deliveries_are_listed_and_filtered(tenant: Tenant, receiver: Receiver) -> None:
    receiver.answers = [status(200), status(500)]
    admin = tenant.user("admin")
    made = register(admin, receiver.url)
    with override_settings(WEBHOOK_RETRY_SECONDS=()):
        publish(tenant, n=1)
        ended(made["id"], 1)
        publish(tenant, n=2)
        ended(made["id"], 2)
    page = admin.get(f"/webhooks/{made['id']}/deliveries").json()
    assert [row["status"] for row in page["results"]] == ["failed", "delivered"]
    assert "payload" not in page["results"][0]
    only = admin.get(f"/webhooks/{made['id']}/deliveries?status=failed&page_size=1").json()
    assert (only["count"], only["results"][0]["log"][0]["status"]) == (1, 500)
    error_of(admin.get(f"/webhooks/{made['id']}/deliveries?status=lost"), 400)


def test_a_delivery_belongs_to_its_webhook(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    first, second = register(admin, receiver.url, "voice.ready"), register(admin, receiver.url, "job.failed")
    publish(tenant)
    row = ended(first["id"])[0]
    error_of(admin.get(f"/webhooks/{second['id']}/deliveries/{row.id}"), 404)
    error_of(admin.post(f"/webhooks/{second['id']}/deliveries/{row.id}/redeliver"), 404)


def test_changes_and_deletion(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url)
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
            register(admin, receiver.url)
        error_of(admin.post("/webhooks", json={"url": receiver.url}), 409, "too_many_webhooks")


def test_old_deliveries_are_purged(tenant: Tenant, receiver: Receiver) -> None:
    made = register(tenant.user("admin"), receiver.url)
    publish(tenant, n=1)
    publish(tenant, n=2)
    old, new = ended(made["id"], 2)
    WebhookDelivery.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=31))
    assert delivering.purge() == 1
    assert [row.id for row in WebhookDelivery.objects.filter(endpoint_id=made["id"])] == [new.id]


def test_every_webhook_action_is_audited_without_secrets(tenant: Tenant, receiver: Receiver) -> None:
    admin = tenant.user("admin")
    made = register(admin, receiver.url + "/path-token?token=abc", "voice.ready")
    url = f"/webhooks/{made['id']}"
    admin.patch(url, json={"description": "x"})
    rotated = admin.post(f"{url}/rotate-secret").json()
    admin.post(f"{url}/test")
    publish(tenant)
    row = next(row for row in ended(made["id"], 2) if row.event == "voice.ready")
    admin.post(f"{url}/deliveries/{row.id}/redeliver")
    ended(made["id"], 3)
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
