"""Who may open a socket, and how one ends: on a socket of the tests' own, served by uvicorn."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from django.urls import path
from websockets.exceptions import InvalidStatus

from accounts import client_tokens, services, tokens
from accounts.actors import Access
from accounts.models import Role
from common import errors
from sockets.consumer import Socket, open_sockets
from sockets.routing import Router
from tests.browser import signed_in
from tests.conftest import Client, Tenant
from tests.live.support import connect, receive, rest, serving
from tests.ml.stt_support import wait_for


class Echo(Socket):
    """Answers with what it is told, and who told it."""

    access = Access(role=Role.DEVELOPER, scope="stt")

    async def opened(self) -> None:
        await self.send_json({"type": "hello", "organization": self.actor.organization.slug, "actor": self.actor.id})

    async def received_text(self, text: str) -> None:
        if text == "refuse":
            raise errors.InvalidRequest("Not this.", param="text")
        if text == "break":
            raise RuntimeError("secret detail")
        await self.send_json({"type": "echo", "text": text})

    async def received_bytes(self, data: bytes) -> None:
        await self.send_bytes(data[::-1])


@pytest.fixture(scope="module")
def echo(database: None) -> Iterator[str]:
    with serving(Router([path("echo", Echo.as_asgi())])) as url:
        yield f"{url}/echo"


def outcome(url: str, headers: dict[str, str] | None = None) -> tuple[str, int | None]:
    """("hello", None) for somebody who is let in, else the error's code and the close code."""
    with connect(url, headers) as socket:
        first = receive(socket)
        if first["type"] == "hello":
            return "hello", None
        assert set(first["error"]) >= {"type", "code", "message", "param", "request_id"}
        _, code = rest(socket)
        return first["error"]["code"], code


def bearer(tenant: Tenant, role: str) -> dict[str, str]:
    _, pair = tokens.open_session(membership=tenant.member(role), address=None, user_agent="tests")
    return {"Authorization": f"Bearer {pair.access_token}"}


def client_token(tenant: Tenant, *, seconds: int = 60, scope: str = "stt", **options) -> str:
    actor = options.pop("actor", None) or tenant.actor("developer")
    return client_tokens.issue(actor=actor, scope=scope, session_id=uuid.uuid4(), seconds=seconds, **options)[0]


@pytest.mark.parametrize(
    ("role", "expected"),
    [("viewer", ("permission_denied", 4403)), ("developer", ("hello", None)), ("owner", ("hello", None))],
)
def test_roles(echo: str, tenant: Tenant, role: str, expected: tuple) -> None:
    assert outcome(echo, bearer(tenant, role)) == expected


def test_keys(echo: str, tenant: Tenant) -> None:
    row, key = tenant.new_key("stt")
    assert outcome(echo, {"x-api-key": key}) == ("hello", None)
    assert outcome(echo, {"Authorization": f"Bearer {key}"}) == ("hello", None)
    assert outcome(echo, {"x-api-key": tenant.new_key("tts")[1]}) == ("scope_missing", 4403)
    assert outcome(echo, {"x-api-key": key[:-1] + "?"}) == ("api_key_invalid", 4401)
    services.revoke_api_key(actor=tenant.actor(), api_key=row)
    assert outcome(echo, {"x-api-key": key}) == ("api_key_invalid", 4401)


def test_nobody_is_refused(echo: str) -> None:
    assert outcome(echo) == ("not_authenticated", 4401)
    assert outcome(echo, {"Authorization": "Bearer nonsense"}) == ("token_invalid", 4401)


def test_client_tokens(echo: str, tenant: Tenant) -> None:
    good = client_token(tenant)
    assert outcome(f"{echo}?client_token={good}") == ("hello", None)
    assert outcome(f"{echo}?client_token={good}?client_token={good}") == ("hello", None)  # appended twice
    assert outcome(f"{echo}?client_token={good[:-2]}aa") == ("client_token_invalid", 4401)
    assert outcome(f"{echo}?client_token=nonsense") == ("client_token_invalid", 4401)
    assert outcome(f"{echo}?client_token={client_token(tenant, seconds=-1)}") == ("client_token_expired", 4401)
    assert outcome(f"{echo}?client_token={client_token(tenant, scope='tts')}") == ("scope_missing", 4403)


def test_client_token_is_bound_to_pages(echo: str, tenant: Tenant) -> None:
    token = client_token(tenant, allowed_origins=["https://app.example.com"])
    url = f"{echo}?client_token={token}"
    assert outcome(url, {"Origin": "https://app.example.com"}) == ("hello", None)
    assert outcome(url, {"Origin": "https://evil.example.com"}) == ("origin_not_allowed", 4403)
    assert outcome(url) == ("origin_not_allowed", 4403)


def test_client_token_ends_with_its_maker(echo: str, tenant: Tenant) -> None:
    from accounts.actors import Actor

    row, _ = tenant.new_key("stt")
    of_key = client_token(tenant, actor=Actor(organization=tenant.organization, role="developer", api_key=row))
    session, _ = tokens.open_session(membership=tenant.member("developer"), address=None, user_agent="tests")
    user = tenant.member("developer").user
    of_login = client_token(
        tenant,
        actor=Actor(organization=tenant.organization, role="developer", user=user, login_session=session),
    )
    of_user = client_token(tenant)
    for token in (of_key, of_login, of_user):
        assert outcome(f"{echo}?client_token={token}") == ("hello", None)
    services.revoke_api_key(actor=tenant.actor(), api_key=row)
    tokens.revoke(session)
    tenant.member("developer").delete()
    for token in (of_key, of_login, of_user):
        assert outcome(f"{echo}?client_token={token}") == ("client_token_invalid", 4401)


def test_client_token_is_no_credential_of_the_api(tenant: Tenant) -> None:
    client = Client(tenant.server, {"Authorization": f"Bearer {client_token(tenant)}"})
    assert client.get("/stt/jobs").status_code == 401


def test_dashboard_cookie_only_from_our_own_pages(echo: str, tenant: Tenant) -> None:
    client = signed_in(tenant, "developer")
    cookie = {"Cookie": f"sessionid={client.cookies['sessionid']}"}
    own = echo.replace("ws://", "http://").removesuffix("/echo")
    assert outcome(echo, {**cookie, "Origin": own}) == ("hello", None)
    assert outcome(echo, {**cookie, "Origin": "https://evil.example.com"}) == ("origin_not_allowed", 4403)
    assert outcome(echo, cookie) == ("origin_not_allowed", 4403)
    assert outcome(echo, {"Cookie": "sessionid=unknown", "Origin": own}) == ("session_ended", 4401)


def test_opening_counts_as_a_request(echo: str, tenant: Tenant) -> None:
    _, key = tenant.new_key("stt", rate_limit=2)
    headers = {"x-api-key": key}
    assert [outcome(echo, headers) for _ in range(3)] == [("hello", None), ("hello", None), ("rate_limited", 4429)]


def test_messages_errors_and_faults(echo: str, tenant: Tenant) -> None:
    headers = bearer(tenant, "developer")
    with connect(echo, {**headers, "X-Request-ID": "mine-1"}) as socket:
        assert receive(socket)["organization"] == tenant.organization.slug
        socket.send("one")
        assert receive(socket) == {"type": "echo", "text": "one"}
        socket.send(b"abc")
        assert socket.recv(timeout=5) == b"cba"
        socket.send("refuse")
        messages, code = rest(socket)
        error = messages[-1]["error"]
        assert (error["code"], error["param"], error["request_id"], code) == (
            "invalid_request",
            "text",
            "mine-1",
            4400,
        )
    with connect(echo, headers) as socket:
        socket.send("break")
        messages, code = rest(socket)
        assert (messages[-1]["error"]["code"], code) == ("internal_error", 1011)
        assert "secret" not in json.dumps(messages)
    wait_for(lambda: open_sockets() == 0)


def test_unknown_paths_are_refused(echo: str) -> None:
    """With the contract's 404, whoever asks."""
    for suffix in ("/more", "-other"):
        with pytest.raises(InvalidStatus) as refused:
            connect(echo + suffix)
        answer = refused.value.response
        assert answer.status_code == 404
        error = json.loads(answer.body)["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "not_found", None)
        assert error["request_id"] == answer.headers["X-Request-ID"]
