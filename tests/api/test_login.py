"""POST /auth/login."""

from __future__ import annotations

import time
import uuid

import pytest

from accounts.models import LoginSession, Membership, Organization
from tests import hashing
from tests.conftest import PASSWORD, Client, Tenant, error_of


def _credentials(tenant: Tenant, role: str = "developer") -> dict[str, str]:
    return {"email": tenant.member(role).user.email, "password": PASSWORD}


def test_gives_tokens_that_work(tenant: Tenant, anonymous: Client) -> None:
    member = tenant.member("developer")
    answer = anonymous.post("/auth/login", json=_credentials(tenant), headers={"User-Agent": "login-test"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert body["user"] == {"id": str(member.user.id), "email": member.user.email, "name": "Developer"}
    organization = tenant.organization
    assert body["organization"] == {"id": str(organization.id), "slug": organization.slug, "name": organization.name}
    assert body["role"] == "developer"

    session = LoginSession.objects.get(membership=member)
    assert (session.user_agent, session.revoked_at) == ("login-test", None)
    member.user.refresh_from_db()
    assert member.user.last_login is not None

    me = anonymous.get("/auth/me", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert me.json()["user"]["id"] == str(member.user.id)


def test_case_of_the_address_does_not_matter(tenant: Tenant, anonymous: Client) -> None:
    credentials = _credentials(tenant)
    credentials["email"] = credentials["email"].upper()
    assert anonymous.post("/auth/login", json=credentials).status_code == 200


def test_wrong_credentials_all_get_the_same_answer(tenant: Tenant, other_tenant: Tenant, anonymous: Client) -> None:
    right = _credentials(tenant)
    inactive = _credentials(tenant, "viewer")
    user = tenant.member("viewer").user
    user.is_active = False
    user.save()
    wrong = [
        right | {"password": PASSWORD + "x"},
        right | {"password": PASSWORD + " "},
        {"email": f"nobody-{uuid.uuid4().hex}@example.com", "password": PASSWORD},
        right | {"org_slug": other_tenant.organization.slug},
        right | {"org_slug": "no-such-organization"},
        inactive,
    ]
    messages = {
        error_of(anonymous.post("/auth/login", json=body), 401, "wrong_credentials")["message"] for body in wrong
    }
    assert len(messages) == 1
    assert not LoginSession.objects.filter(membership__organization=tenant.organization).exists()


def test_unknown_address_takes_as_long_as_a_wrong_password(tenant: Tenant, anonymous: Client) -> None:
    def seconds(email: str) -> float:
        started = time.perf_counter()
        anonymous.post("/auth/login", json={"email": email, "password": "wrong"})
        return time.perf_counter() - started

    user = tenant.member("developer").user
    with hashing.production():
        user.set_password(PASSWORD)
        user.save()
        pairs = [(seconds(user.email), seconds(f"nobody-{uuid.uuid4().hex}@example.com")) for _ in range(4)]
    known_seconds, unknown_seconds = (min(times) for times in zip(*pairs, strict=True))
    assert 0.4 < unknown_seconds / known_seconds < 2.5, pairs


def test_member_of_several_organizations_names_one(tenant: Tenant, other_tenant: Tenant, anonymous: Client) -> None:
    Membership.objects.create(
        organization=other_tenant.organization, user=tenant.member("developer").user, role="viewer"
    )
    error = error_of(anonymous.post("/auth/login", json=_credentials(tenant)), 409, "organization_required")
    slugs = {tenant.organization.slug, other_tenant.organization.slug}
    assert {organization["slug"] for organization in error["organizations"]} == slugs
    assert error["type"] == "invalid_request_error"

    for name in ("org_slug", "orgSlug"):
        body = _credentials(tenant) | {name: other_tenant.organization.slug}
        answer = anonymous.post("/auth/login", json=body).json()
        assert (answer["organization"]["slug"], answer["role"]) == (other_tenant.organization.slug, "viewer")


def test_wrong_password_does_not_reveal_organizations(tenant: Tenant, other_tenant: Tenant, anonymous: Client) -> None:
    Membership.objects.create(organization=other_tenant.organization, user=tenant.member("developer").user)
    body = _credentials(tenant) | {"password": "not the password"}
    error_of(anonymous.post("/auth/login", json=body), 401, "wrong_credentials")


def test_rejects_inactive_organization(tenant: Tenant, anonymous: Client) -> None:
    Organization.objects.filter(id=tenant.organization.id).update(is_active=False)
    error_of(anonymous.post("/auth/login", json=_credentials(tenant)), 401, "wrong_credentials")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "email"),
        ({"email": "a@example.com"}, "password"),
        ({"email": None, "password": "x"}, "email"),
        ({"email": ["a"], "password": "x"}, "email"),
        ({"email": "a\0b@example.com", "password": "x"}, "email"),
        ({"email": "a@example.com", "password": "\0"}, "password"),
        ({"email": "a" * 300, "password": "x"}, "email"),
        ({"email": "a@example.com", "password": "x" * 201}, "password"),
        ([], None),
        ("text", None),
    ],
)
def test_malformed_fields(anonymous: Client, body: object, param: str | None) -> None:
    assert error_of(anonymous.post("/auth/login", json=body), 400)["param"] == param
