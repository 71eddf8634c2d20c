"""/dashboard/api-keys: made, used, rotated, revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import ApiKey
from tests.browser import signed_in
from tests.conftest import Client, Tenant, error_of
from tests.dashboard.kit import Chromium, check, get_page, settled, toast


def test_a_key_from_its_making_to_its_end(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/api-keys")
    check(page, "api-keys-empty")
    page.get_by_role("button", name="New key").first.click()
    dialog = page.locator("#new-key")
    check(page, "api-keys-new")
    dialog.get_by_label("Name").fill("Call centre")
    dialog.get_by_label("Speech to text").uncheck()
    dialog.get_by_role("button", name="Make the key").click()
    made = page.locator("#made")
    secret = made.locator(".secret code").inner_text()
    check(page, "api-keys-made")
    made.get_by_role("button", name="Copy Call centre").click()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    made.get_by_role("button", name="I have copied it").click()

    client = Client(tenant.server, {"x-api-key": secret})
    assert client.post("/tts/synthesize", json={"text": "Hi."}).status_code == 200
    error_of(client.get("/stt/jobs"), 403)
    row = ApiKey.objects.get(organization=tenant.organization)
    assert (row.scopes, row.created_by) == (["tts"], tenant.member("admin").user)
    assert row.expires_at
    assert abs(row.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)

    page.goto("/dashboard/api-keys")
    assert secret not in page.content()
    check(page, "api-keys")
    page.get_by_role("link", name="Call centre").click()
    check(page, "api-key")
    page.get_by_role("button", name="Rotate").click()
    page.locator("#confirm").get_by_role("button", name="Rotate").click()
    rotated = page.locator(".secret code").inner_text()
    check(page, "api-key-rotated")
    assert rotated != secret
    error_of(client.get("/tts/jobs"), 401)
    page.get_by_role("link", name="I have copied it").click()

    page.locator("tbody summary").click()
    page.get_by_role("button", name="Revoke").click()
    page.locator("#confirm").get_by_role("button", name="Revoke").click()
    assert "is revoked" in toast(page)
    error_of(Client(tenant.server, {"x-api-key": rotated}).get("/tts/jobs"), 401)
    page.get_by_label("Status", exact=True).select_option("revoked")
    settled(page)
    expect(page.locator("#rows .badge-bad")).to_have_text("Revoked")


def test_says_what_is_wrong_beside_the_field(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "owner")
    page.goto("/dashboard/api-keys?new=1")
    dialog = page.locator("#new-key")
    dialog.get_by_label("Name").fill("Nothing")
    for scope in ("Speech to text", "Text to speech"):
        dialog.get_by_label(scope).uncheck()
    dialog.get_by_role("button", name="Make the key").click()
    expect(dialog.locator(".field-error")).to_have_text("This field is required. ")
    check(page, "api-keys-wrong")
    assert not ApiKey.objects.filter(organization=tenant.organization).exists()


def test_changes(tenant: Tenant) -> None:
    row, _ = tenant.new_key("tts")
    browser = signed_in(tenant, "admin")
    page = f"/dashboard/api-keys/{row.id}"
    fields = {"name": "Renamed", "scopes": ["stt"], "rate_limit": "7"}
    past = browser.submit(page, {**fields, "expires_at": "2020-01-01T00:00"})
    assert past.status_code == 400
    assert "This is in the past" in past.text
    assert browser.submit(page, {**fields, "expires_at": "2040-01-01T10:00"}).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.scopes, row.rate_limit) == ("Renamed", ["stt"], 7)
    assert row.expires_at
    assert row.expires_at.isoformat() == "2040-01-01T10:00:00+00:00"


def test_expires_by_the_readers_clock(tenant: Tenant, chromium: Chromium) -> None:
    row, _ = tenant.new_key("tts")
    row.expires_at = datetime(2040, 1, 1, 10, 0, 37, tzinfo=UTC)
    row.save()
    page = chromium.sign_in(tenant, "admin", timezone_id="Asia/Tokyo")
    page.goto(f"/dashboard/api-keys/{row.id}")
    field = page.get_by_label("Expires")
    expect(field).to_have_value("2040-01-01T19:00")
    expect(page.get_by_text("Asia/Tokyo")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    toast(page)
    row.refresh_from_db()
    assert row.expires_at == datetime(2040, 1, 1, 10, 0, 37, tzinfo=UTC)  # as it was, with its seconds
    field.fill("2041-06-01T00:15")
    page.get_by_label("Requests a minute").fill("12")
    page.get_by_role("button", name="Save").click()
    expect(field).to_have_value("2041-06-01T00:15")
    row.refresh_from_db()
    assert (row.expires_at, row.rate_limit) == (datetime(2041, 5, 31, 15, 15, tzinfo=UTC), 12)
    field.fill("2020-01-01T00:00")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field-error")).to_contain_text("This is in the past")
    expect(field).to_have_value("2020-01-01T00:00")


@pytest.mark.parametrize("role", ["viewer", "developer"])
def test_is_for_admins(tenant: Tenant, role: str) -> None:
    row, _ = tenant.new_key()
    browser = signed_in(tenant, role)
    for path in ("/dashboard/api-keys", f"/dashboard/api-keys/{row.id}"):
        assert browser.get(path).status_code == 403
    assert browser.submit("/dashboard", {}, to=f"/dashboard/api-keys/{row.id}/revoke").status_code == 403
    row.refresh_from_db()
    assert row.usable


def test_another_organisations_key_does_not_exist(tenant: Tenant, other_tenant: Tenant) -> None:
    row, _ = other_tenant.new_key()
    browser = signed_in(tenant, "owner")
    assert browser.get(f"/dashboard/api-keys/{row.id}").status_code == 404
    for action in ("rotate", "revoke"):
        assert browser.submit("/dashboard", {}, to=f"/dashboard/api-keys/{row.id}/{action}").status_code == 404
    row.refresh_from_db()
    assert row.usable


def test_costs_few_queries(tenant: Tenant) -> None:
    for _ in range(60):
        tenant.new_key()
    page = get_page(tenant, "/dashboard/api-keys", "admin")
    assert "1–50" in page
    assert "51–60" in get_page(tenant, "/dashboard/api-keys?page=2", "admin")
