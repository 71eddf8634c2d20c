"""Getting in: the second factor, forgotten passwords, invitations; without JavaScript, as these pages have none."""

from __future__ import annotations

import time
import uuid

import pyotp
import pytest

from accounts import invitations, passwords, two_factor
from accounts.models import Membership, TwoFactor, User
from tests.api.mail import link_in, mails_to, wait_for_mail
from tests.browser import Browser, operator, signed_in, text_of
from tests.conftest import PASSWORD, Tenant
from tests.dashboard.kit import Chromium, assert_accessible, check, screenshot

NEW_PASSWORD = "quite a long pass-phrase"


def path_of(link: str) -> str:
    return "/" + link.split("/", 3)[3]


def with_second_factor(user: User) -> tuple[pyotp.TOTP, list[str]]:
    """Turned on some time ago: the code of now is still good."""
    if time.time() % 30 > 22:  # a code must not end while the test uses it
        time.sleep(30 - time.time() % 30)
    totp = pyotp.TOTP(two_factor.secret_of(two_factor.begin(user=user)))
    codes = two_factor.confirm(user=user, otp=totp.now())
    TwoFactor.objects.filter(user=user).update(last_step=0)
    return totp, codes


def test_second_factor(tenant: Tenant) -> None:
    user = tenant.member("admin").user
    totp, codes = with_second_factor(user)
    browser = Browser(tenant.server)
    assert browser.get("/dashboard/login/code").headers["location"] == "/dashboard/login"
    answer = browser.sign_in(user.email, next="/dashboard/account")
    assert answer.headers["location"] == "/dashboard/login/code"
    assert browser.get("/dashboard").status_code == 302  # the password alone opens nothing

    wrong = browser.submit("/dashboard/login/code", {"otp": "000000"})
    assert (wrong.status_code, "The code is wrong" in text_of(wrong)) == (400, True)
    passed = browser.submit("/dashboard/login/code", {"otp": totp.now()})
    assert passed.headers["location"] == "/dashboard/account"
    assert browser.get("/dashboard").status_code == 200

    again = Browser(tenant.server)
    again.sign_in(user.email)
    assert again.submit("/dashboard/login/code", {"otp": totp.now()}).status_code == 400  # used
    assert again.submit("/dashboard/login/code", {"otp": codes[0]}).status_code == 302


def test_waiting_for_the_code_ends_with_the_password(tenant: Tenant) -> None:
    user = tenant.member("admin").user
    totp, _ = with_second_factor(user)
    browser = Browser(tenant.server)
    browser.sign_in(user.email)
    form = browser.get("/dashboard/login/code")
    user.set_password(NEW_PASSWORD)
    user.save()
    token = form.text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]
    answer = browser.post("/dashboard/login/code", data={"csrfmiddlewaretoken": token, "otp": totp.now()})
    assert answer.headers["location"] == "/dashboard/login"
    assert browser.get("/dashboard").status_code == 302


def test_administration_does_not_lead_around_the_second_factor(tenant: Tenant) -> None:
    user = tenant.member("owner").user
    with_second_factor(user)
    browser = Browser(tenant.server)
    answer = browser.submit("/admin/login/", {"username": user.email, "password": PASSWORD})
    assert "sign in at the dashboard" in text_of(answer)
    assert browser.get("/admin/").status_code == 302


def test_forgotten_password(tenant: Tenant) -> None:
    user = tenant.member("viewer").user
    before = signed_in(tenant, "viewer")
    browser = Browser(tenant.server)
    assert "/dashboard/password/forgot" in browser.get("/dashboard/login").text
    unknown = browser.submit("/dashboard/password/forgot", {"email": f"{uuid.uuid4().hex}@example.com"})
    known = browser.submit("/dashboard/password/forgot", {"email": user.email})
    assert unknown.status_code == known.status_code == 200
    assert "Look into your mail" in text_of(unknown)

    page = path_of(link_in(wait_for_mail(user.email)))
    weak = browser.submit(page, {"new_password": "password123"})
    assert (weak.status_code, "too common" in text_of(weak)) == (400, True)
    assert browser.submit(page, {"new_password": NEW_PASSWORD}).headers["location"] == "/dashboard/login"
    assert "The password is set" in text_of(browser.get("/dashboard/login"))
    used = browser.get(page)
    assert (used.status_code, "no longer valid" in text_of(used)) == (404, True)
    assert 'href="/dashboard/password/forgot"' in used.text
    assert before.get("/dashboard").status_code == 302
    assert browser.sign_in(user.email, NEW_PASSWORD).status_code == 302


def test_throttles_links(tenant: Tenant) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    answers = [Browser(tenant.server).submit("/dashboard/password/forgot", {"email": email}) for _ in range(11)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused  # at the latest the sixth of one hour
    assert "Too many links" in text_of(refused[0])
    assert int(refused[0].headers["retry-after"]) > 0
    assert not mails_to(email)


def invited(tenant: Tenant, email: str, role: str = "developer") -> str:
    row = invitations.invite(actor=tenant.actor(), email=email, role=role, base_url=tenant.server)
    return path_of(invitations.link_of(row, tenant.server))


def test_invitation_makes_an_account(tenant: Tenant) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    page = invited(tenant, email)
    browser = Browser(tenant.server)
    assert f"Join {tenant.organization.name}" in text_of(browser.get(page))
    assert browser.submit(page, {"name": "", "password": NEW_PASSWORD}).status_code == 400
    joined = browser.submit(page, {"name": "Nina", "password": NEW_PASSWORD})
    assert joined.headers["location"] == "/dashboard"
    home = browser.get("/dashboard")
    assert "Developer" in text_of(home)
    assert "You are a member of" in home.text
    assert browser.get(page).status_code == 404
    assert Membership.objects.get(user__email=email).role == "developer"


def test_invitation_of_somebody_with_an_account(tenant: Tenant, other_tenant: Tenant) -> None:
    user = other_tenant.member("viewer").user
    page = invited(tenant, user.email, "admin")
    browser = Browser(tenant.server)
    assert "has an account already" in text_of(browser.get(page))
    assert browser.sign_in(user.email, next=page).headers["location"] == page
    assert browser.submit(page, {}).headers["location"] == "/dashboard"
    assert "Admin of" in text_of(browser.get("/dashboard"))  # in the organisation that was joined


def test_invitation_is_for_nobody_else(tenant: Tenant) -> None:
    page = invited(tenant, f"{uuid.uuid4().hex}@example.com", "owner")
    browser = signed_in(tenant, "viewer")
    assert "The invitation is for" in text_of(browser.get(page))
    token = browser.get(page).text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]
    assert browser.post(page, data={"csrfmiddlewaretoken": token}).status_code == 403
    assert tenant.member("viewer").role == "viewer"


def test_operator_turns_a_lost_second_factor_off(tenant: Tenant) -> None:
    user = tenant.member("viewer").user
    with_second_factor(user)
    browser = operator(tenant)
    data = {"action": "turn_two_factor_off", "_selected_action": str(user.pk)}
    assert browser.submit("/admin/accounts/user/", data).status_code == 302
    assert two_factor.state_of(user) is None


@pytest.mark.parametrize("name", ["login", "code", "forgot", "reset", "invitation", "invalid"])
def test_entry_pages_look_right(tenant: Tenant, chromium: Chromium, name: str) -> None:
    page = chromium.page()
    token = passwords.reset_token(tenant.member("viewer").user)
    paths = {
        "login": "/dashboard/login", "forgot": "/dashboard/password/forgot", "invalid": "/dashboard/invitation/x",
        "reset": f"/dashboard/password/reset/{token}",
    }  # fmt: skip
    if name == "code":
        user = tenant.member("admin").user
        with_second_factor(user)
        page.goto("/dashboard/login")
        page.get_by_label("E-mail address").fill(user.email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/login/code")
    else:
        page.goto(paths.get(name) or invited(tenant, f"{uuid.uuid4().hex}@example.com"))
    check(page, f"entry-{name}")
    if name == "forgot":
        page.get_by_label("E-mail address").fill(f"{uuid.uuid4().hex}@example.com")
        page.get_by_role("button").click()
        page.get_by_text("Look into your mail").wait_for()
        screenshot(page, "entry-forgot-sent")
        assert_accessible(page, "forgot-sent")
