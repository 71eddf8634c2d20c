"""/auth/invitations: by e-mail, into an account that exists or a new one."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Invitation, Membership, User
from audit.models import AuditEntry
from tests.api.mail import link_in, wait_for_mail
from tests.conftest import PASSWORD, Client, Tenant, error_of

NEW_PASSWORD = "quite a long pass-phrase"


def address() -> str:
    return f"{uuid.uuid4().hex[:12]}@example.com"


def token(url: str) -> str:
    return url.rsplit("/", 1)[1]


def test_somebody_new_joins(tenant: Tenant, anonymous: Client) -> None:
    email = address()
    answer = tenant.user("admin").post("/auth/invitations", json={"email": email.upper(), "role": "developer"})
    assert answer.status_code == 201, answer.text
    message = wait_for_mail(email)
    assert link_in(message) == answer.json()["url"]
    assert link_in(message).startswith(f"{tenant.server}/dashboard/invitation/")
    assert tenant.organization.name in message.subject

    body = {"token": token(link_in(message)), "name": "Nina", "password": NEW_PASSWORD}
    error_of(anonymous.post("/auth/invitations/accept", json={**body, "password": "short"}), 400, "password_weak")
    accepted = anonymous.post("/auth/invitations/accept", json=body)
    assert accepted.status_code == 201, accepted.text
    assert accepted.json()["organization"]["slug"] == tenant.organization.slug
    member = Membership.objects.get(organization=tenant.organization, user__email=email)
    assert (member.role, member.user.name) == ("developer", "Nina")
    assert anonymous.post("/auth/login", json={"email": email, "password": NEW_PASSWORD}).status_code == 200
    error_of(anonymous.post("/auth/invitations/accept", json=body), 404, "invitation_invalid")
    assert tenant.user("admin").get("/auth/invitations").json()["count"] == 0
    assert AuditEntry.objects.filter(organization=tenant.organization, action="member.joined").count() == 1


def test_an_account_that_exists_joins_with_its_password(tenant: Tenant, other_tenant: Tenant) -> None:
    user = other_tenant.member("viewer").user
    url = tenant.user("owner").post("/auth/invitations", json={"email": user.email, "role": "admin"}).json()["url"]
    client = Client(tenant.server)
    body = {"token": token(url), "password": "guessed"}
    error_of(client.post("/auth/invitations/accept", json=body), 401, "wrong_credentials")
    assert not Membership.objects.filter(organization=tenant.organization, user=user).exists()
    assert client.post("/auth/invitations/accept", json={**body, "password": PASSWORD}).status_code == 201
    assert Membership.objects.get(organization=tenant.organization, user=user).role == "admin"
    assert User.objects.filter(email=user.email).count() == 1


def test_a_new_link_ends_the_old_one(tenant: Tenant, anonymous: Client) -> None:
    email = address()
    admin = tenant.user("admin")
    first = admin.post("/auth/invitations", json={"email": email, "role": "viewer"}).json()
    again = admin.post("/auth/invitations", json={"email": email, "role": "developer"}).json()
    assert first["id"] == again["id"]
    resent = admin.post(f"/auth/invitations/{again['id']}/resend").json()
    assert len({first["url"], again["url"], resent["url"]}) == 3
    wait_for_mail(email, 3)
    for url in (first["url"], again["url"]):
        body = {"token": token(url), "password": NEW_PASSWORD}
        error_of(anonymous.post("/auth/invitations/accept", json=body), 404, "invitation_invalid")
    body = {"token": token(resent["url"]), "password": NEW_PASSWORD}
    assert anonymous.post("/auth/invitations/accept", json=body).json()["role"] == "developer"


@pytest.mark.parametrize("end", ["withdrawn", "expired", "forged", "nonsense"])
def test_refuses_links_that_are_not_valid(tenant: Tenant, anonymous: Client, end: str) -> None:
    sent = tenant.user("admin").post("/auth/invitations", json={"email": address(), "role": "viewer"}).json()
    given = token(sent["url"])
    if end == "withdrawn":
        assert tenant.user("admin").delete(f"/auth/invitations/{sent['id']}").status_code == 204
    elif end == "expired":
        Invitation.objects.filter(id=sent["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    elif end == "forged":
        given = given[:-2] + ("aa" if not given.endswith("aa") else "bb")
    else:
        given = "é.%00"
    body = {"token": given, "password": NEW_PASSWORD}
    error_of(anonymous.post("/auth/invitations/accept", json=body), 404, "invitation_invalid")


def test_nobody_invites_above_themselves(tenant: Tenant) -> None:
    email = address()
    error_of(tenant.user("admin").post("/auth/invitations", json={"email": email, "role": "owner"}), 403)
    error_of(tenant.user("admin").post("/auth/invitations", json={"email": email, "role": "admin"}), 403)
    made = tenant.user("owner").post("/auth/invitations", json={"email": email, "role": "owner"}).json()
    error_of(tenant.user("admin").post("/auth/invitations", json={"email": email, "role": "viewer"}), 403)
    error_of(tenant.user("admin").delete(f"/auth/invitations/{made['id']}"), 403)
    assert Invitation.objects.get(id=made["id"]).role == "owner"
    here = {"email": tenant.member("developer").user.email, "role": "viewer"}
    error_of(tenant.user("owner").post("/auth/invitations", json=here), 409, "member_exists")
