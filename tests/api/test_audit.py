"""GET /audit, and that every action that matters leaves an entry which nobody can change."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from accounts import tokens
from accounts.models import LoginSession, Organization
from audit import services as audit
from audit.models import AuditEntry
from tests.browser import Browser, signed_in
from tests.conftest import PASSWORD, Client, Tenant, error_of

WEAK_SECRET = "wrong-password-7431"


def _entries(tenant: Tenant, action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(organization=tenant.organization, action=action).order_by("created_at"))


def _actions(tenant: Tenant) -> list[str]:
    rows = AuditEntry.objects.filter(organization=tenant.organization).order_by("created_at")
    return list(rows.values_list("action", flat=True))


# ── What is recorded ────────────────────────────────────────────────────────────────────────────────────────────────


def test_log_in_and_out(tenant: Tenant, anonymous: Client) -> None:
    member = tenant.member("developer")
    credentials = {"email": member.user.email, "password": PASSWORD}
    headers = {"User-Agent": "audit-test", "X-Request-ID": "audit-1"}
    pair = anonymous.post("/auth/login", json=credentials, headers=headers).json()
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    assert anonymous.post("/auth/logout", headers=bearer).status_code == 204
    entry = _entries(tenant, "auth.login")[0]
    assert (entry.actor_type, entry.actor_id, entry.actor_label) == ("user", member.user.id, member.user.email)
    assert (entry.user_agent, entry.request_id) == ("audit-test", "audit-1")
    assert entry.address == anonymous.headers["X-Forwarded-For"]
    assert entry.details == {"through": "api"}
    session = LoginSession.objects.get(membership=member)
    assert (entry.object_type, entry.object_id) == ("loginsession", str(session.id))
    assert [row.object_id for row in _entries(tenant, "auth.logout")] == [str(session.id)]


def test_failed_log_in_of_a_member(tenant: Tenant, anonymous: Client) -> None:
    email = tenant.member("viewer").user.email
    error_of(anonymous.post("/auth/login", json={"email": email.upper(), "password": WEAK_SECRET}), 401)
    entry = _entries(tenant, "auth.login_failed")[0]
    assert (entry.actor_type, entry.actor_id, entry.actor_label) == ("anonymous", None, email)
    assert entry.address == anonymous.headers["X-Forwarded-For"]


def test_failed_log_in_of_a_stranger_belongs_to_no_organization(anonymous: Client) -> None:
    email = f"{uuid.uuid4().hex}@example.com"
    error_of(anonymous.post("/auth/login", json={"email": email, "password": WEAK_SECRET}), 401)
    entry = AuditEntry.objects.get(actor_label=email)
    assert (entry.organization, entry.action) == (None, "auth.login_failed")


def test_a_password_typed_as_the_address_is_not_kept(anonymous: Client) -> None:
    error_of(anonymous.post("/auth/login", json={"email": WEAK_SECRET, "password": "x"}), 401)
    entry = AuditEntry.objects.filter(address=anonymous.headers["X-Forwarded-For"]).get()
    assert (entry.action, entry.actor_label) == ("auth.login_failed", "")


def test_log_in_with_a_browser(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    browser.submit("/dashboard", {}, to="/dashboard/logout")
    Browser(tenant.server).sign_in(tenant.member("viewer").user.email, "not the password")
    assert _actions(tenant) == ["auth.login", "auth.logout", "auth.login_failed"]
    assert _entries(tenant, "auth.login")[0].details == {"through": "browser"}


def test_api_keys(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    made = admin.post("/auth/api-keys", json={"name": "mine", "scopes": ["tts"]}).json()
    url = f"/auth/api-keys/{made['id']}"
    admin.patch(url, json={"scopes": ["stt"], "name": "ours"})
    rotated = admin.post(f"{url}/rotate").json()
    admin.delete(url)
    admin.delete(url)
    assert _actions(tenant) == ["api_key.created", "api_key.changed", "api_key.rotated", "api_key.revoked"]
    entries = list(AuditEntry.objects.filter(organization=tenant.organization).order_by("created_at"))
    assert {entry.object_id for entry in entries} == {made["id"]}
    assert entries[0].details == {"scopes": ["tts"]}
    assert entries[1].details == {"changed": ["name", "scopes"]}
    _holds_none_of(tenant, made["key"].rpartition("_")[2], rotated["key"].rpartition("_")[2])


def test_members(tenant: Tenant) -> None:
    owner = tenant.user("owner")
    email, password = f"{uuid.uuid4().hex}@example.com", "a long enough pass-phrase"
    made = owner.post("/auth/members", json={"email": email, "role": "viewer", "password": password}).json()
    url = f"/auth/members/{made['id']}"
    owner.patch(url, json={"role": "developer"})
    owner.delete(url)
    assert _actions(tenant) == ["member.added", "member.role_changed", "member.removed"]
    assert _entries(tenant, "member.added")[0].details == {"email": email, "role": "viewer"}
    assert _entries(tenant, "member.role_changed")[0].details == {"former": "viewer", "role": "developer"}
    assert _entries(tenant, "member.removed")[0].object_id == made["id"]
    _holds_none_of(tenant, password)


def test_what_is_refused_is_not_recorded(tenant: Tenant) -> None:
    owner = tenant.user("owner")
    error_of(owner.delete(f"/auth/members/{tenant.member('owner').id}"), 409, "last_owner")
    body = {"email": tenant.member("owner").user.email, "role": "viewer"}
    error_of(owner.post("/auth/members", json=body), 409, "member_exists")
    assert _actions(tenant) == []


def test_a_change_that_changes_nothing_is_not_recorded(tenant: Tenant) -> None:
    owner = tenant.user("owner")
    entry = {"grapheme": "SQL", "alias": "sequel"}
    hook = {"url": "https://example.com/hook", "events": ["job.succeeded"]}
    made = {
        path: owner.post(path, json=body).json()["id"]
        for path, body in (
            ("/auth/api-keys", {"name": "mine", "scopes": ["tts"]}),
            ("/auth/service-accounts", {"name": "Robot", "role": "developer"}),
            ("/tts/lexicons", {"name": "Words", "entries": [entry]}),
            ("/openai/aliases", {"kind": "stt", "name": "my-model"}),
            ("/webhooks", hook),
        )
    }
    same = {
        f"/auth/api-keys/{made['/auth/api-keys']}": {"name": "mine", "scopes": ["tts"], "networks": []},
        f"/auth/service-accounts/{made['/auth/service-accounts']}": {"name": "Robot", "disabled": False},
        f"/tts/lexicons/{made['/tts/lexicons']}": {"name": "Words", "entries": [entry]},
        f"/openai/aliases/{made['/openai/aliases']}": {"name": "my-model"},
        f"/webhooks/{made['/webhooks']}": {**hook, "active": True},
        "/auth/policy": {"networks": [], "require_two_factor": False},
        "/organization": {"name": tenant.organization.name, "audio_retention_days": None},
        "/tts/defaults": {"voice": "", "language": ""},
        "/stt/defaults": {"itn": None, "disable": []},
    }
    before = _actions(tenant)
    for path, values in same.items():
        for body in ({}, values):
            answer = owner.patch(path, json=body)
            assert answer.status_code == 200, (path, answer.text)
            assert _actions(tenant) == before, (path, body)
    assert owner.patch(f"/auth/members/{tenant.member('viewer').id}", json={"role": "viewer"}).status_code == 200
    for _ in range(2):
        owner.post("/tts/voice-defaults", json={"voice": "espeak:en-us", "speed": 1.5})
    assert _actions(tenant) == [*before, "tts_voice_defaults.changed"]


def test_deleted_jobs(tenant: Tenant) -> None:
    row, key = tenant.new_key("tts")
    client = Client(tenant.server, {"x-api-key": key})
    job_id = client.post("/tts/synthesize", json={"text": "A private text."}).json()["job_id"]
    client.delete(f"/tts/jobs/{job_id}")
    entry = _entries(tenant, "job.deleted")[0]
    assert (entry.actor_type, entry.actor_id, entry.object_id) == ("api_key", row.id, job_id)
    _holds_none_of(tenant, "private text", key.rpartition("_")[2])


def test_administration_pages_too(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    fields = {"organization": str(tenant.organization.id), "name": "From the page", "scopes": ["tts"]}
    browser.submit("/admin/accounts/apikey/add/", fields)
    entry = _entries(tenant, "api_key.created")[0]
    assert entry.actor_label == tenant.member("owner").user.email
    session, _ = tokens.open_session(membership=tenant.member("viewer"), address=None, user_agent="")
    browser.submit("/admin/accounts/loginsession/", {"action": "end_sessions", "_selected_action": str(session.id)})
    assert [row.object_id for row in _entries(tenant, "auth.session_ended")] == [str(session.id)]


def test_secrets_are_refused_as_details(tenant: Tenant) -> None:
    with pytest.raises(ValueError, match="no secrets"):
        audit.record(actor=tenant.actor(), action="test.secret", password=WEAK_SECRET)


def test_rolls_back_with_the_change(tenant: Tenant) -> None:
    with transaction.atomic():
        audit.record(actor=tenant.actor(), action="test.undone")
        transaction.set_rollback(True)
    assert not _entries(tenant, "test.undone")


def test_an_organizations_settings_export_and_end(tenant: Tenant) -> None:
    owner = tenant.user("owner")
    owner.patch("/organization", json={"audio_retention_days": 7})
    with owner.stream("GET", "/organization/export") as answer:
        assert answer.status_code == 200
        answer.read()
    assert _actions(tenant) == ["organization.changed", "organization.exported"]
    assert _entries(tenant, "organization.changed")[0].details == {"changes": {"audio_retention_days": 7}}
    answer = owner.request("DELETE", "/organization", json={"confirm": tenant.organization.slug})
    assert answer.status_code == 204, answer.text
    assert _actions(tenant) == []
    entry = AuditEntry.objects.get(action="organization.deleted", object_id=str(tenant.organization.id))
    assert (entry.organization, entry.details) == (None, {"by": f"user:{tenant.member('owner').user.id}"})


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_newest_first_and_filters(tenant: Tenant, other_tenant: Tenant) -> None:
    audit.record(actor=other_tenant.actor(), action="test.one")
    audit.record(actor=tenant.actor(), action="test.one", n=1)
    audit.record(actor=tenant.actor("developer"), action="test.two", target=tenant.organization)
    audit.record(actor=tenant.actor(), action="testing.three")
    admin = tenant.user("admin")

    def actions(query: str = "") -> list[str]:
        answer = admin.get(f"/audit{query}")
        assert answer.status_code == 200, answer.text
        return [row["action"] for row in answer.json()["results"]]

    assert actions() == ["testing.three", "test.two", "test.one"]
    assert actions("?action=test.one") == ["test.one"]
    assert actions("?action=test") == ["test.two", "test.one"]
    developer = tenant.member("developer").user
    assert actions(f"?actor={developer.id}") == actions(f"?actor={developer.email.upper()}") == ["test.two"]
    middle = _entries(tenant, "test.two")[0].created_at
    assert admin.get("/audit", params={"since": middle.isoformat()}).json()["count"] == 2
    assert admin.get("/audit", params={"until": middle.isoformat()}).json()["count"] == 1
    page = admin.get("/audit?page_size=2&page=2").json()
    assert (page["count"], [row["action"] for row in page["results"]]) == (3, ["test.one"])
    row = page["results"][0]
    assert row["details"] == {"n": 1}
    assert row["actor"] == {
        "type": "user", "id": str(tenant.member("owner").user.id), "label": tenant.member("owner").user.email,
    }  # fmt: skip
    assert row["object"] is None
    organization = admin.get("/audit?action=test.two").json()["results"][0]["object"]
    assert organization["id"] == str(tenant.organization.id)


@pytest.mark.parametrize(("query", "param"), [("since=yesterday", "since"), ("page=0", "page"), ("who=me", "who")])
def test_rejects_wrong_filters(tenant: Tenant, query: str, param: str) -> None:
    assert error_of(tenant.user("admin").get(f"/audit?{query}"), 400)["param"] == param


# ── Append-only ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _forbidden(statement: str, *values: Any) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_the_database_refuses_changes_and_deletions(tenant: Tenant) -> None:
    audit.record(actor=tenant.actor(), action="test.kept")
    entry = _entries(tenant, "test.kept")[0]
    _forbidden("UPDATE audit_auditentry SET action = 'forged' WHERE id = %s", entry.id)
    _forbidden("DELETE FROM audit_auditentry WHERE id = %s", entry.id)
    _forbidden("TRUNCATE audit_auditentry")
    _forbidden("SELECT set_config('audit.deletion', 'allowed', true); UPDATE audit_auditentry SET action = 'forged'")
    for change in (entry.delete, entry.save, AuditEntry.objects.all().delete, tenant.organization.delete):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()
    assert _entries(tenant, "test.kept") == [entry]
    assert Organization.objects.filter(id=tenant.organization.id).exists()


def test_entries_past_the_retention_period_are_purged(tenant: Tenant, settings: Any) -> None:
    audit.record(actor=tenant.actor(), action="test.kept")
    now = timezone.now()
    old = AuditEntry(organization=tenant.organization, action="test.old", actor_type="user")
    old.save(force_insert=True)
    with transaction.atomic(), connection.cursor() as cursor:  # as if written long ago, which nobody can do otherwise
        cursor.execute("ALTER TABLE audit_auditentry DISABLE TRIGGER audit_append_only")
        cursor.execute("UPDATE audit_auditentry SET created_at = %s WHERE id = %s", [now - timedelta(days=400), old.id])
        cursor.execute("ALTER TABLE audit_auditentry ENABLE TRIGGER audit_append_only")
    assert audit.purge() == 0  # without a period nothing goes
    settings.AUDIT_RETENTION_DAYS = 399
    assert audit.purge(now=now - timedelta(days=2)) == 0
    assert audit.purge(now=now) == 1
    assert _actions(tenant) == ["test.kept"]
    purged = AuditEntry.objects.filter(action="audit.purged").latest("created_at")
    assert (purged.organization, purged.actor_type, purged.details["entries"]) == (None, "system", 1)
    _forbidden("DELETE FROM audit_auditentry WHERE id = %s", _entries(tenant, "test.kept")[0].id)


def test_retention_and_the_end_of_an_organization_may_delete(tenant: Tenant) -> None:
    audit.record(actor=tenant.actor(), action="test.old")
    audit.record(actor=tenant.actor(), action="test.older")
    with audit.deletion_allowed():
        AuditEntry.objects.filter(organization=tenant.organization, action="test.older").delete()
    assert _actions(tenant) == ["test.old"]
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(organization=tenant.organization).delete()
    with audit.deletion_allowed():
        tenant.organization.delete()
    assert not AuditEntry.objects.filter(created_at__gt=timezone.now() - timedelta(hours=1), action="test.old").exists()


def _holds_none_of(tenant: Tenant, *secrets: str) -> None:
    rows = AuditEntry.objects.filter(organization=tenant.organization)
    written = " ".join(str(vars(row)) for row in rows)
    assert written
    for secret in secrets:
        assert secret not in written
