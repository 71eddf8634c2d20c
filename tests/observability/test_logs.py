"""Log lines: JSON with whose work it was, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from accounts import client_tokens
from common import context, logs
from observability import reporting
from tests.conftest import PASSWORD, Client, Tenant
from tests.observability.receivers import receiving, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret


class Log:
    def __init__(self, text: io.StringIO) -> None:
        self._text = text

    @property
    def text(self) -> str:
        return self._text.getvalue()

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in found if wanted.items() <= line.items()]


@contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[Log]:
    """Everything that is logged, as production writes it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logs.JsonFormatter())
    handler.addFilter(logs.RequestContextFilter())
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield Log(text)
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def test_a_line_says_whose_work_it_was(server: str, tenant: Tenant) -> None:
    headers = {"X-Request-ID": "told-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with logged(logging.INFO) as log:
        answer = tenant.key("tts").post("/tts/synthesize", json={"text": "Logged."}, headers=headers)
        found = wait_until(lambda: log.lines(logger="request", request_id="told-1"))
    line = found[0]
    assert line["organization_id"] == str(tenant.organization.id)
    assert line["job_id"] == answer.json()["job_id"]
    assert line["trace_id"] == TRACE
    assert (line["level"], line["status"], line["path"]) == ("INFO", 200, "/api/v1/tts/synthesize")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", line["time"])


def test_the_next_request_says_nothing_of_the_one_before(server: str, tenant: Tenant, anonymous: Client) -> None:
    with logged(logging.INFO) as log:
        tenant.key("tts").post("/tts/synthesize", json={"text": "Logged."})
        for _ in range(8):
            anonymous.get("/version", headers={"X-Request-ID": "told-2"})
        found = wait_until(lambda: log.lines(request_id="told-2"))
    assert {(line["organization_id"], line["job_id"], line["trace_id"]) for line in found} == {("", "", "")}


def test_a_queued_jobs_line_has_its_requests_ids(server: str, tenant: Tenant) -> None:
    client, headers = tenant.key("tts"), {"X-Request-ID": "told-3"}
    with logged(logging.INFO) as log:
        answer = client.post("/tts/synthesize", json={"text": "Later.", "async": True}, headers=headers)
        job_id = answer.json()["job_id"]
        (line,) = wait_until(lambda: log.lines(logger="jobs.queue", message="job", job_id=job_id))
    assert (line["request_id"], line["organization_id"]) == ("told-3", str(tenant.organization.id))
    assert (line["status"], line["task"], line["attempt"]) == ("succeeded", "tts", 1)
    assert {line["job_id"] for line in log.lines(logger="request", request_id="told-3")} == {job_id}


SECRETS_AND_LINES = [
    ("sp_abcdefgh_" + "k" * 32, "the key {} is not valid"),
    ("ct_" + "k" * 40, "GET /?client_token={}"),
    ("whsec_" + "k" * 40, "signed with {}"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "refused {}"),  # pragma: allowlist secret
    ("dXNlcjpwYXNzd29yZA==", "Authorization: Basic {}"),
    ("abc-def_ghi.jkl", "headers={{'Authorization': 'Bearer {}'}}"),
    ("pa55word", "cannot connect to postgresql://speech:{}@db:5432/speech"),
    ("hunter2hunter2", '{{"password": "{}", "email": "a@b.c"}}'),
    ("hunter2hunter2", "password='{}' refused"),
    ("hunter2hunter2", "POST /?api_key={}&x=1"),
    ("sessionid-hunter2", "Cookie: {}"),
]


@pytest.mark.parametrize(("secret", "line"), SECRETS_AND_LINES)
def test_no_formatter_lets_a_secret_through(secret: str, line: str) -> None:
    for formatter in (logs.JsonFormatter(), logs.TextFormatter()):
        record = logging.makeLogRecord({"msg": line.format(secret), "name": "x", "levelname": "ERROR"})
        logs.RequestContextFilter().filter(record)
        told = formatter.format(record)
        assert secret[-8:] not in told
        assert "[redacted]" in told


def test_what_is_no_secret_stays_and_json_stays_json() -> None:
    fields = {"tokens": 5, "secret": None, "path": "/api/v1/media/[token]/speech.wav", "task": "jobs.run(job_id='1')"}
    record = logging.makeLogRecord({"msg": 'the token: "quoted", has expired', "name": "x", **fields})
    logs.RequestContextFilter().filter(record)
    line = json.loads(logs.JsonFormatter().format(record))
    assert {name: line[name] for name in fields} == fields


def test_credentials_are_in_no_line(server: str, tenant: Tenant, anonymous: Client) -> None:
    """Every way in, with credentials that work and with wrong ones, at the most talkative level."""
    with logged() as log:
        secrets = [*_keys_and_tokens(tenant, anonymous), *_passwords(tenant, anonymous), *_links(tenant, anonymous)]
        wait_until(lambda: log.lines(logger="request"))
    assert len(log.text.splitlines()) > 20
    for name, secret in secrets:
        assert secret
        assert secret not in log.text, name
    assert "[token]" in log.text


def _keys_and_tokens(tenant: Tenant, anonymous: Client) -> Iterator[tuple[str, str]]:
    _, key = tenant.new_key("tts")
    wrong = key[:-8] + uuid.uuid4().hex[:8]
    for name, secret in (("key", key), ("wrong key", wrong)):
        anonymous.get("/tts/voices", headers={"x-api-key": secret})
        anonymous.get("/tts/voices", headers={"Authorization": f"Bearer {secret}"})
        anonymous.get(f"/tts/voices?api_key={secret}")
        yield name, secret
    token, _ = client_tokens.issue(actor=tenant.actor(), scope="tts", session_id=uuid.uuid4(), seconds=60)
    url = f"{tenant.server.replace('http', 'ws')}/api/v1/tts/stream"
    for name, secret in (("client token", token), ("wrong client token", "ct_" + uuid.uuid4().hex)):
        with suppress(WebSocketException), connect(f"{url}?client_token={secret}", proxy=None) as socket:
            socket.close()
        yield name, secret
    created = tenant.user("owner").post("/auth/api-keys", json={"name": "n", "scopes": ["tts"]})
    yield "created key", created.json()["key"]
    hook = tenant.user("owner").post("/webhooks", json={"url": "https://example.com/h", "events": ["job.succeeded"]})
    assert hook.status_code in (200, 201, 400), hook.text
    if hook.status_code < 300:
        yield "webhook's secret", hook.json()["secret"]


def _passwords(tenant: Tenant, anonymous: Client) -> Iterator[tuple[str, str]]:
    email, wrong = tenant.member("owner").user.email, "wrong-" + uuid.uuid4().hex
    body = anonymous.post("/auth/login", json={"email": email, "password": PASSWORD}).json()
    anonymous.post("/auth/login", json={"email": email, "password": wrong})
    anonymous.post("/auth/refresh", json={"refresh_token": body["refresh_token"]})
    anonymous.post("/auth/refresh", json={"refresh_token": body["refresh_token"]})  # used up
    anonymous.get("/auth/me", headers={"Authorization": f"Bearer {body['access_token']}"})
    yield from [("password", PASSWORD), ("wrong password", wrong)]
    yield from [("access token", body["access_token"]), ("refresh token", body["refresh_token"])]
    page = anonymous.post("//dashboard/login", data={"email": email, "password": PASSWORD})
    assert page.status_code < 500
    for name in ("sessionid", "csrftoken"):
        if secret := anonymous.cookies.get(name):
            yield name, secret


def _links(tenant: Tenant, anonymous: Client) -> Iterator[tuple[str, str]]:
    audio = tenant.key("tts").post("/tts/synthesize", json={"text": "Linked."}).json()["audio_url"]
    assert anonymous.get(audio).status_code == 200
    yield "audio link", audio.split("/media/")[1].split("/")[0]
    invitation = tenant.user("owner").post(
        "/auth/invitations", json={"email": f"{uuid.uuid4().hex}@example.com", "role": "viewer"}
    )
    link = re.search(r"/invitation/([^\"\s]+)", invitation.text)
    if link:
        anonymous.get(f"//dashboard/invitation/{link[1]}")
        yield "invitation", link[1]
    wrong = "wrong-" + uuid.uuid4().hex
    anonymous.get(f"//dashboard/password/reset/{wrong}")
    anonymous.get(f"//dashboard/invitation/{wrong}")
    anonymous.post("/auth/password/reset/confirm", json={"token": wrong, "password": wrong})
    yield "wrong link", wrong


# ── Error reports ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_faults_are_reported(settings: Any) -> None:
    import sentry_sdk

    secret, log = "hunter2" + uuid.uuid4().hex, logging.getLogger("tests.reporting")
    with receiving() as receiver:
        settings.ERROR_REPORTING_DSN = f"http://public@127.0.0.1:{receiver.port}/1"
        reporting.start()
        try:
            context.begin("report-1", organization="organisation-1", job="job-1", trace=TRACE)
            log.warning("only a warning")
            _fail(secret, log)
            sentry_sdk.flush(10)
            events = wait_until(receiver.events)
            body = b"".join(body for _, body in receiver.posts)
        finally:
            context.begin("")
            sentry_sdk.get_client().close(timeout=2)
            sentry_sdk.get_global_scope().set_client(None)
    assert len(events) == 1
    event = events[0]
    assert event["level"] == "error"
    assert event["tags"] == {
        "request_id": "report-1", "organization_id": "organisation-1", "job_id": "job-1", "trace_id": TRACE,
    }  # fmt: skip
    exception = event["exception"]["values"][-1]
    assert exception["type"] == "ConnectionError"
    assert "[redacted]" in exception["value"]
    assert secret.encode() not in body
    assert "user" not in event
    assert "request" not in event


def _fail(secret: str, log: logging.Logger) -> None:
    password = secret  # a local variable, which is not told either
    try:
        raise ConnectionError(f"postgresql://speech:{password}@db/speech does not answer")
    except ConnectionError:
        log.exception("the job failed")
