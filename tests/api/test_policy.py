"""/auth/policy: networks, keys' lives, two-factor and idle sign-ins, wherever credentials are taken."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from accounts import authentication, client_tokens, policies, tokens, two_factor
from accounts.models import ApiKey, BrowserSession, LoginSession, SecurityPolicy
from audit.models import AuditEntry
from common import context, errors
from tests.browser import Browser, signed_in, text_of
from tests.conftest import PASSWORD, Client, Tenant, error_of

HERE, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def closed(tenant: Tenant) -> Tenant:
    """Of an organisation that only HERE may call."""
    SecurityPolicy.objects.create(organization=tenant.organization, networks=["192.0.2.0/24", "2001:db8::/32"])
    return tenant


def at(client: Client, address: str) -> Client:
    client.headers["X-Forwarded-For"] = address
    return client


# ── Networks ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/auth/me", "//v1/models", "//v1/audio/voices", "/tts/voices"])
def test_keys_act_from_allowed_networks_alone(closed: Tenant, path: str) -> None:
    key = closed.key()
    assert at(key, HERE).get(path).status_code == 200
    assert at(key, "2001:db8::1").get(path).status_code == 200
    refused = at(key, ELSEWHERE).get(path)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "address_not_allowed"
    assert ELSEWHERE in refused.json()["error"]["message"]


def test_deepgrams_routes_are_closed_too(closed: Tenant) -> None:
    _, key = closed.new_key("stt")
    client = Client(closed.server, {"Authorization": f"Token {key}", "Content-Type": "audio/wav"})
    assert at(client, ELSEWHERE).post("//v1/listen", content=b"RIFF").status_code == 403
    assert at(client, HERE).post("//v1/listen", content=b"RIFF").status_code != 403


@pytest.mark.parametrize("path", ["/api/v1/stt/stream", "/v1/realtime?intent=transcription", "/v1/listen"])
def test_sockets_are_closed_too(closed: Tenant, path: str) -> None:
    _, key = closed.new_key("stt")
    assert _opened(closed, path, key, HERE)
    assert not _opened(closed, path, key, ELSEWHERE)


def _opened(tenant: Tenant, path: str, key: str, address: str) -> bool:
    headers = {"x-api-key": key, "X-Forwarded-For": address}
    url = tenant.server.replace("http", "ws") + path
    with suppress(InvalidStatus, ConnectionClosed), connect(url, additional_headers=headers, proxy=None) as socket:
        if path.startswith("/api"):
            socket.send('{"type": "start", "sample_rate": 16000, "encoding": "pcm_s16le"}')
        else:
            socket.send('{"type": "CloseStream"}')
        return "address_not_allowed" not in str(socket.recv(timeout=60))
    return False


def test_client_tokens_carry_the_keys_networks(tenant: Tenant) -> None:
    row, _ = tenant.new_key("stt", networks=[HERE])
    actor = authentication.actor_of_key_row(row)
    token, claims = client_tokens.issue(actor=actor, scope="stt", session_id=row.id, seconds=60)
    with _calling_from(ELSEWHERE), pytest.raises(errors.PermissionDenied, match=ELSEWHERE):
        client_tokens.redeem(token, scope="stt", origin=None)
    with _calling_from(HERE):
        assert client_tokens.redeem(token, scope="stt", origin=None)[1] == claims


def test_members_act_from_allowed_networks_alone(closed: Tenant) -> None:
    user = closed.user("viewer")
    assert at(user, HERE).get("/auth/me").status_code == 200
    error_of(at(user, ELSEWHERE).get("/auth/me"), 403, "address_not_allowed")
    entry = AuditEntry.objects.get(organization=closed.organization, action="auth.address_refused")
    assert (entry.address, entry.actor_label) == (ELSEWHERE, closed.member("viewer").user.email)
    login = {"email": closed.member("viewer").user.email, "password": PASSWORD}
    error_of(at(Client(closed.server), ELSEWHERE).post("/auth/login", json=login), 403, "address_not_allowed")
    pair = at(Client(closed.server), HERE).post("/auth/login", json=login).json()
    refresh = {"refresh_token": pair["refresh_token"]}
    error_of(at(Client(closed.server), ELSEWHERE).post("/auth/refresh", json=refresh), 403, "address_not_allowed")
    assert at(Client(closed.server), HERE).post("/auth/refresh", json=refresh).status_code == 200


def test_browsers_act_from_allowed_networks_alone(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    SecurityPolicy.objects.create(organization=tenant.organization, networks=["192.0.2.0/24"])
    assert at(browser, HERE).get("/dashboard").status_code == 200
    refused = at(browser, ELSEWHERE).get("/dashboard")
    assert refused.status_code == 403
    assert ELSEWHERE in text_of(refused)
    assert browser.get("/dashboard/account").status_code == 200  # one's own account belongs to no organisation
    events = Browser(tenant.server, {"Cookie": f"sessionid={browser.cookies['sessionid']}"})
    assert at(events, ELSEWHERE).get("/api/v1/jobs/events").status_code == 403
    assert browser.get("/admin/").status_code == 403


def test_key_with_networks_of_its_own(tenant: Tenant) -> None:
    made = tenant.user("admin").post(
        "/auth/api-keys", json={"name": "till", "scopes": ["tts"], "networks": [HERE, "2001:db8::/48", HERE]}
    )
    assert made.json()["networks"] == [f"{HERE}/32", "2001:db8::/48"]
    key = Client(tenant.server, {"x-api-key": made.json()["key"]})
    assert at(key, HERE).get("/auth/me").status_code == 200
    error_of(at(key, ELSEWHERE).get("/auth/me"), 403, "address_not_allowed")
    path = f"/auth/api-keys/{made.json()['id']}"
    assert tenant.user("admin").patch(path, json={"networks": []}).json()["networks"] == []
    assert key.get("/auth/me").status_code == 200


def test_mapped_and_unknown_addresses() -> None:
    assert policies.contains(["192.0.2.0/24"], f"::ffff:{HERE}")
    assert not policies.contains(["192.0.2.0/24"], f"::ffff:{ELSEWHERE}")
    assert not policies.contains(["192.0.2.0/24"], None)
    assert policies.contains([], None)


def test_costs_no_query(closed: Tenant) -> None:
    row, key = closed.new_key("tts", networks=[HERE])
    ApiKey.objects.filter(id=row.id).update(last_used_at=timezone.now())
    _, pair = tokens.open_session(membership=closed.member("viewer"), address=None, user_agent="")
    with _calling_from(HERE):
        for credential in (key, pair.access_token):
            with CaptureQueriesContext(connection) as queries:
                policies.check_sign_in(authentication.authenticate_credential(credential))
            assert len(queries) == 1, queries.captured_queries


# ── Changing the policy ─────────────────────────────────────────────────────────────────────────────────────────────


def test_policy_is_changed_and_audited(tenant: Tenant) -> None:
    admin = at(tenant.user("admin"), HERE)
    before = admin.get("/auth/policy").json()
    assert (before["networks"], before["key_max_days"], before["address"]) == ([], None, HERE)
    answer = admin.patch("/auth/policy", json={"networks": ["192.0.2.0/24"], "key_max_days": 30}).json()
    assert (answer["networks"], answer["key_max_days"], answer["idle_minutes"]) == (["192.0.2.0/24"], 30, None)
    entry = AuditEntry.objects.get(organization=tenant.organization, action="security_policy.changed")
    assert entry.details["changes"] == {"networks": ["192.0.2.0/24"], "key_max_days": 30}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"networks": ["192.0.2.0/24"]}, "would_lock_out"),
        ({"networks": ["192.0.2.9/24"]}, "network_invalid"),  # has host bits: is it the host or the network?
        ({"networks": ["0.0.0.0/0"]}, "network_invalid"),
        ({"networks": ["office"]}, "network_invalid"),
        ({"require_two_factor": True}, "would_lock_out"),
        ({"idle_minutes": 1}, "parameter_min_value"),
    ],
)
def test_refuses(tenant: Tenant, fields: dict[str, Any], code: str) -> None:
    answer = at(tenant.user("owner"), ELSEWHERE).patch("/auth/policy", json=fields)
    assert error_of(answer, 400, code)["param"] == next(iter(fields))
    assert not SecurityPolicy.objects.filter(organization=tenant.organization).exclude(networks=[]).exists()


# ── Keys' lives ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_keys_live_no_longer_than_allowed(tenant: Tenant) -> None:
    old, _ = tenant.new_key("tts")
    admin = tenant.user("admin")
    assert admin.patch("/auth/policy", json={"key_max_days": 30}).json()["api_keys_outside"] == 1
    body = {"name": "new", "scopes": ["tts"]}
    error_of(admin.post("/auth/api-keys", json=body), 400, "key_must_expire")
    late, soon = (timezone.now() + timedelta(days=days) for days in (31, 30))
    body["expires_at"] = late.isoformat()
    error_of(admin.post("/auth/api-keys", json=body), 400, "key_lives_too_long")
    body["expires_at"] = soon.isoformat()
    made = admin.post("/auth/api-keys", json=body).json()
    path = f"/auth/api-keys/{made['id']}"
    error_of(admin.patch(path, json={"expires_at": late.isoformat()}), 400, "key_lives_too_long")
    assert admin.patch(path, json={"name": "renamed"}).status_code == 200
    rotated = admin.post(f"/auth/api-keys/{old.id}/rotate").json()
    assert rotated["expires_at"] is not None
    assert admin.get("/auth/policy").json()["api_keys_outside"] == 0


def test_keys_must_expire_some_time(tenant: Tenant) -> None:
    row, _ = tenant.new_key("tts")
    SecurityPolicy.objects.create(organization=tenant.organization, keys_must_expire=True)
    admin = tenant.user("admin")
    error_of(admin.post(f"/auth/api-keys/{row.id}/rotate"), 400, "key_must_expire")
    in_years = (timezone.now() + timedelta(days=2000)).isoformat()
    assert admin.patch(f"/auth/api-keys/{row.id}", json={"expires_at": in_years}).status_code == 200
    assert admin.post(f"/auth/api-keys/{row.id}/rotate").status_code == 200


# ── Members ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_factor_is_required(tenant: Tenant) -> None:
    SecurityPolicy.objects.create(organization=tenant.organization, require_two_factor=True)
    user, browser = tenant.user("developer"), signed_in(tenant, "developer")
    error_of(user.get("/tts/jobs"), 403, "two_factor_required")
    assert browser.get("/dashboard").headers["Location"] == "/dashboard/account/two-factor"
    assert browser.get("/dashboard/account/two-factor").status_code == 200
    assert tenant.key("tts").get("/tts/jobs").status_code == 200  # a program has no phone
    assert user.post("/auth/two-factor").status_code == 200
    row = two_factor.pending(user=tenant.member("developer").user)
    row.confirmed_at = timezone.now()
    row.save()
    assert user.get("/tts/jobs").status_code == 200
    assert browser.get("/dashboard").status_code == 200


def test_idle_sign_ins_end(tenant: Tenant) -> None:
    SecurityPolicy.objects.create(organization=tenant.organization, idle_minutes=10)
    browser = signed_in(tenant, "viewer")
    assert browser.get("/dashboard").status_code == 200
    login = {"email": tenant.member("viewer").user.email, "password": PASSWORD}
    anonymous = Client(tenant.server)
    pairs = [anonymous.post("/auth/login", json=login).json()["refresh_token"] for _ in range(2)]
    _idle(tenant, minutes=9)
    assert anonymous.post("/auth/refresh", json={"refresh_token": pairs[0]}).status_code == 200
    assert browser.get("/dashboard").status_code == 200
    _idle(tenant, minutes=90)
    error_of(anonymous.post("/auth/refresh", json={"refresh_token": pairs[1]}), 401)
    assert browser.get("/dashboard").headers["Location"].startswith("/dashboard/login")
    assert not BrowserSession.objects.filter(user=tenant.member("viewer").user).exists()


def _idle(tenant: Tenant, *, minutes: int) -> None:
    """As if nobody had done anything for so long."""
    from django.contrib.sessions.backends.db import SessionStore

    ago = timezone.now() - timedelta(minutes=minutes)
    user = tenant.member("viewer").user
    LoginSession.objects.filter(membership__user=user).update(refreshed_at=ago)
    for row in BrowserSession.objects.filter(user=user):
        store = SessionStore(row.session_id)
        store["used_at"] = ago.timestamp()
        store.save()


class _calling_from:
    def __init__(self, address: str) -> None:
        self._origin = context.Origin(address)

    def __enter__(self) -> None:
        self._token = context.origin.set(self._origin)

    def __exit__(self, *_: object) -> None:
        context.origin.reset(self._token)
