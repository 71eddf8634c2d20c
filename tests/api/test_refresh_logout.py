"""POST /auth/refresh and /auth/logout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import LoginSession, Membership
from tests.conftest import PASSWORD, Client, Tenant, error_of


def _log_in(tenant: Tenant, client: Client, role: str = "developer") -> Mapping[str, str]:
    body = {"email": tenant.member(role).user.email, "password": PASSWORD}
    answer = client.post("/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _me(client: Client, tokens: Mapping[str, str]) -> int:
    return client.get("/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"}).status_code


def test_refresh_gives_a_new_pair_and_refuses_the_old_token(tenant: Tenant, anonymous: Client) -> None:
    first = _log_in(tenant, anonymous)
    answer = anonymous.post("/auth/refresh", json={"refresh_token": first["refresh_token"]})
    assert answer.status_code == 200, answer.text
    second = answer.json()
    assert set(second) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert second["refresh_token"] != first["refresh_token"]
    assert _me(anonymous, second) == 200
    third = anonymous.post("/auth/refresh", json={"refresh_token": second["refresh_token"]})
    assert third.status_code == 200


def test_using_a_refresh_token_twice_ends_the_session(tenant: Tenant, anonymous: Client) -> None:
    first = _log_in(tenant, anonymous)
    body = {"refresh_token": first["refresh_token"]}
    second = anonymous.post("/auth/refresh", json=body).json()
    error_of(anonymous.post("/auth/refresh", json=body), 401, "refresh_token_used")
    # Whoever copied the token is shut out, and so is its owner, who notices.
    assert _me(anonymous, second) == 401
    error_of(anonymous.post("/auth/refresh", json={"refresh_token": second["refresh_token"]}), 401)
    assert LoginSession.objects.get(membership=tenant.member("developer")).revoked_at is not None


def test_log_out_ends_this_session_only(tenant: Tenant, anonymous: Client) -> None:
    here, elsewhere = _log_in(tenant, anonymous), _log_in(tenant, anonymous)
    answer = anonymous.post("/auth/logout", headers={"Authorization": f"Bearer {here['access_token']}"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert _me(anonymous, here) == 401
    error_of(anonymous.post("/auth/refresh", json={"refresh_token": here["refresh_token"]}), 401)
    assert _me(anonymous, elsewhere) == 200


def test_rejects_what_is_no_refresh_token(tenant: Tenant, anonymous: Client) -> None:
    tokens = _log_in(tenant, anonymous)
    signature = tokens["refresh_token"].rpartition(".")[2]
    forged = tokens["refresh_token"].replace(signature, signature[::-1])
    for token in (tokens["access_token"], forged, "x", "a.b.c", "é" * 10):
        error_of(anonymous.post("/auth/refresh", json={"refresh_token": token}), 401, "token_invalid")
    assert error_of(anonymous.post("/auth/refresh", json={}), 400)["param"] == "refresh_token"


def test_refresh_token_is_no_access_token(tenant: Tenant, anonymous: Client) -> None:
    tokens = _log_in(tenant, anonymous)
    answer = anonymous.get("/auth/me", headers={"Authorization": f"Bearer {tokens['refresh_token']}"})
    error_of(answer, 401, "token_invalid")


def test_rejects_expired_session(tenant: Tenant, anonymous: Client) -> None:
    tokens = _log_in(tenant, anonymous)
    past = timezone.now() - timedelta(seconds=1)
    LoginSession.objects.filter(membership=tenant.member("developer")).update(expires_at=past)
    error_of(anonymous.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}), 401)


def _demote(member: Membership) -> None:
    Membership.objects.filter(id=member.id).update(role="viewer")


def _remove(member: Membership) -> None:
    member.delete()


def _deactivate_user(member: Membership) -> None:
    member.user.is_active = False
    member.user.save()


def _deactivate_organization(member: Membership) -> None:
    member.organization.is_active = False
    member.organization.save()


@pytest.mark.parametrize(
    ("change", "status"),
    [(_demote, 200), (_remove, 401), (_deactivate_user, 401), (_deactivate_organization, 401)],
)
def test_changes_take_effect_at_the_next_request(
    tenant: Tenant, anonymous: Client, change: object, status: int
) -> None:
    tokens = _log_in(tenant, anonymous)
    change(tenant.member("developer"))  # type: ignore[operator]
    assert _me(anonymous, tokens) == status
    assert anonymous.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == status
    if status == 200:
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        answer = anonymous.post("/tts/synthesize", json={"text": "no"}, headers=headers)
        error_of(answer, 403, "permission_denied")
