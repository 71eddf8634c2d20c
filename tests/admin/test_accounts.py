"""/admin/accounts/…: keys, members, organisations and people are written through the services, within limits."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx

from accounts.models import ApiKey, LoginSession, Membership, Organization, User
from tests.browser import Browser, csrf_token, operator, signed_in, text_of
from tests.conftest import PASSWORD, Client, Tenant, error_of

KEY = re.compile(r"sp_[A-Za-z0-9]{8}_[A-Za-z0-9]{32}")
KEYS, MEMBERS, USERS = "/admin/accounts/apikey/", "/admin/accounts/membership/", "/admin/accounts/user/"


def act(browser: Browser, page: str, action: str, *rows: Any, **fields: str) -> httpx.Response:
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **fields}
    answer = browser.submit(page, data)
    assert answer.status_code in (200, 302)
    return browser.get(page)


def add_key(browser: Browser, organization: Organization, **fields: Any) -> httpx.Response:
    data = {"organization": str(organization.id), "name": "Made here", "scopes": ["tts"], **fields}
    return browser.submit(f"{KEYS}add/", data)


# ── API keys ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_shows_a_new_key_once(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    assert add_key(browser, tenant.organization, rate_limit="7").status_code == 302
    page = browser.get(KEYS)
    key = KEY.search(page.text)[0]
    row = ApiKey.objects.get(organization=tenant.organization)
    assert (row.scopes, row.rate_limit, row.created_by) == (["tts"], 7, tenant.member("owner").user)
    assert (row.prefix, row.last4) == (key[:11], key[-4:])
    assert not KEY.search(browser.get(KEYS).text)
    assert not KEY.search(browser.get(f"{KEYS}{row.pk}/change/").text)
    caller = Client(tenant.server, {"x-api-key": key})
    assert caller.get("/auth/me").json()["organization"]["slug"] == tenant.organization.slug


def test_revokes_and_rotates_keys(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    (first, first_key), (second, second_key) = tenant.new_key("tts"), tenant.new_key("stt")
    page = act(browser, KEYS, "revoke_keys", first)
    assert "is revoked" in text_of(page)
    first.refresh_from_db()
    assert not first.usable
    error_of(Client(tenant.server, {"x-api-key": first_key}).get("/auth/me"), 401, "api_key_invalid")
    assert browser.get(f"{KEYS}{first.pk}/change/").status_code == 200  # to look at
    assert 'name="name"' not in browser.get(f"{KEYS}{first.pk}/change/").text

    page = act(browser, KEYS, "rotate_keys", first, second)
    assert "The API key is revoked; create a new one." in text_of(page)
    fresh = KEY.search(page.text)[0]
    assert fresh != second_key
    error_of(Client(tenant.server, {"x-api-key": second_key}).get("/auth/me"), 401)
    assert Client(tenant.server, {"x-api-key": fresh}).get("/auth/me").status_code == 200
    history = text_of(browser.get(f"{KEYS}{first.pk}/history/"))
    assert "revoked at" in history.lower()


def test_changes_a_key_but_not_whose_it_is(tenant: Tenant, other_tenant: Tenant) -> None:
    row, _ = tenant.new_key("tts")
    browser = signed_in(tenant, "owner")
    data = {"name": "Renamed", "scopes": ["stt", "tts"], "organization": str(other_tenant.organization.id),
            "digest": "0" * 64, "prefix": "sp_00000000"}  # fmt: skip
    assert browser.submit(f"{KEYS}{row.pk}/change/", data).status_code == 302
    changed = ApiKey.objects.get(pk=row.pk)
    assert (changed.name, changed.scopes, changed.organization) == ("Renamed", ["stt", "tts"], tenant.organization)
    assert (changed.digest, changed.prefix) == (row.digest, row.prefix)


def test_owner_makes_and_revokes_no_keys_elsewhere(tenant: Tenant, other_tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    answer = add_key(browser, other_tenant.organization)
    assert answer.status_code == 200
    assert "Select a valid choice" in text_of(answer)
    assert not ApiKey.objects.filter(organization=other_tenant.organization).exists()
    foreign, _ = other_tenant.new_key("tts")
    for action in ("revoke_keys", "rotate_keys", "delete_selected"):
        act(browser, KEYS, action, foreign, select_across="1")
    stored = ApiKey.objects.get(pk=foreign.pk)
    assert (stored.usable, stored.digest) == (True, foreign.digest)
    data = {"csrfmiddlewaretoken": csrf_token(browser.get(KEYS)), "name": "Mine now", "scopes": ["tts"]}
    assert browser.post(f"{KEYS}{foreign.pk}/change/", data=data).status_code == 404


def test_refuses_a_past_expiry_and_no_scopes(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    answer = add_key(browser, tenant.organization, expires_at_0="2020-01-01", expires_at_1="00:00:00")
    assert "Must be in the future." in text_of(answer)
    assert "This field is required." in text_of(add_key(browser, tenant.organization, scopes=[]))
    assert not ApiKey.objects.filter(organization=tenant.organization).exists()


# ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_member(browser: Browser, organization: Organization, email: str, **fields: str) -> httpx.Response:
    data = {"organization": str(organization.id), "email": email, "role": "developer", **fields}
    return browser.submit(f"{MEMBERS}add/", data)


def test_adds_new_and_known_people(tenant: Tenant, other_tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    email = f"New-{uuid.uuid4().hex[:8]}@example.com"
    assert "A new user needs a password." in text_of(add_member(browser, tenant.organization, email))
    assert "too short" in text_of(add_member(browser, tenant.organization, email, password="short"))
    assert add_member(browser, tenant.organization, email, name="New", password=PASSWORD).status_code == 302
    member = Membership.objects.get(user__email=email.lower())
    assert (member.organization, member.role, member.user.name) == (tenant.organization, "developer", "New")
    assert Browser(tenant.server).sign_in(email).status_code == 302

    known = other_tenant.member("viewer").user
    assert add_member(browser, tenant.organization, known.email, password="another password").status_code == 302
    known.refresh_from_db()
    assert known.check_password(PASSWORD)  # an owner cannot take over an account by adding it
    assert "a member already" in text_of(add_member(browser, tenant.organization, known.email))
    assert "Select a valid choice" in text_of(add_member(browser, other_tenant.organization, email))


def test_keeps_the_last_owner(tenant: Tenant) -> None:
    owner = tenant.member("owner")
    browser = signed_in(tenant, "owner")
    for caller in (browser, operator(tenant)):
        page = f"{MEMBERS}{owner.pk}/change/"
        assert caller.submit(page, {"role": "viewer"}).headers["location"] == page
        assert "needs an owner" in text_of(caller.get(page))
        page = f"{MEMBERS}{owner.pk}/delete/"
        caller.submit(page, {"post": "yes"})
        assert "needs an owner" in text_of(caller.get(page))
        assert "needs an owner" in text_of(act(caller, MEMBERS, "remove_members", owner))
    owner.refresh_from_db()
    assert owner.role == "owner"

    from django.contrib.admin.models import LogEntry

    assert not LogEntry.objects.filter(object_id=str(owner.pk)).exists()  # what was refused did not happen


def test_changes_roles_and_removes_members(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    viewer = tenant.member("viewer")
    session = tenant.user("viewer")
    assert browser.submit(f"{MEMBERS}{viewer.pk}/change/", {"role": "admin"}).status_code == 302
    viewer.refresh_from_db()
    assert viewer.role == "admin"
    assert browser.get(f"{MEMBERS}{viewer.pk}/delete/").status_code == 200
    assert browser.submit(f"{MEMBERS}{viewer.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not Membership.objects.filter(pk=viewer.pk).exists()
    assert User.objects.filter(pk=viewer.user_id).exists()
    error_of(session.get("/auth/me"), 401)
    assert str(viewer.user) in text_of(browser.get("/admin/admin/logentry/"))  # the log outlives the row

    developer = tenant.member("developer")
    assert "Removed" in text_of(act(browser, MEMBERS, "remove_members", developer))
    assert not Membership.objects.filter(pk=developer.pk).exists()


def test_owner_touches_no_members_elsewhere(tenant: Tenant, other_tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    foreign = other_tenant.member("viewer")
    token = {"csrfmiddlewaretoken": csrf_token(browser.get(MEMBERS))}
    assert browser.post(f"{MEMBERS}{foreign.pk}/change/", data={**token, "role": "owner"}).status_code == 404
    assert browser.post(f"{MEMBERS}{foreign.pk}/delete/", data={**token, "post": "yes"}).status_code == 404
    act(browser, MEMBERS, "remove_members", foreign, select_across="1")
    foreign.refresh_from_db()
    assert foreign.role == "viewer"
    own = tenant.member("viewer")
    data = {"role": "viewer", "organization": str(other_tenant.organization.id), "user": str(foreign.user_id)}
    browser.submit(f"{MEMBERS}{own.pk}/change/", data)
    own.refresh_from_db()
    assert own.organization == tenant.organization


# ── People, organisations, log-ins ──────────────────────────────────────────────────────────────────────────────────


def test_owner_cannot_change_people(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    token = {"csrfmiddlewaretoken": csrf_token(browser.get(MEMBERS))}
    for member in (tenant.member("owner"), tenant.member("viewer")):
        page = browser.get(f"{USERS}{member.user_id}/change/")
        assert "superuser" not in text_of(page).lower()
        data = {**token, "email": "mine@example.com", "is_superuser": "on", "is_staff": "on", "is_active": "on"}
        assert browser.post(f"{USERS}{member.user_id}/change/", data=data).status_code == 403
        data = {**token, "password1": "taken over 1234", "password2": "taken over 1234"}
        assert browser.post(f"{USERS}{member.user_id}/password/", data=data).status_code == 403
        assert browser.post(f"{USERS}add/", data=token).status_code == 403
        user = User.objects.get(pk=member.user_id)
        assert (user.is_superuser, user.is_staff, user.email) == (False, False, member.user.email)


def test_owner_does_not_learn_of_other_memberships(tenant: Tenant, other_tenant: Tenant) -> None:
    user = tenant.member("viewer").user
    Membership.objects.create(organization=other_tenant.organization, user=user, role="admin")
    browser = signed_in(tenant, "owner")
    for page in (USERS, f"{USERS}{user.pk}/change/"):
        text = text_of(browser.get(page))
        assert f"{tenant.organization.name} (Viewer)" in text
        assert other_tenant.organization.name not in text


def test_operator_makes_and_changes_people(tenant: Tenant) -> None:
    browser = operator(tenant)
    email = f"Made-{uuid.uuid4().hex[:8]}@example.com"
    data = {"email": email, "name": "Made", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert browser.submit(f"{USERS}add/", data).status_code == 302
    user = User.objects.get(email=email.lower())
    assert user.check_password(PASSWORD)
    assert "already exists" in text_of(browser.submit(f"{USERS}add/", {**data, "email": email.upper()}))
    change = {"email": email, "name": "Changed", "is_active": "on"}
    assert browser.submit(f"{USERS}{user.pk}/change/", change).status_code == 302
    data = {"password1": "a second one 99", "password2": "a second one 99", "usable_password": "true"}
    assert browser.submit(f"{USERS}{user.pk}/password/", data).status_code == 302
    user.refresh_from_db()
    assert user.name == "Changed"
    assert user.check_password("a second one 99")


def test_owner_renames_the_organisation_and_nothing_else(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    page = f"/admin/accounts/organization/{tenant.organization.pk}/change/"
    slug = tenant.organization.slug
    assert browser.submit(page, {"name": "New name", "slug": "taken-over", "is_active": ""}).status_code == 302
    organization = Organization.objects.get(pk=tenant.organization.pk)
    assert (organization.name, organization.slug, organization.is_active) == ("New name", slug, True)


def test_operator_makes_and_deactivates_organisations(tenant: Tenant) -> None:
    browser = operator(tenant)
    slug = f"made-{uuid.uuid4().hex[:8]}"
    data = {"name": "Made", "slug": slug, "is_active": "on"}
    assert browser.submit("/admin/accounts/organization/add/", data).status_code == 302
    organization = Organization.objects.get(slug=slug)
    page = f"/admin/accounts/organization/{organization.pk}/change/"
    assert browser.submit(page, {"name": "Made", "slug": slug}).status_code == 302
    organization.refresh_from_db()
    assert not organization.is_active


def test_ends_log_ins(tenant: Tenant) -> None:
    client = tenant.user("developer")
    session = LoginSession.objects.get(membership=tenant.member("developer"))
    page = act(signed_in(tenant, "owner"), "/admin/accounts/loginsession/", "end_sessions", session)
    assert "Ended" in text_of(page)
    error_of(client.get("/auth/me"), 401, "session_ended")
