"""/dashboard/account: profile, password, second factor, sign-ins."""

from __future__ import annotations

import re

import pyotp
import pytest
from playwright.sync_api import expect

from accounts import two_factor
from tests.browser import signed_in, text_of
from tests.conftest import PASSWORD, Tenant
from tests.dashboard.kit import Chromium, check, get_page, toast
from tests.dashboard.test_entry import NEW_PASSWORD

PAGES = ["", "/security", "/two-factor", "/sessions"]


@pytest.mark.parametrize("path", PAGES)
def test_pages(tenant: Tenant, chromium: Chromium, path: str) -> None:
    get_page(tenant, f"/dashboard/account{path}", "viewer")
    page = chromium.sign_in(tenant, "viewer")
    page.goto(f"/dashboard/account{path}")
    expect(page.locator("nav.tabs [aria-current]")).to_have_count(1)
    check(page, f"account{path.replace('/', '-')}")


def test_two_factor_from_start_to_end(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    user = tenant.member("developer").user
    page.goto("/dashboard/account/security")
    page.get_by_role("link", name="Set up").click()
    secret = page.locator(".copyable code").inner_text()
    page.get_by_label("Code", exact=True).fill("000000")
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".field-error")).to_contain_text("The code is wrong")
    assert page.locator(".copyable code").inner_text() == secret  # a mistyped code costs no new scan
    page.get_by_label("Code", exact=True).fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Turn on").click()
    codes = page.locator(".snippet pre").inner_text().split()
    assert len(codes) == two_factor.RECOVERY_CODES
    check(page, "account-recovery-codes")
    page.get_by_role("link", name="I have kept them").click()
    check(page, "account-security-on")

    page.get_by_role("button", name="Turn off").click()
    page.locator("#off").get_by_label("Your password").fill("wrong")
    page.locator("#off").get_by_role("button", name="Turn off").click()
    assert toast(page) == "The password is wrong."
    assert two_factor.state_of(user)
    page.get_by_role("button", name="Turn off").click()
    page.locator("#off").get_by_label("Your password").fill(PASSWORD)
    page.locator("#off").get_by_role("button", name="Turn off").click()
    assert toast(page) == "Two-factor authentication is off."
    assert two_factor.state_of(user) is None


def test_new_password_keeps_this_browser_alone(tenant: Tenant) -> None:
    here, there = signed_in(tenant, "viewer"), signed_in(tenant, "viewer")
    page = "/dashboard/account/security"
    wrong = here.submit(page, {"current_password": "wrong", "new_password": NEW_PASSWORD})
    assert (wrong.status_code, "The password is wrong." in text_of(wrong)) == (400, True)
    weak = here.submit(page, {"current_password": PASSWORD, "new_password": "short"})
    assert (weak.status_code, "too short" in text_of(weak)) == (400, True)
    done = here.submit(page, {"current_password": PASSWORD, "new_password": NEW_PASSWORD})
    assert done.status_code == 302
    assert here.get(page).status_code == 200
    assert there.get(page).status_code == 302
    assert text_of(here.get("/dashboard/account/sessions")).count("This browser") == 1


def test_signs_out_elsewhere(tenant: Tenant) -> None:
    here, there = signed_in(tenant, "viewer"), signed_in(tenant, "viewer")
    api = tenant.user("viewer")
    listing = here.get("/dashboard/account/sessions")
    ends = re.findall(r'action="(/dashboard/account/sessions/[^"]+/end)"', listing.text)
    assert len(ends) == 2
    for end in ends:
        assert here.submit("/dashboard/account/sessions", {}, to=end).status_code == 302
    assert there.get("/dashboard").status_code == 302
    assert api.get("/auth/me").status_code == 401
    third = signed_in(tenant, "viewer")
    here.submit("/dashboard/account/sessions", {}, to="/dashboard/account/sessions/end")
    assert third.get("/dashboard").status_code == 302
    assert here.get("/dashboard").status_code == 200


def test_name(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    browser.submit("/dashboard/account", {"name": "Grace <b>Hopper</b>"})
    page = browser.get("/dashboard/account").text
    assert "Grace &lt;b&gt;Hopper" in page
    assert "<b>Hopper" not in page
