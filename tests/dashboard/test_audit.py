"""/dashboard/audit: who did what."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from accounts import services
from audit.words import ACTIONS, facts
from dashboard.pages.audit import KINDS
from tests.browser import signed_in, text_of
from tests.conftest import ROOT, Tenant
from tests.dashboard.kit import Chromium, check, get_page, settled


def test_shows_and_filters(tenant: Tenant, other_tenant: Tenant, chromium: Chromium) -> None:
    row, _ = tenant.new_key("tts")
    services.revoke_api_key(actor=tenant.actor("admin"), api_key=row)
    other_tenant.new_key("stt")
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/audit")
    check(page, "audit")
    expect(page.get_by_role("row").filter(has_text="Revoked an API key")).to_contain_text(str(row))
    assert page.get_by_role("row").filter(has_text="Made an API key").count() == 1
    page.get_by_label("What").select_option("api_key")
    page.wait_for_url("**/audit?action=api_key")
    settled(page)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.get_by_role("searchbox").fill(tenant.member("admin").user.email)
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.get_by_label("To").fill("2020-01-01")
    expect(page.locator("#rows")).to_contain_text("No entries")


def test_ignores_filters_that_make_no_sense(tenant: Tenant) -> None:
    tenant.new_key()
    page = get_page(tenant, "/dashboard/audit?action=nonsense&since=never&page=-3&by=%00", "admin")
    assert "Made an API key" in page or "No entries" in page


@pytest.mark.parametrize("role", ["viewer", "developer"])
def test_is_for_admins(tenant: Tenant, role: str) -> None:
    assert signed_in(tenant, role).get("/dashboard/audit").status_code == 403


def test_escapes_what_people_wrote(tenant: Tenant) -> None:
    services.create_api_key(actor=tenant.actor(), name="<script>alert(1)</script>", scopes=["tts"])
    page = signed_in(tenant, "owner").get("/dashboard/audit")
    assert "<script>alert" not in page.text
    assert "<script>alert(1)</script>" in text_of(page)


def test_has_words_for_every_action() -> None:
    folders = ("accounts", "analytics", "models_registry", "platform", "stt", "tts")
    code = "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    recorded = set(re.findall(r'action(?:: str)? ?= ?"([a-z_]+\.[a-z_]+)"', code))
    recorded |= set(re.findall(r'_save\(.*"([a-z_]+\.[a-z_]+)"\)', code))
    assert {"auth.login", "model.activated", "tts_lexicon.created", "voice.ready"} <= recorded
    assert recorded <= set(ACTIONS), sorted(recorded - set(ACTIONS))
    assert {action.partition(".")[0] for action in recorded} <= {kind for kind, _ in KINDS}


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"former": "viewer", "role": "developer"}, ["Viewer → Developer"]),
        ({"role": "admin", "through": "sso"}, ["Through single sign-on", "Role: Admin"]),
        ({"scopes": ["tts", "stt"]}, ["Scopes: Text to speech, Speech to text"]),
        ({"changed": ["rate_limit", "name"]}, ["Changed: requests a minute, name"]),
        ({"changes": {"idle_minutes": 30}}, ["Minutes until signed out: 30"]),
        ({"changes": {"sso_only": False, "networks": []}}, ["Only from: none", "Single sign-on only: no"]),
        ({"made_at": "2026-12-24T01:02:03+00:00", "error": ""}, ["Made: 2026-12-24 01:02 UTC"]),
        ({"entries": 1}, ["1 entry"]),
        ({"former": "sp_abc…wxyz"}, ["Former: sp_abc…wxyz"]),
    ],
)  # fmt: skip
def test_says_details_in_words(details: dict[str, Any], said: list[str]) -> None:
    assert facts(details) == said
