"""Bodies: how they arrive, what bounds them, and what is left of those that break off."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from django.conf import settings as configured
from django.core.files.storage import default_storage

from common import uploads
from stt.models import AudioFile, SttJob
from tests.api.support import assert_nothing_was_kept, silence
from tests.conftest import Client, Tenant, error_of
from tests.faults.disks import small_disk
from tests.platform_process import running

MEGABYTE = 1024 * 1024
BOUNDARY = "uploads"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
LARGE_MEGABYTES = int(os.environ.get("UPLOAD_TEST_MB", "300"))


def form(megabytes: int, **fields: str) -> tuple[list[bytes], int, str]:
    """A form with a file of noise: what comes before it, how much of it there is, and its SHA-256."""
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio_file"; filename="a.wav"\r\n\r\n')
    digest = hashlib.sha256()
    for _ in range(megabytes):
        digest.update(NOISE)
    return ["".join(parts).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()], megabytes, digest.hexdigest()


NOISE = os.urandom(MEGABYTE)


def body_of(ends: list[bytes], megabytes: int) -> Iterator[bytes]:
    yield ends[0]
    for _ in range(megabytes):
        yield NOISE
    yield ends[1]


def length(ends: list[bytes], megabytes: int) -> str:
    return str(sum(map(len, ends)) + megabytes * MEGABYTE)


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


def temporary_files() -> list[Path]:
    return list(configured.UPLOAD_DIR.glob("*"))


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_upload_arrives_whole(tenant: Tenant, declared: bool) -> None:
    """With Content-Length, and in chunks without one."""
    ends, megabytes, digest = form(8, **{"async": "true"})
    headers = {**HEADERS, **({"Content-Length": length(ends, megabytes)} if declared else {})}
    answer = tenant.key("stt").post("/stt/transcribe", content=body_of(ends, megabytes), headers=headers)
    assert answer.status_code == 202, answer.text
    audio = SttJob.objects.select_related("audio").get(id=answer.json()["job_id"]).audio
    if audio is not None:  # the worker may have found already that it is noise
        with default_storage.open(audio.key) as stored:
            assert hashlib.file_digest(stored, "sha256").hexdigest() == digest
        assert audio.size_bytes == megabytes * MEGABYTE
    until(lambda: not temporary_files())


def test_small_bodies_in_chunks(tenant: Tenant) -> None:
    def chunked(body: bytes) -> Iterator[bytes]:
        yield body

    client, text = tenant.key(), json.dumps({"text": "In chunks."}).encode()
    spoken = client.post("/tts/synthesize", content=chunked(text), headers={"Content-Type": "application/json"})
    assert (spoken.status_code, spoken.json()["text"]) == (200, "In chunks.")
    request = httpx.Request("POST", "http://x", files={"audio_file": ("s.wav", silence(0.5))})
    content_type = {"Content-Type": request.headers["Content-Type"]}
    heard = client.post("/stt/transcribe", content=chunked(request.read()), headers=content_type)
    assert (heard.status_code, heard.json()["status"]) == (200, "succeeded")
    until(lambda: not temporary_files())


# ── Refused ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_read_of_a_stranger(tenant: Tenant) -> None:
    """A client that asks first (`Expect: 100-continue`) is refused without being told to go on."""
    host, port = tenant.server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(
            f"POST /api/v1/stt/transcribe HTTP/1.1\r\nHost: {host}\r\nx-api-key: sk_wrong\r\nExpect: 100-continue\r\n"
            f"Content-Type: {HEADERS['Content-Type']}\r\nContent-Length: {3 * 1024 * MEGABYTE}\r\n\r\n".encode()
        )
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401"), answer[:100]
    assert not temporary_files()


@pytest.mark.parametrize("client_of", ["viewer", "wrong key"])
def test_whoever_may_not_gets_the_answer_after_sending_too(tenant: Tenant, client_of: str) -> None:
    client = tenant.user("viewer") if client_of == "viewer" else Client(tenant.server, {"x-api-key": "sk_wrong"})
    ends, megabytes, _ = form(8)
    headers = {**HEADERS, "Content-Length": length(ends, megabytes)}
    answer = client.post("/stt/transcribe", content=body_of(ends, megabytes), headers=headers)
    error_of(answer, 403 if client_of == "viewer" else 401)
    assert client.get("/version").status_code == 200  # the connection goes on
    assert not temporary_files()


def test_a_body_that_outgrows_the_limit(tenant: Tenant, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 4 * MEGABYTE
    client = tenant.key("stt")
    ends, megabytes, _ = form(8, **{"async": "true"})
    answer = client.post("/stt/transcribe", content=body_of(ends, megabytes), headers=HEADERS)
    error_of(answer, 413, "request_too_large")
    until(lambda: not temporary_files())
    assert_nothing_was_kept(tenant)


def test_no_room(tenant: Tenant, settings: Any) -> None:
    settings.UPLOAD_RESERVE_BYTES = 2**60
    ends, megabytes, _ = form(4, **{"async": "true"})
    headers = {**HEADERS, "Content-Length": length(ends, megabytes)}
    answer = tenant.key("stt").post("/stt/transcribe", content=body_of(ends, megabytes), headers=headers)
    assert error_of(answer, 503, "storage_full")["type"] == "server_error"
    assert int(answer.headers["Retry-After"]) >= 1
    assert not temporary_files()
    assert_nothing_was_kept(tenant)


def test_no_room_for_the_far_end_alone(tenant: Tenant, settings: Any, tmp_path: Path) -> None:
    files = {"audio_file": ("a.wav", silence(0.5)), "reference_audio": ("far.wav", silence(200))}  # 16 kB, 6.4 MB
    with small_disk(tmp_path / "media", megabytes=4) as disk:
        files_there = {**configured.STORAGES["default"], "OPTIONS": {"location": disk, "allow_overwrite": True}}
        settings.STORAGES = {**configured.STORAGES, "default": files_there}
        error_of(tenant.key("stt").post("/stt/transcribe", files=files), 503, "storage_full")
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()


@pytest.mark.parametrize(
    ("kind", "kept"), [("audio/wav", "audio/wav"), ("audio/\0wav", ""), ("\u2028", ""), ("x" * 300, "x" * 100)]
)
def test_what_a_file_calls_itself_is_a_label(tenant: Tenant, kind: str, kept: str) -> None:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio_file"; filename="a\0.wav"\r\nContent-Type: {kind}'
    )
    content = f"{head}\r\n\r\n".encode() + silence(0.3) + f"\r\n--{BOUNDARY}--\r\n".encode()
    answer = tenant.key("stt").post("/stt/transcribe", content=content, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    job = SttJob.objects.get(id=answer.json()["job_id"])
    assert (job.filename, job.audio.content_type) == ("a.wav", kept)


# ── Broken off ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _send_half(tenant: Tenant, client: Client) -> socket.socket:
    """A connection on which half of an upload has been sent, and arrived in a temporary file."""
    ends, megabytes, _ = form(16, **{"async": "true"})
    host, port = tenant.server.removeprefix("http://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(
        f"POST /api/v1/stt/transcribe HTTP/1.1\r\nHost: {host}\r\nx-api-key: {client.headers['x-api-key']}\r\n"
        f"Content-Type: {HEADERS['Content-Type']}\r\nContent-Length: {length(ends, megabytes)}\r\n\r\n".encode()
        + ends[0]
    )
    for _ in range(8):
        raw.sendall(NOISE)
    until(lambda: sum(path.stat().st_size for path in temporary_files()) > 6 * MEGABYTE)
    return raw


def test_nothing_is_left_of_a_client_that_left(tenant: Tenant) -> None:
    client = tenant.key("stt")
    _send_half(tenant, client).close()
    until(lambda: not temporary_files())
    assert_nothing_was_kept(tenant)
    assert client.post("/stt/transcribe", files={"audio_file": ("s.wav", silence(0.3))}).status_code == 200


def test_an_upload_that_stalls_is_given_up(tenant: Tenant, settings: Any) -> None:
    settings.REQUEST_STALL_SECONDS = 0.5
    with _send_half(tenant, tenant.key("stt")) as raw:
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"upload_incomplete" in answer
    until(lambda: not temporary_files())
    assert_nothing_was_kept(tenant)


def test_slow_uploads_hold_no_database_connections(tenant: Tenant) -> None:
    """More of them than the pool has connections."""
    client = tenant.key()
    slow = [
        _send_half(tenant, client) for _ in range(configured.DATABASES["default"]["OPTIONS"]["pool"]["max_size"] + 4)
    ]
    try:
        assert client.post("/tts/synthesize", json={"text": "Meanwhile."}, timeout=20).status_code == 200
    finally:
        for raw in slow:
            raw.close()
    until(lambda: not temporary_files())


def test_what_killed_processes_left_is_purged(database: None) -> None:
    configured.UPLOAD_DIR.mkdir(exist_ok=True)
    old, new = (configured.UPLOAD_DIR / f"{name}{uploads.SUFFIX}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, time.time() - uploads.LEFT_BEHIND_SECONDS - 1))
    assert uploads.purge() == 1
    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()


# ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_memory_is_bounded_while_a_large_upload_streams_through(tmp_path: Path) -> None:
    """A process of its own, so that nothing else grows. UPLOAD_TEST_MB=2048 for the size that the figures are of."""
    with (
        running(tmp_path / "data", EMBEDDED_WORKER="false") as platform,
        httpx.Client(timeout=600, trust_env=False) as client,
    ):
        platform.log_in(client)
        url, server = f"{platform.url}/api/v1/stt/transcribe", psutil.Process(platform.process.pid)

        def upload(megabytes: int) -> Iterator[int]:
            """The server's resident bytes after each megabyte that was sent."""
            ends, _, digest = form(megabytes, **{"async": "true"})
            seen: list[int] = []

            def measured() -> Iterator[bytes]:
                for piece in body_of(ends, megabytes):
                    yield piece
                    seen.append(server.memory_info().rss)

            headers = {**HEADERS, "Content-Length": length(ends, megabytes)}
            answer = client.post(url, content=measured(), headers=headers)
            assert answer.status_code == 202, answer.text
            media = list((platform.data_dir / "media").rglob("*.wav"))
            newest = max(media, key=lambda path: path.stat().st_mtime)
            with newest.open("rb") as stored:
                assert hashlib.file_digest(stored, "sha256").hexdigest() == digest
            yield from seen

        before = max(upload(4))  # what any first upload costs
        grown = max(upload(LARGE_MEGABYTES)) - before
        assert grown < 60 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB"
        assert not list((platform.data_dir / "uploads").glob("*"))
