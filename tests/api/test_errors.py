"""One error shape everywhere, and a request id on every answer."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import default_storage
from django.db import connection

from analytics.models import UsageRecord
from common import storage
from common.asgi import ANONYMOUS_MAX_BYTES
from tests.api.routes import methods, routes
from tests.conftest import Client, Tenant, error_of
from tts import services as tts
from tts.models import TtsJob


@pytest.mark.parametrize("path", ["//nothing", "//api/v1/nothing", "//api/v2/tts/jobs", "/tts/", "/tts/jobs/", "//%00"])
def test_404_outside_views(tenant: Tenant, anonymous: Client, path: str) -> None:
    for client in (anonymous, tenant.user("owner")):
        for method in ("GET", "POST", "DELETE"):
            error = error_of(client.request(method, path), 404, "not_found")
            assert error["type"] == "invalid_request_error"
    assert anonymous.head(path).status_code == 404


def test_405(tenant: Tenant) -> None:
    answer = tenant.key("tts").get("/tts/synthesize")
    error_of(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    error_of(Client(tenant.server).get("/auth/login"), 405, "method_not_allowed")
    error_of(Client(tenant.server).post("//health"), 405, "method_not_allowed")
    error_of(tenant.user("owner").request("PROPFIND", "/tts/jobs"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "x", ""]
)
def test_415(tenant: Tenant, content_type: str) -> None:
    answer = tenant.key("tts").post("/tts/synthesize", content=b'{"text": "x"}', headers={"Content-Type": content_type})
    error_of(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["latin-1", "hex", "zlib", "rot13", "idna", "no-such-thing"])
def test_charset_is_always_utf8(tenant: Tenant, charset: str) -> None:
    headers = {"Content-Type": f"application/json; charset={charset}"}
    content = '{"text": "Grüße"}'.encode()
    answer = tenant.key("tts").post("/tts/synthesize?x=1", content=content, headers=headers)
    assert answer.json()["text"] == "Grüße"


def test_malformed_json(anonymous: Client) -> None:
    for content in (b"{", b"{'a': 1}", b"\xff", b"[" * 100_000):
        answer = anonymous.post("/auth/login", content=content, headers={"Content-Type": "application/json"})
        error_of(answer, 400, "malformed_body")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"speed": NaN}', "The body is not valid JSON: NaN is not a number in JSON."),
        ('{"speed": ' + "9" * 5000 + "}", "The JSON has a number of too many digits."),
        (
            "{",
            "The body is not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1).",
        ),
        ("null", "The body must be a JSON object, not null."),
    ],
    ids=["nan", "digits", "cut", "null"],
)
def test_what_is_wrong_with_json_is_a_sentence(tenant: Tenant, content: str, message: str) -> None:
    headers = {"Content-Type": "application/json"}
    error = error_of(tenant.key("tts").post("/tts/synthesize", content=content, headers=headers), 400)
    assert error["message"] == message
    assert error["code"] in ("malformed_body", "invalid")


@pytest.mark.parametrize("path", ["/tts/jobs", "/stt/jobs", "/webhooks", "/audit"])
def test_a_page_that_is_not_there(tenant: Tenant, path: str) -> None:
    assert error_of(tenant.user("admin").get(f"{path}?page=99"), 404, "not_found")["param"] == "page"


# ── Request ids ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_body_at_all(tenant: Tenant) -> None:
    """Neither form nor JSON: what is missing is said, by every endpoint."""
    client = tenant.user("owner")
    for path, callback in routes().items():
        if path.endswith(("/logout", "/initialize", "/reload")):  # they need none
            continue
        for method in {"POST", "PUT", "PATCH"} & set(methods(callback)):
            url = re.sub(r"{\w+}", str(uuid.uuid4()), path)
            answer = client.request(method, f"/{url}")
            assert answer.status_code < 500, (method, path, answer.text)
            assert answer.is_success or path == "/v1/listen" or answer.json()["error"]["code"], (method, path)
    missing = error_of(client.post("/stt/transcribe?model=pocketsphinx-en-us"), 400, "parameter_required")
    assert missing["param"] == "audio_file"


def test_request_id_is_echoed(tenant: Tenant) -> None:
    given = f"trace-{uuid.uuid4()}"
    client = tenant.key("tts")
    answer = client.post("/tts/synthesize", json={"text": "Hello."}, headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    assert TtsJob.objects.get(id=answer.json()["job_id"]).request_id == given
    missing = client.get("//nothing", headers={"X-Request-ID": given})
    assert error_of(missing, 404)["request_id"] == given


@pytest.mark.parametrize(
    "given", [b"a b", b"x" * 129, b"\xe9\xe9", b"<script>", b"a\tb", b'"}', b"${jndi:ldap://x}", b""]
)
def test_nasty_request_id_is_replaced(anonymous: Client, given: bytes) -> None:
    answer = anonymous.get("//health", headers={"X-Request-ID": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_request_ids_differ(anonymous: Client) -> None:
    ids = {anonymous.get(path).headers["X-Request-ID"] for path in ("//health", "//nothing", "/auth/me", "/docs")}
    assert len(ids) == 4


# ── Bodies that are too large ───────────────────────────────────────────────────────────────────────────────────────


def _endless() -> Iterator[bytes]:
    """Chunked: no Content-Length says how much is to come."""
    for _ in range(1000):
        yield b"x" * 65_536


def test_large_anonymous_body_is_refused(anonymous: Client) -> None:
    body = b"x" * (ANONYMOUS_MAX_BYTES + 1)
    for path in ("/auth/login", "/tts/synthesize", "//nothing"):
        answer = anonymous.post(path, content=body, headers={"Content-Type": "application/json"})
        error_of(answer, 413, "request_too_large")


def test_large_json_is_refused(tenant: Tenant) -> None:
    answer = tenant.key("tts").post("/tts/synthesize", json={"text": "x" * 17 * 1024 * 1024})
    error_of(answer, 413, "request_too_large")


@pytest.mark.parametrize("credential", [False, True])
def test_chunked_body_is_stopped(tenant: Tenant, anonymous: Client, credential: bool) -> None:
    client = tenant.key("tts") if credential else anonymous
    try:
        answer = client.post("/tts/synthesize", content=_endless(), headers={"Content-Type": "application/json"})
    except httpx.WriteError:
        return  # the server hung up before all was sent, which is as good
    error_of(answer, 413, "request_too_large")


def test_declared_size_is_refused_at_once(tenant: Tenant) -> None:
    """Before the body is sent."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(tenant.server)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connection:
        head = f"POST /api/v1/stt/transcribe HTTP/1.1\r\nHost: x\r\nx-api-key: {tenant.new_key('stt')[1]}\r\n"
        head += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {10**12}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


# ── Faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_unhandled_exception(tenant: Tenant) -> None:
    """A real fault: the table that the request needs is gone."""
    client = tenant.key("tts")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tts_ttsjob RENAME TO hidden")
    try:
        answer = client.get("/tts/jobs", headers={"X-Request-ID": "the-fault"})
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE hidden RENAME TO tts_ttsjob")
    error = error_of(answer, 500, "internal_error")
    assert (error["type"], error["request_id"]) == ("server_error", "the-fault")
    for secret in ("tts_ttsjob", "Traceback", "psycopg", "relation"):
        assert secret not in answer.text
    assert client.get("/tts/jobs").status_code == 200


def test_a_fault_of_ours_is_none_of_the_storages(tenant: Tenant) -> None:
    """No waiting mends it, so neither a client nor a queued job is told to wait."""
    job = TtsJob.objects.create(
        organization=tenant.organization, status="processing", text="Hello.", characters=6, language="en-US",
        voice="espeak:en-us", model="espeak-ng", format="wav", sample_rate=22_050, options={}, audio_key="",
    )  # fmt: skip
    with pytest.raises(SuspiciousFileOperation):
        tts.run(job=job)
    for use in (storage.size, storage.delete_or_fail):
        with pytest.raises(SuspiciousFileOperation):
            use("../outside")


def test_storage_that_fails_is_503_and_bills_nothing(tenant: Tenant) -> None:
    from pathlib import Path

    client = tenant.key()
    in_the_way = Path(default_storage.path(str(tenant.organization.id)))
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("a file where the organisation's folder should be")
    try:
        spoken = client.post("/tts/synthesize", json={"text": "Hello."})
        heard = client.post("/stt/transcribe", files={"audio_file": ("a.wav", b"x" * 100)})
    finally:
        in_the_way.unlink()
    for answer in (spoken, heard):
        assert error_of(answer, 503, "storage_unavailable")["type"] == "server_error"
        assert int(answer.headers["Retry-After"]) > 0
    job = TtsJob.objects.get(organization=tenant.organization)
    assert (job.status, job.error_code) == ("failed", "storage_unavailable")
    for usage in UsageRecord.objects.filter(organization=tenant.organization):
        assert (usage.status, usage.characters, usage.audio_seconds) == ("failed", 0, 0)
    assert client.post("/tts/synthesize", json={"text": "Hello."}).status_code == 200
