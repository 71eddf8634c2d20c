"""GET /auth/me."""

from __future__ import annotations

import pytest

from tests.conftest import Client, Tenant, error_of


@pytest.mark.parametrize("role", ["viewer", "developer", "admin", "owner"])
def test_user(tenant: Tenant, role: str) -> None:
    body = tenant.user(role).get("/auth/me").json()
    user, organization = tenant.member(role).user, tenant.organization
    assert body == {
        "type": "user",
        "user": {"id": str(user.id), "email": user.email, "name": user.name},
        "api_key": None,
        "organization": {"id": str(organization.id), "slug": organization.slug, "name": organization.name},
        "role": role,
        "scopes": None,
    }


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_key(tenant: Tenant, anonymous: Client, header: str) -> None:
    row, key = tenant.new_key("stt")
    value = key if header == "x-api-key" else f"Bearer {key}"
    body = anonymous.get("/auth/me", headers={header: value}).json()
    assert body["type"] == "api_key"
    shown = {"id": str(row.id), "name": "tests", "prefix": row.prefix, "service_account": None}
    assert body["api_key"] == shown
    assert (body["user"], body["role"], body["scopes"]) == (None, "developer", ["stt"])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic b3duZXI6cGFzc3dvcmQ="},
        {"Authorization": "Bearer not.a.token"},
        {"Authorization": "Bearer sp_unknown1_00000000000000000000000000000000"},
        {"x-api-key": "sp_"},
        {"x-api-key": "sp__"},
        {"x-api-key": "sp_" + "a" * 5000},
        {"x-api-key": "sp_äöü_ß".encode("latin-1")},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0."},  # pragma: allowlist secret
    ],
)
def test_rejects_what_is_no_credential(anonymous: Client, headers: dict) -> None:
    answer = anonymous.get("/auth/me", headers=headers)
    assert error_of(answer, 401)["type"] == "authentication_error"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
