"""/auth/members."""

from __future__ import annotations

import threading
import uuid

import pytest

from accounts.models import Membership, User
from tests.conftest import PASSWORD, Client, Tenant, error_of


def _address() -> str:
    return f"person-{uuid.uuid4().hex[:8]}@example.com"


def test_adding_a_new_person(tenant: Tenant, anonymous: Client) -> None:
    email = _address()
    body = {"email": email, "role": "developer", "name": "New Person", "password": "a long enough pass-phrase"}
    answer = tenant.user("admin").post("/auth/members", json=body)
    assert answer.status_code == 201, answer.text
    member = Membership.objects.get(id=answer.json()["id"])
    assert (member.organization, member.role, member.user.name) == (tenant.organization, "developer", "New Person")
    assert "password" not in answer.text
    logged_in = anonymous.post("/auth/login", json={"email": email, "password": body["password"]})
    assert logged_in.json()["role"] == "developer"


def test_adding_someone_who_has_an_account(tenant: Tenant, other_tenant: Tenant) -> None:
    user = other_tenant.member("owner").user
    body = {"email": user.email.upper(), "role": "viewer", "password": "ignored pass-phrase", "name": "Ignored"}
    answer = tenant.user("admin").post("/auth/members", json=body)
    assert answer.status_code == 201, answer.text
    user.refresh_from_db()
    assert user.name == "Owner"
    assert user.check_password(PASSWORD)
    assert Membership.objects.get(organization=tenant.organization, user=user).role == "viewer"
    again = tenant.user("admin").post("/auth/members", json=body)
    error_of(again, 409, "member_exists")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"email": "not an address"}, "parameter_invalid"),
        ({"email": "a\0b@example.com"}, None),
        ({"role": "emperor"}, "parameter_invalid_choice"),
        ({"password": "short"}, "password_weak"),
        ({"password": "password123"}, "password_weak"),
        ({"password": None}, "parameter_null"),
        ({"nickname": "x"}, "parameter_unknown"),
    ],
)
def test_rejects_wrong_fields(tenant: Tenant, fields: dict, code: str | None) -> None:
    body = {"email": _address(), "role": "viewer", "password": "a long enough pass-phrase", **fields}
    error_of(tenant.user("owner").post("/auth/members", json=body), 400, code)
    assert not Membership.objects.filter(organization=tenant.organization).exclude(role="owner").exists()


def test_new_person_needs_a_password(tenant: Tenant) -> None:
    email = _address()
    error_of(tenant.user("admin").post("/auth/members", json={"email": email}), 400, "password_required")
    assert not User.objects.filter(email=email).exists()


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_admin_manages_only_those_below(tenant: Tenant, role: str) -> None:
    admin, above = tenant.user("admin"), Tenant(tenant.server, tenant.organization).member(role)
    body = {"email": _address(), "role": role, "password": "a long enough pass-phrase"}
    error_of(admin.post("/auth/members", json=body), 403, "permission_denied")
    error_of(admin.patch(f"/auth/members/{above.id}", json={"role": "viewer"}), 403)
    error_of(admin.delete(f"/auth/members/{above.id}"), 403)
    viewer = tenant.member("viewer")
    error_of(admin.patch(f"/auth/members/{viewer.id}", json={"role": role}), 403)
    above.refresh_from_db()
    viewer.refresh_from_db()
    assert (above.role, viewer.role) == (role, "viewer")


def test_changing_a_role_takes_effect_at_once(tenant: Tenant) -> None:
    developer, member = tenant.user("developer"), tenant.member("developer")
    answer = tenant.user("admin").patch(f"/auth/members/{member.id}", json={"role": "viewer"})
    assert answer.json()["role"] == "viewer"
    assert developer.get("/auth/me").json()["role"] == "viewer"
    error_of(developer.post("/tts/synthesize", json={"text": "no"}), 403)


def test_removed_member_is_out_at_once_but_keeps_the_account(tenant: Tenant) -> None:
    viewer, member = tenant.user("viewer"), tenant.member("viewer")
    assert tenant.user("admin").delete(f"/auth/members/{member.id}").status_code == 204
    error_of(viewer.get("/auth/me"), 401)
    assert User.objects.filter(id=member.user_id).exists()
    assert not Membership.objects.filter(id=member.id).exists()


def test_last_owner_stays(tenant: Tenant) -> None:
    owner, member = tenant.user("owner"), tenant.member("owner")
    error_of(owner.delete(f"/auth/members/{member.id}"), 409, "last_owner")
    error_of(owner.patch(f"/auth/members/{member.id}", json={"role": "admin"}), 409, "last_owner")
    second = Tenant(tenant.server, tenant.organization).member("owner")
    assert owner.delete(f"/auth/members/{member.id}").status_code == 204
    assert list(Membership.objects.filter(organization=tenant.organization, role="owner")) == [second]


def test_two_owners_who_demote_each_other_do_not_both_succeed(tenant: Tenant) -> None:
    twin = Tenant(tenant.server, tenant.organization)
    clients, members = [tenant.user("owner"), twin.user("owner")], [twin.member("owner"), tenant.member("owner")]
    barrier, statuses = threading.Barrier(2), []

    def demote(client: Client, member: Membership) -> None:
        barrier.wait()
        statuses.append(client.patch(f"/auth/members/{member.id}", json={"role": "viewer"}).status_code)

    threads = [threading.Thread(target=demote, args=pair) for pair in zip(clients, members, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 in statuses
    assert Membership.objects.filter(organization=tenant.organization, role="owner").count() == 1


def test_list_and_one(tenant: Tenant, other_tenant: Tenant) -> None:
    members = {role: tenant.member(role) for role in ("owner", "admin", "viewer")}
    other_tenant.member("owner")
    page = tenant.user("admin").get("/auth/members").json()
    assert {row["id"] for row in page["results"]} == {str(member.id) for member in members.values()}
    assert page["count"] == 3
    one = tenant.user("admin").get(f"/auth/members/{members['viewer'].id}").json()
    assert one["user"]["email"] == members["viewer"].user.email
    assert one["role"] == "viewer"
