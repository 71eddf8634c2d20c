"""/auth/api-keys."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import ApiKey
from tests.conftest import Client, Tenant, error_of


def _new(client: Client, **fields: object) -> dict:
    answer = client.post("/auth/api-keys", json={"name": "made by a test", "scopes": ["tts"], **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def _me(client: Client, key: str) -> int:
    return client.get("/auth/me", headers={"x-api-key": key}).status_code


def test_is_shown_once_and_stored_as_a_digest(tenant: Tenant, anonymous: Client) -> None:
    admin = tenant.user("admin")
    made = _new(admin, scopes=["tts", "stt"], rate_limit=5)
    assert made["scopes"] == ["stt", "tts"]
    assert made["key"].startswith(made["prefix"])
    assert made["key"].endswith(made["last4"])
    assert made["created_by"] == tenant.member("admin").user.email

    row = ApiKey.objects.get(id=made["id"])
    assert (row.organization, row.rate_limit, row.last_used_at) == (tenant.organization, 5, None)
    stored = " ".join(str(value) for value in vars(row).values())
    assert made["key"] not in stored
    assert made["key"].rpartition("_")[2] not in stored

    assert _me(anonymous, made["key"]) == 200
    row.refresh_from_db()
    assert row.last_used_at is not None
    for shown in (admin.get(f"/auth/api-keys/{row.id}").json(), admin.get("/auth/api-keys").json()["results"][0]):
        assert shown["id"] == made["id"]
        assert "key" not in shown
        assert shown["last_used_at"] is not None


def test_list_has_this_organizations_keys_only(tenant: Tenant, other_tenant: Tenant) -> None:
    _new(other_tenant.user("admin"))
    mine = [_new(tenant.user("admin"))["id"] for _ in range(3)]
    page = tenant.user("owner").get("/auth/api-keys?page_size=2").json()
    assert page["count"] == 3
    assert [row["id"] for row in page["results"]] == mine[:0:-1]
    rest = tenant.user("owner").get(page["next"]).json()
    assert [row["id"] for row in rest["results"]] == mine[:1]
    assert rest["next"] is None


def test_revoked_key_is_refused_at_once(tenant: Tenant, anonymous: Client) -> None:
    admin = tenant.user("admin")
    made = _new(admin)
    assert _me(anonymous, made["key"]) == 200
    assert admin.delete(f"/auth/api-keys/{made['id']}").status_code == 204
    assert _me(anonymous, made["key"]) == 401
    revoked_at = ApiKey.objects.get(id=made["id"]).revoked_at
    assert revoked_at is not None
    assert admin.get(f"/auth/api-keys/{made['id']}").json()["revoked_at"] is not None

    assert admin.delete(f"/auth/api-keys/{made['id']}").status_code == 204
    assert ApiKey.objects.get(id=made["id"]).revoked_at == revoked_at
    error_of(admin.post(f"/auth/api-keys/{made['id']}/rotate"), 409, "api_key_revoked")
    error_of(admin.patch(f"/auth/api-keys/{made['id']}", json={"name": "x"}), 409, "api_key_revoked")


def test_rotating_replaces_the_secret(tenant: Tenant, anonymous: Client) -> None:
    admin = tenant.user("admin")
    made = _new(admin)
    answer = admin.post(f"/auth/api-keys/{made['id']}/rotate")
    assert answer.status_code == 200, answer.text
    rotated = answer.json()
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    assert _me(anonymous, made["key"]) == 401
    assert _me(anonymous, rotated["key"]) == 200


def test_rejects_expired_key(tenant: Tenant, anonymous: Client) -> None:
    made = _new(tenant.user("admin"), expires_at=(timezone.now() + timedelta(hours=1)).isoformat())
    assert _me(anonymous, made["key"]) == 200
    ApiKey.objects.filter(id=made["id"]).update(expires_at=timezone.now())
    answer = anonymous.get("/auth/me", headers={"x-api-key": made["key"]})
    error_of(answer, 401, "api_key_invalid")


def test_rejects_near_misses_of_a_key(tenant: Tenant, anonymous: Client) -> None:
    key = _new(tenant.user("admin"))["key"]
    swapped = key[:-1] + ("a" if key[-1] != "a" else "b")
    for wrong in (key[:-1], key + "a", swapped, key.upper(), key.rpartition("_")[0] + "_"):
        assert _me(anonymous, wrong) == 401


def test_change(tenant: Tenant, anonymous: Client) -> None:
    admin = tenant.user("admin")
    made = _new(admin)
    changes = {"name": "renamed", "scopes": ["stt"], "rate_limit": 7}
    answer = admin.patch(f"/auth/api-keys/{made['id']}", json=changes)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in changes} == changes
    row = ApiKey.objects.get(id=made["id"])
    assert (row.name, row.scopes, row.rate_limit) == ("renamed", ["stt"], 7)
    refused = anonymous.post("/tts/synthesize", json={"text": "no"}, headers={"x-api-key": made["key"]})
    error_of(refused, 403, "scope_missing")
    assert admin.patch(f"/auth/api-keys/{made['id']}", json={}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["admin"]}, "scopes.0"),
        ({"scopes": "tts"}, "scopes"),
        ({"scopes": None}, "scopes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, "expires_at"),
        ({"rate_limit": 0}, "rate_limit"),
        ({"rate_limit": 10**400}, "rate_limit"),
        ({"rate_limits": 3}, "rate_limits"),
    ],
)
def test_rejects_wrong_fields(tenant: Tenant, fields: dict, param: str) -> None:
    body = {"name": "x", "scopes": ["tts"], **fields}
    error = error_of(tenant.user("admin").post("/auth/api-keys", json=body), 400)
    assert error["param"] == param
    assert not ApiKey.objects.filter(organization=tenant.organization).exists()


def test_unknown_and_malformed_ids_do_not_exist(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    for key_id in (uuid.uuid4(), "x", "1"):
        error_of(admin.get(f"/auth/api-keys/{key_id}"), 404, "not_found")
