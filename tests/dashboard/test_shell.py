"""The frame around every page, and the components, in a real browser."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from dashboard import urls
from dashboard.nav import registered
from tests.conftest import ROOT, Tenant
from tests.dashboard.kit import (
    MOST_BYTES,
    SCHEMES,
    Chromium,
    assert_accessible,
    assert_light,
    check,
    get_page,
    screenshot,
    settled,
    toast,
    used_icons,
)
from tests.dashboard.looked_at import LOOKED_AT, NO_PAGE


@pytest.fixture
def debug(settings: object) -> None:
    settings.DEBUG = True  # type: ignore[attr-defined]


def test_components(tenant: Tenant, chromium: Chromium, debug: None) -> None:
    page = chromium.sign_in(tenant)
    page.goto("/design")
    check(page, "design")

    page.get_by_role("button", name="Toast from the server").click()
    assert toast(page) == "The job was cancelled."
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".field-error").first).to_have_text("This field is required. ")
    assert page.locator("#id_name").get_attribute("aria-invalid") == "true"
    check(page, "design-errors")

    page.get_by_role("button", name="Open a dialog").click()
    expect(page.locator("#dialog-name")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Ask first").click()
    expect(page.locator("#confirm [data-confirm-text]")).to_have_text("Really do it? It cannot be undone.")
    page.locator("#confirm").get_by_role("button", name="Cancel").click()
    page.get_by_role("tab", name="curl").click()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tabpanel")).to_contain_text("import requests")
    page.get_by_role("tabpanel").get_by_role("button", name="Copy").click()
    assert "import requests" in page.evaluate("navigator.clipboard.readText()")

    page.get_by_label("Search", exact=True).fill("anna")
    page.wait_for_url("**/design?q=anna")
    settled(page)
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url("**/design")


def test_design_is_for_debugging(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant)
    answer = page.goto("/design")
    assert answer
    assert answer.status == 404
    check(page, "design-not-here")


def test_administration_is_accessible(tenant: Tenant, chromium: Chromium) -> None:
    tenant.key("tts").post("/tts/synthesize", json={"text": "Good morning."})
    page = chromium.sign_in(tenant, "owner")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for path in ("", "tts/ttsjob/", "accounts/membership/add/"):
            page.goto(f"/admin/{path}")  # anew: Django fades from one colour to the other
            assert_accessible(page, f"/admin/{path} {scheme}")
            assert_light(page, MOST_BYTES if "add" not in path else 230_000)  # a form has Django's jQuery


def test_commands_open_their_dialogs(tenant: Tenant) -> None:
    asked = [command for command in registered()[1] if command.query in ("?new=1", "?invite=1")]
    assert len(asked) >= 5
    for command in asked:
        url = reverse(command.view)
        assert "data-open" in get_page(tenant, url + command.query), command.view
        assert "data-open" not in get_page(tenant, url), command.view


def test_palette_and_shortcuts(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant)
    page.goto("/dashboard")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("option").first).to_be_visible()
    assert_accessible(page, "palette")
    screenshot(page, "palette")
    page.get_by_role("combobox").fill("hom")
    expect(page.get_by_role("option")).to_have_count(1)
    with page.expect_navigation(url="**/dashboard"):
        page.keyboard.press("Enter")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    assert_accessible(page, "shortcuts")
    screenshot(page, "shortcuts")
    page.get_by_label("Shortcuts of single keys").uncheck()
    page.keyboard.press("Escape")
    page.locator("main").focus()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_hidden()


def test_colours_are_chosen_and_stay(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant)
    page.goto("/dashboard")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_text("Account", exact=True).locator("..").click()
    page.get_by_role("button", name="Dark").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_drawer_on_a_phone(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, width=390)
    page.goto("/dashboard")
    drawer = page.locator("#sidebar")
    expect(drawer).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    expect(drawer.get_by_role("link", name="Home")).to_be_visible()
    page.get_by_text("Account", exact=True).locator("..").click()
    assert_accessible(page, "drawer")
    screenshot(page, "drawer")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()


def test_times_are_the_readers(tenant: Tenant, chromium: Chromium, debug: None) -> None:
    page = chromium.sign_in(tenant, timezone_id="Asia/Tokyo", locale="en-GB")
    page.goto("/design")
    time = page.locator("time[data-time=ago]").first
    expect(time).to_have_text("yesterday")
    assert re.search(r"GMT\+9|Japan", time.get_attribute("title") or "")


def test_every_icon_is_in_the_sprite() -> None:
    sprite = (ROOT / "static/vendor/lucide/sprite.svg").read_text()
    present = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    assert used_icons()
    assert used_icons() <= present, "add them to scripts/icons.txt and run make vendor"
    assert present == set((ROOT / "scripts/icons.txt").read_text().split())


def test_every_page_is_looked_at() -> None:
    """An address without a check of its page (axe, both widths and colours, weight) is not finished."""
    pages = {pattern.name for pattern in urls.urlpatterns if pattern.name and "get" in dir(pattern.callback.view_class)}
    assert pages - LOOKED_AT.keys() == NO_PAGE.keys(), "check the page, and list it in tests/dashboard/looked_at.py"
    assert LOOKED_AT.keys() <= {pattern.name for pattern in urls.urlpatterns}
    tests = "".join(path.read_text() for path in (ROOT / "tests/dashboard").glob("test_*.py"))
    for beginning in LOOKED_AT.values():
        assert re.search(rf'check\(\s*\w+, f?"{beginning}', tests), f"no check begins with {beginning!r}"


def test_shortcuts_are_one_pages_each() -> None:
    shortcuts = [item.shortcut for item in registered()[0] if item.shortcut]
    assert len(shortcuts) == len(set(shortcuts)), sorted(shortcuts)
