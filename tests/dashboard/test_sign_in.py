"""/dashboard/login, /dashboard/logout and who gets in."""

from __future__ import annotations

import time
import uuid

import httpx
import pytest

from tests.browser import Browser, operator, signed_in, text_of
from tests.conftest import PASSWORD, Client, Tenant, error_of


def test_signs_in_and_out(tenant: Tenant) -> None:
    browser = Browser(tenant.server)
    assert browser.get("/").headers["location"] == "/dashboard"
    assert browser.get("/dashboard").headers["location"] == "/dashboard/login?next=/dashboard"
    answer = browser.sign_in(tenant.member("viewer").user.email.upper())
    assert (answer.status_code, answer.headers["location"]) == (302, "/dashboard")
    assert "HttpOnly" in answer.headers["set-cookie"]
    page = browser.get("/dashboard")
    assert page.status_code == 200
    assert tenant.organization.name in page.text
    assert page.headers["cache-control"].startswith("max-age=0")

    assert browser.get("/dashboard/logout").status_code == 405
    answer = browser.submit("/dashboard", {}, to="/dashboard/logout")
    assert answer.headers["location"] == "/dashboard/login"
    assert browser.get("/dashboard").status_code == 302


def test_gives_a_new_session_key_at_sign_in(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    before = browser.cookies["sessionid"]
    browser.submit("/dashboard", {}, to="/dashboard/logout")
    browser.cookies.set("sessionid", before)
    assert browser.get("/dashboard").status_code == 302
    browser.sign_in(tenant.member("viewer").user.email)
    assert browser.cookies.get("sessionid", domain="127.0.0.1") != before


@pytest.mark.parametrize("password", ["wrong", " ", "correct horse battery "])
def test_refuses_a_wrong_password(tenant: Tenant, password: str) -> None:
    browser = Browser(tenant.server)
    answer = browser.sign_in(tenant.member("owner").user.email, password)
    assert answer.status_code == 400
    assert "The e-mail address or the password is wrong." in text_of(answer)
    assert f'value="{password}"' not in answer.text
    assert "sessionid" not in browser.cookies


def test_says_the_same_about_unknown_people(tenant: Tenant) -> None:
    answer = Browser(tenant.server).sign_in(f"{uuid.uuid4()}@example.com")
    assert answer.status_code == 400
    assert "The e-mail address or the password is wrong." in text_of(answer)


def test_throttles_failures_together_with_the_api(tenant: Tenant) -> None:
    email = tenant.member("owner").user.email
    refusal = fail_until_throttled(tenant, email)
    while int(refusal.headers["retry-after"]) < 10:  # the minute is nearly over: what follows needs a fresh one
        time.sleep(int(refusal.headers["retry-after"]) + 1)
        refusal = fail_until_throttled(tenant, email)
    assert int(refusal.headers["retry-after"]) <= 60
    assert "Too many failed log-ins" in text_of(refusal)
    assert Browser(tenant.server).sign_in(email).status_code == 429
    admin = Browser(tenant.server).submit("/admin/login/", {"username": email, "password": PASSWORD})
    assert (admin.status_code, "retry-after" in admin.headers) == (429, True)
    error_of(Client(tenant.server).post("/auth/login", json={"email": email, "password": PASSWORD}), 429)
    assert Browser(tenant.server).sign_in(tenant.member("viewer").user.email).status_code == 302


def fail_until_throttled(tenant: Tenant, email: str) -> httpx.Response:
    """Failures of a page and of the API count together; ten a minute are allowed, and a minute may end meanwhile."""
    for _ in range(11):
        answer = Browser(tenant.server).sign_in(email, "wrong")
        if answer.status_code == 429:
            return answer
        assert answer.status_code == 400
        Client(tenant.server).post("/auth/login", json={"email": email, "password": "wrong"})
    raise AssertionError("never throttled")


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/", "\\\\evil.example", "javascript:alert(1)", "http:///evil.example", ""],
)
def test_does_not_lead_away(tenant: Tenant, target: str) -> None:
    browser = Browser(tenant.server)
    answer = browser.sign_in(tenant.member("viewer").user.email, next=target)
    assert answer.headers["location"] == "/dashboard"
    assert browser.get("/dashboard/login", params={"next": target}).headers["location"] == "/dashboard"


def test_leads_back_to_where_one_came_from(tenant: Tenant) -> None:
    answer = Browser(tenant.server).sign_in(tenant.member("owner").user.email, next="/admin/tts/ttsjob/")
    assert answer.headers["location"] == "/admin/tts/ttsjob/"


def test_refuses_a_form_without_its_token(tenant: Tenant) -> None:
    answer = Browser(tenant.server).post("/dashboard/login", data={"email": "a@example.com", "password": "x"})
    assert answer.status_code == 403
    assert "The form has expired" in text_of(answer)


def test_ends_with_the_account_or_the_membership(tenant: Tenant) -> None:
    browser = signed_in(tenant, "developer")
    member = tenant.member("developer")
    member.delete()
    answer = browser.get("/dashboard")
    assert answer.status_code == 403
    assert "not a member of any organisation" in text_of(answer)
    member.user.is_active = False
    member.user.save()
    assert browser.get("/dashboard").status_code == 302


def test_leads_an_operator_without_organisation_to_the_administration(tenant: Tenant) -> None:
    assert operator(tenant).get("/dashboard").headers["location"] == "/admin/"


def test_errors_are_pages_for_people_and_json_for_programs(tenant: Tenant) -> None:
    browser = Browser(tenant.server)
    for path in ("/dashboard/unknown", "/admin/login/unknown", "/dashboard/jobs/tts/x/audio"):
        answer = browser.get(path)
        if answer.status_code == 302:  # the administration hides which addresses exist from strangers
            assert answer.headers["location"].startswith("/admin/login/")
            continue
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "Nothing here" in text_of(answer)
        assert answer.headers["x-request-id"] in answer.text
    error_of(browser.get("/api/v1/unknown"), 404, "not_found")
    error_of(browser.get("/dashboards"), 404, "not_found")


def test_carries_a_content_policy(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    for path in ("/dashboard", "/dashboard/login", "/dashboard/unknown", "/admin/", "/admin/accounts/apikey/add/"):
        policy = browser.get(path).headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
    for path in ("/dashboard", "/dashboard/unknown"):
        page = browser.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick=" not in page
        assert "<script>" not in page
    assert "content-security-policy" not in browser.get("/api/v1/docs").headers


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/dashboard", "text/html"),
        ("/admin/x/", "text/html"),
        ("/api/v1/x", "application/json"),
        ("/v1/x", "application/json"),
    ],
)
def test_faults_are_answered_in_the_callers_language(database: None, path: str, media_type: str) -> None:
    from django.core.exceptions import PermissionDenied, SuspiciousOperation
    from django.test import RequestFactory

    from common import pages

    request = RequestFactory().get(path)
    answers = {
        500: pages.server_error(request),
        403: pages.permission_denied(request, PermissionDenied()),
        400: pages.bad_request(request, SuspiciousOperation()),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["Content-Type"].startswith(media_type)
    assert pages.csrf_failure(request).headers["Content-Type"].startswith(media_type)
