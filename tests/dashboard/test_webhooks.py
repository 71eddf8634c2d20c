"""/dashboard/webhooks: registered, tested, turned off, deleted; their deliveries."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.api.support import refused_delivery
from tests.browser import signed_in, text_of
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, toast
from tests.webhook_receiver import running, status
from webhooks.models import WebhookDelivery, WebhookEndpoint


@pytest.fixture
def loopback(settings: Any) -> None:
    """The receiver of the test stands on this machine."""
    import ipaddress

    settings.WEBHOOK_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.mark.usefixtures("loopback")
def test_a_webhook_from_its_making_to_its_end(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/webhooks")
    check(page, "webhooks-empty")
    page.get_by_role("button", name="Add a webhook").first.click()
    dialog = page.locator("#new-webhook")
    dialog.get_by_label("Address").fill("https://10.1.2.3/hook")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.locator(".field-error, .notice-bad")).to_be_visible()
    check(page, "webhooks-refused")

    with running() as receiver:
        dialog.get_by_label("Address").fill(receiver.url)
        dialog.get_by_role("button", name="Add").click()
        secret = page.locator("#made .secret code").inner_text()
        page.locator("#made").get_by_role("link", name="I have copied it").click()
        page.get_by_role("button", name="Send a test").click()
        assert toast(page) == "It arrived: the answer was 200."
        assert receiver.wait()[0].signed_with(secret) == [True]
        receiver.answers = [status(500, b"broken")]
        page.get_by_role("button", name="Send a test").click()
        assert "It did not arrive" in toast(page)
        check(page, "webhook")
        page.get_by_role("link", name="webhook.test").first.click()
        expect(page.locator("pre").first).to_contain_text('"message": "This is a test."')
        check(page, "webhook-delivery")
    page.go_back()

    page.get_by_role("button", name="Turn off").click()
    assert "The webhook is off" in toast(page)
    row = WebhookEndpoint.objects.get(organization=tenant.organization)
    assert not row.active
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Turn off")).to_be_visible()

    page.locator(".pagehead summary").click()
    page.get_by_role("button", name="Rotate the secret").click()
    page.locator("#confirm").get_by_role("button", name="Rotate").click()
    assert page.locator(".secret code").inner_text() != secret
    check(page, "webhook-rotated")
    page.get_by_role("link", name="I have copied it").click()
    page.locator(".pagehead summary").click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    assert "is deleted" in toast(page)
    assert not WebhookEndpoint.objects.filter(organization=tenant.organization).exists()


def test_changes_and_sends_again(tenant: Tenant) -> None:
    delivery = refused_delivery(tenant)
    browser = signed_in(tenant, "admin")
    page = f"/dashboard/webhooks/{delivery.endpoint_id}"
    assert "voice.failed" in text_of(browser.get(page))
    assert "No deliveries" in text_of(browser.get(f"{page}?status=delivered"))
    fields = {"url": delivery.endpoint.url, "description": "Ours", "events": ["job.failed"]}
    assert browser.submit(page, fields).status_code == 302
    endpoint = WebhookEndpoint.objects.get(id=delivery.endpoint_id)
    assert (endpoint.description, endpoint.events) == ("Ours", ["job.failed"])
    assert browser.submit(page, {}, to=f"{page}/deliveries/{delivery.id}/again").status_code == 302
    assert WebhookDelivery.objects.filter(endpoint=endpoint).count() == 2


def test_is_for_admins_of_the_organisation(tenant: Tenant, other_tenant: Tenant) -> None:
    delivery = refused_delivery(other_tenant)
    base = f"/dashboard/webhooks/{delivery.endpoint_id}"
    paths = [base, f"{base}/deliveries/{delivery.id}"]
    actions = [f"{base}/{name}" for name in ("test", "rotate", "switch", "delete", f"deliveries/{delivery.id}/again")]
    for browser, expected in ((signed_in(tenant, "owner"), 404), (signed_in(other_tenant, "developer"), 403)):
        assert {browser.get(path).status_code for path in paths} == {expected}
        assert {browser.submit("/dashboard", {}, to=path).status_code for path in actions} == {expected}
    endpoint = WebhookEndpoint.objects.get(id=delivery.endpoint_id)
    assert (endpoint.active, endpoint.previous_salt, endpoint.deliveries.count()) == (True, "", 1)


def test_costs_few_queries(tenant: Tenant) -> None:
    delivery = refused_delivery(tenant)
    for _ in range(60):
        WebhookDelivery.objects.create(
            organization=tenant.organization, endpoint=delivery.endpoint, event_id="evt_x", event="voice.failed",
            payload={}, status="failed",
        )  # fmt: skip
    assert "1–50" in get_page(tenant, f"/dashboard/webhooks/{delivery.endpoint_id}", "admin")
    get_page(tenant, "/dashboard/webhooks", "admin")
