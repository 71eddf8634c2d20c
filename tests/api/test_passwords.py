"""/auth/password: changing it, and setting a new one by e-mail."""

from __future__ import annotations

import uuid

from audit.models import AuditEntry
from tests.api.mail import link_in, mails_to, wait_for_mail
from tests.browser import signed_in
from tests.conftest import PASSWORD, Client, Tenant, error_of

NEW_PASSWORD = "quite a long pass-phrase"


def test_change_ends_the_other_log_ins(tenant: Tenant) -> None:
    here, there, browser = tenant.user("developer"), tenant.user("developer"), signed_in(tenant, "developer")
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    error_of(here.post("/auth/password", json={**body, "current_password": "wrong"}), 400, "wrong_password")
    weak = error_of(here.post("/auth/password", json={**body, "new_password": "short"}), 400, "password_weak")
    assert weak["param"] == "new_password"
    assert here.post("/auth/password", json=body).status_code == 204
    assert here.get("/auth/me").status_code == 200
    error_of(there.get("/auth/me"), 401)
    assert browser.get("/dashboard").status_code == 302
    email = tenant.member("developer").user.email
    login = Client(tenant.server)
    error_of(login.post("/auth/login", json={"email": email, "password": PASSWORD}), 401)
    assert login.post("/auth/login", json={"email": email, "password": NEW_PASSWORD}).status_code == 200


def test_resets_by_e_mail_once(tenant: Tenant) -> None:
    session, email = tenant.user("viewer"), tenant.member("viewer").user.email
    client = Client(tenant.server)
    assert client.post("/auth/password/reset", json={"email": email.upper()}).status_code == 202
    link = link_in(wait_for_mail(email))
    assert link.startswith(f"{tenant.server}/dashboard/password/reset/")
    body = {"token": link.rsplit("/", 1)[1], "new_password": NEW_PASSWORD}
    error_of(client.post("/auth/password/reset/confirm", json={**body, "new_password": "1234567890"}), 400)
    assert client.post("/auth/password/reset/confirm", json=body).status_code == 204
    error_of(client.post("/auth/password/reset/confirm", json=body), 404, "reset_token_invalid")
    error_of(session.get("/auth/me"), 401)
    assert client.post("/auth/login", json={"email": email, "password": NEW_PASSWORD}).status_code == 200
    actions = AuditEntry.objects.filter(organization=tenant.organization).values_list("action", flat=True)
    assert "auth.password_reset" in set(actions)


def test_says_nothing_about_who_has_an_account(tenant: Tenant) -> None:
    """An unknown address gets the same answer; that no e-mail goes out shows after one that was asked for later."""
    unknown, known = f"{uuid.uuid4().hex}@example.com", tenant.member("viewer").user.email
    client = Client(tenant.server)
    answers = [client.post("/auth/password/reset", json={"email": email}) for email in (unknown, known)]
    assert [(answer.status_code, answer.content) for answer in answers] == [(202, b"")] * 2
    wait_for_mail(known)
    assert not mails_to(unknown)


def test_throttles_links_for_one_address(tenant: Tenant) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    for _ in range(5):
        assert Client(tenant.server).post("/auth/password/reset", json={"email": email}).status_code == 202
    answer = Client(tenant.server).post("/auth/password/reset", json={"email": email})
    if answer.status_code == 202:  # the hour ended meanwhile
        return
    error_of(answer, 429)
    assert int(answer.headers["retry-after"]) > 0


def test_refuses_tokens_that_are_not_valid(tenant: Tenant) -> None:
    for token in ("x", "x.y", "%00.é", "MQ.abc-def", "." * 200):
        body = {"token": token, "new_password": NEW_PASSWORD}
        error_of(Client(tenant.server).post("/auth/password/reset/confirm", json=body), 404, "reset_token_invalid")
