"""/dashboard/members: roles, removal, invitations."""

from __future__ import annotations

import uuid

import pytest
from playwright.sync_api import Page, expect

from accounts.models import Invitation, Membership, ServiceAccount
from tests.api.mail import link_in, wait_for_mail
from tests.browser import signed_in, text_of
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, settled, toast


def choose(page: Page, person: str, action: str) -> None:
    row = page.get_by_role("row").filter(has_text=person)
    row.locator("summary").click()
    row.get_by_role("button", name=action).click()


def test_roles_are_changed_and_taken_back(tenant: Tenant, chromium: Chromium) -> None:
    member = tenant.member("viewer")
    ServiceAccount.objects.create(
        organization=tenant.organization, name="nightly-import", description="Transcribes what the day recorded."
    )
    page = chromium.sign_in(tenant, "owner")
    page.goto("/dashboard/members")
    check(page, "members")
    choose(page, member.user.email, "Developer")
    assert toast(page) == "Viewer is Developer now."
    member.refresh_from_db()
    assert member.role == "developer"
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast-text")).to_have_text("Undone.")
    member.refresh_from_db()
    assert member.role == "viewer"

    choose(page, member.user.email, "Remove")
    assert "no longer a member" in toast(page)
    assert not Membership.objects.filter(id=member.id).exists()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("row").filter(has_text=member.user.email)).to_be_visible()
    assert Membership.objects.get(organization=tenant.organization, user=member.user).role == "viewer"


def test_invites_by_e_mail(tenant: Tenant, chromium: Chromium) -> None:
    email = f"{uuid.uuid4().hex[:10]}@example.com"
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/members?invite=1")
    dialog = page.locator("#invite")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("radio")).to_have_count(2)  # an admin gives roles below the own
    check(page, "members-invite")
    dialog.get_by_label("E-mail address").fill(tenant.member("viewer").user.email)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.locator(".field-error")).to_contain_text("member already")
    dialog.get_by_label("E-mail address").fill(email)
    dialog.get_by_role("button", name="Send").click()
    assert page.locator(".notice code").inner_text() == link_in(wait_for_mail(email))
    check(page, "members-invited")
    choose(page, email, "Withdraw")
    assert "withdrawn" in toast(page)
    assert not Invitation.objects.filter(email=email).exists()


def test_filters(tenant: Tenant, chromium: Chromium) -> None:
    for role in ("owner", "admin", "developer", "viewer"):
        tenant.member(role)
    page = chromium.sign_in(tenant, "owner")
    page.goto("/dashboard/members")
    page.get_by_role("searchbox").fill("develop")
    page.wait_for_url("**/members?q=develop")
    settled(page)
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.get_by_role("searchbox").fill("nobody of that name")
    expect(page.locator("#rows")).to_contain_text("Nobody fits the filters")


@pytest.mark.parametrize("role", ["viewer", "developer"])
def test_is_for_admins(tenant: Tenant, role: str) -> None:
    browser = signed_in(tenant, role)
    assert browser.get("/dashboard/members").status_code == 403
    home = browser.get("/dashboard")
    assert "/dashboard/members" not in home.text
    victim = tenant.member("owner")
    answer = browser.submit("/dashboard", {}, to=f"/dashboard/members/{victim.id}/remove")
    assert answer.status_code == 403
    assert Membership.objects.filter(id=victim.id).exists()


def test_another_organisations_member_does_not_exist(tenant: Tenant, other_tenant: Tenant) -> None:
    theirs = other_tenant.member("viewer")
    browser = signed_in(tenant, "owner")
    for action in ("role", "remove"):
        answer = browser.submit("/dashboard", {"role": "owner"}, to=f"/dashboard/members/{theirs.id}/{action}")
        assert answer.status_code == 404
    theirs.refresh_from_db()
    assert theirs.role == "viewer"


def test_the_last_owner_stays(tenant: Tenant) -> None:
    owner = tenant.member("owner")
    browser = signed_in(tenant, "owner")
    headers = {"Referer": f"{tenant.server}/dashboard/members"}
    token = browser.get("/dashboard/members").text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]
    data = {"csrfmiddlewaretoken": token, "role": "viewer"}
    answer = browser.post(f"/dashboard/members/{owner.id}/role", data=data, headers=headers)
    assert answer.headers["location"] == "/dashboard/members"
    assert "needs an owner" in browser.get("/dashboard/members").text
    owner.refresh_from_db()
    assert owner.role == "owner"


def test_undo_needs_our_signature(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    answer = browser.submit("/dashboard/members", {}, to="/dashboard/members/undo/e30:1abc:forged")
    assert answer.status_code == 400
    assert "too late" in text_of(answer)


def test_costs_few_queries(tenant: Tenant) -> None:
    for number in range(60):
        Invitation.objects.create(
            organization=tenant.organization, email=f"{number}@example.com", role="viewer", salt="x",
            expires_at="2040-01-01T00:00Z", invited_by=tenant.member("owner").user,
        )  # fmt: skip
    assert get_page(tenant, "/dashboard/members", "admin").count("Send a new link") == 60
