"""/auth/service-accounts: members that are no persons, and their keys."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import ApiKey, ServiceAccount
from audit.models import AuditEntry
from tests.browser import signed_in, text_of
from tests.conftest import Client, Tenant, error_of


@pytest.fixture
def robot(tenant: Tenant) -> dict[str, Any]:
    answer = tenant.user("admin").post("/auth/service-accounts", json={"name": "tills", "description": "Bremen"})
    assert answer.status_code == 201
    return answer.json()


def _key(tenant: Tenant, robot: dict[str, Any]) -> tuple[dict[str, Any], Client]:
    body = {"name": "till 1", "scopes": ["tts"], "service_account": robot["id"]}
    made = tenant.user("admin").post("/auth/api-keys", json=body).json()
    return made, Client(tenant.server, {"x-api-key": made["key"]})


def test_owns_keys(tenant: Tenant, robot: dict[str, Any]) -> None:
    assert (robot["role"], robot["disabled"], robot["usable_keys"]) == ("developer", False, 0)
    made, key = _key(tenant, robot)
    tenant.new_key("tts")
    owner = {"id": robot["id"], "name": "tills"}
    assert made["service_account"] == owner
    me = key.get("/auth/me").json()
    assert (me["api_key"]["service_account"], me["role"], me["scopes"]) == (owner, "developer", ["tts"])
    admin = tenant.user("admin")
    listed = admin.get(f"/auth/api-keys?service_account={robot['id']}").json()["results"]
    assert [row["id"] for row in listed] == [made["id"]]
    assert admin.get("/auth/api-keys").json()["count"] == 2
    assert admin.get("/auth/service-accounts").json()["results"][0]["usable_keys"] == 1
    error_of(admin.get("/auth/api-keys?service_account=x"), 400)


def test_disabling_refuses_all_of_its_keys(tenant: Tenant, robot: dict[str, Any]) -> None:
    (_, first), (_, second) = _key(tenant, robot), _key(tenant, robot)
    other, admin = tenant.key("tts"), tenant.user("admin")
    path = f"/auth/service-accounts/{robot['id']}"
    assert admin.patch(path, json={"disabled": True}).json()["disabled"] is True
    assert admin.get("/auth/service-accounts").json()["results"][0]["usable_keys"] == 0
    for key in (first, second):
        error_of(key.get("/auth/me"), 401, "api_key_invalid")
    assert other.get("/auth/me").status_code == 200
    admin.patch(path, json={"disabled": False, "role": "viewer"})
    assert first.get("/tts/jobs").status_code == 200
    error_of(first.post("/tts/synthesize", json={"text": "Hi."}), 403)
    assert admin.delete(path).status_code == 204
    error_of(first.get("/auth/me"), 401, "api_key_invalid")
    assert not ApiKey.objects.filter(organization=tenant.organization, name="till 1", revoked_at=None).exists()
    actions = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="service_account.")
    names = [row.action.partition(".")[2] for row in actions.order_by("created_at")]
    assert names == ["created", "disabled", "enabled", "deleted"]


def test_refuses(tenant: Tenant, robot: dict[str, Any]) -> None:
    admin = tenant.user("admin")
    error_of(admin.post("/auth/service-accounts", json={"name": "tills"}), 409, "service_account_exists")
    error_of(admin.post("/auth/service-accounts", json={"name": "a", "role": "admin"}), 400)
    other = admin.post("/auth/service-accounts", json={"name": "doors"}).json()
    error_of(admin.patch(f"/auth/service-accounts/{other['id']}", json={"name": "tills"}), 409)
    assert ServiceAccount.objects.filter(organization=tenant.organization).count() == 2


def test_pages(tenant: Tenant) -> None:
    browser = signed_in(tenant, "admin")
    made = browser.submit(
        "/dashboard/members", {"name": "tills", "role": "developer"}, to="/dashboard/members/service-accounts"
    )
    assert made.headers["Location"] == "/dashboard/members"
    row = ServiceAccount.objects.get(organization=tenant.organization)
    assert "tills" in text_of(browser.get("/dashboard/members"))
    new = f"/dashboard/api-keys?new=1&for={row.id}"
    assert f'value="{row.id}" selected' in browser.get(new).text
    fields = {"name": "till 1", "scopes": "tts", "service_account": str(row.id)}
    assert "Your new key" in browser.submit(new, fields, to="/dashboard/api-keys").text
    assert "tills" in text_of(browser.get(f"/dashboard/api-keys/{row.api_keys.get().id}"))
    browser.submit("/dashboard/members", {}, to=f"/dashboard/members/service-accounts/{row.id}/disable")
    assert not ApiKey.objects.get(organization=tenant.organization).usable
    assert "Disabled" in text_of(browser.get("/dashboard/members"))
    browser.submit("/dashboard/members", {}, to=f"/dashboard/members/service-accounts/{row.id}/delete")
    assert not ServiceAccount.objects.filter(id=row.id).exists()
    assert ApiKey.objects.get(organization=tenant.organization).revoked_at is not None
