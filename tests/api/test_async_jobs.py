"""`async: true`: queued jobs, their progress, cancellation and batches."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.files.storage import default_storage
from django.db import connection

from analytics import quota
from analytics.models import Reservation, UsageRecord
from jobs.monitor import HEARTBEAT_SECONDS
from stt.models import SttJob
from tests.api.support import assert_nothing_was_kept, silence
from tests.conftest import OWNED_AUDIO, Client, Tenant, error_of
from tts.models import TtsJob

CLIP = OWNED_AUDIO / "numbers.wav"
LONG_TEXT = "This sentence is spoken again and again until the job is cancelled. " * 1400


def finished(client: Client, path: str, seconds: float = 60) -> dict[str, Any]:
    """The job once it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.get(path).json()
        if job["status"] not in ("queued", "processing"):
            return job
        time.sleep(0.05)
    raise AssertionError(f"still {job}")


def upload(path: Path = CLIP) -> dict[str, Any]:
    return {"audio_file": (path.name, path.read_bytes(), "audio/wav")}


def test_queued_synthesis_succeeds_once(tenant: Tenant) -> None:
    client = tenant.key("tts")
    answer = client.post("/tts/synthesize", json={"text": "Later, please.", "async": True})
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "queued"
    assert answer.headers["Location"] == f"/api/v1/tts/jobs/{answer.json()['job_id']}"

    job = finished(client, client.url("").removesuffix("/api/v1") + answer.headers["Location"])
    assert (job["status"], job["progress"]) == ("succeeded", 1.0)
    assert client.get(job["audio_url"]).content[:4] == b"RIFF"
    usage = UsageRecord.objects.get(job_id=job["job_id"])
    assert (usage.characters, usage.status) == (len("Later, please."), "succeeded")
    row = TtsJob.objects.get(id=job["job_id"])
    assert (row.attempts, row.is_async) == (1, True)


def test_queued_transcription_succeeds(tenant: Tenant) -> None:
    client = tenant.key("stt")
    answer = client.post("/stt/transcribe", files=upload(), data={"async": "true"})
    assert answer.status_code == 202, answer.text
    job = finished(client, f"/stt/jobs/{answer.json()['job_id']}")
    waited = client.post("/stt/transcribe", files=upload()).json()
    assert job["status"] == "succeeded"
    assert job["text"] == waited["text"] != ""


def test_queued_audio_that_nobody_can_decode_fails_unbilled(tenant: Tenant) -> None:
    client = tenant.key("stt")
    answer = client.post("/stt/transcribe", files={"audio_file": ("a.wav", b"no audio" * 100)}, data={"async": "true"})
    job = finished(client, f"/stt/jobs/{answer.json()['job_id']}")
    assert (job["status"], job["error"]["code"], job["audio_url"]) == ("failed", "audio_undecodable", None)
    assert job["filename"] == "a.wav", "by which to know it among others"
    usage = UsageRecord.objects.get(job_id=job["job_id"])
    assert (usage.audio_seconds, usage.status) == (0, "failed")


def test_rejects_at_once_what_can_never_succeed(tenant: Tenant) -> None:
    client = tenant.key("tts")
    error_of(client.post("/tts/synthesize", json={"text": "a", "voice": "nobody", "async": True}), 400)
    error_of(client.post("/tts/synthesize", json={"text": "a", "stream": True, "async": True}), 400)
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


def test_delete_stops_the_computing_within_a_second(tenant: Tenant) -> None:
    client = tenant.key("tts")
    job_id = client.post("/tts/synthesize", json={"text": LONG_TEXT, "async": True}).json()["job_id"]
    deadline = time.monotonic() + 30
    while (job := client.get(f"/tts/jobs/{job_id}").json())["progress"] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job["status"] == "processing"
    assert job["stage"] == "synthesize"

    assert client.delete(f"/tts/jobs/{job_id}").status_code == 204
    deadline = time.monotonic() + 1.5
    while not UsageRecord.objects.filter(job_id=job_id).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    usage = UsageRecord.objects.get(job_id=job_id)  # written by the worker, after it stopped
    assert usage.status == "cancelled"
    assert 0 < usage.characters < len(LONG_TEXT) / 2
    row = TtsJob.objects.get(id=job_id)
    assert (row.status, row.error_code) == ("cancelled", "cancelled")


def test_a_queued_batch_reports_its_progress(tenant: Tenant) -> None:
    client = tenant.key("tts")
    items = [{"text": f"Number {n}.", "custom_id": str(n)} for n in range(5)] + [{"text": "x", "voice": "nobody"}]
    answer = client.post("/tts/synthesize-batch", json={"items": items, "async": True})
    assert answer.status_code == 202, answer.text
    assert answer.json()["items"][5]["error"]["code"] == "voice_not_found"
    deadline = time.monotonic() + 30
    batch = client.get(f"/tts/batches/{answer.json()['batch_id']}").json()
    while batch["progress"] < 1 and time.monotonic() < deadline:
        time.sleep(0.05)
        batch = client.get(f"/tts/batches/{answer.json()['batch_id']}").json()
    assert batch["counts"]["succeeded"] == batch["total"] == 5
    assert [item["custom_id"] for item in batch["items"]] == ["0", "1", "2", "3", "4"]


def test_a_queued_batch_of_recordings(tenant: Tenant) -> None:
    client = tenant.key("stt")
    files = [("audio_files", (name, content)) for name, content in (("a.wav", silence(0.5)), ("b.wav", b"no audio"))]
    answer = client.post("/stt/batch-transcribe", files=files, data={"async": "true"})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/api/v1/stt/batches/{answer.json()['batch_id']}"
    queued = [(item["status"], item["filename"]) for item in answer.json()["items"]]
    assert queued == [("queued", "a.wav"), ("queued", "b.wav")]
    jobs = [finished(client, f"/stt/jobs/{item['job_id']}") for item in answer.json()["items"]]
    assert [job["status"] for job in jobs] == ["succeeded", "failed"]
    batch = client.get(f"/stt/batches/{answer.json()['batch_id']}").json()
    assert (batch["total"], batch["progress"], batch["counts"]["failed"]) == (2, 1.0, 1)
    assert [item["job_id"] for item in batch["items"]] == [job["job_id"] for job in jobs]


def test_a_job_and_its_task_are_written_together(tenant: Tenant) -> None:
    """Where the queue takes no tasks there is no job either, nor anything else of it."""
    client = tenant.key()
    quota.set_quota(organization=tenant.organization, monthly_characters=1000, monthly_audio_seconds=1000)
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION procrastinate_defer_jobs_v1 RENAME TO hidden")
    try:
        answers = [
            client.post("/tts/synthesize", json={"text": "Never.", "async": True}),
            client.post("/stt/transcribe", files=upload(), data={"async": "true"}),
        ]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER FUNCTION hidden RENAME TO procrastinate_defer_jobs_v1")
    assert {answer.status_code for answer in answers} <= {500, 503}
    assert_nothing_was_kept(tenant)
    assert not Reservation.objects.filter(organization=tenant.organization).exists()
    assert not any(path.is_file() for path in Path(default_storage.path(str(tenant.organization.id))).rglob("*"))
    assert finished(
        client, f"/tts/jobs/{client.post('/tts/synthesize', json={'text': 'a', 'async': True}).json()['job_id']}"
    )


@pytest.mark.parametrize("kind", ["tts", "stt"])
def test_a_client_that_leaves_stops_the_computing_within_a_second(tenant: Tenant, kind: str) -> None:
    """Of a synchronous request; its slot is free for the next."""
    quota.set_quota(organization=tenant.organization, max_concurrent_jobs=1)
    client = tenant.key()
    model: Any = TtsJob if kind == "tts" else SttJob
    rows = model.objects.filter(organization=tenant.organization)
    if kind == "tts":
        request = {"url": client.url("/tts/synthesize"), "json": {"text": LONG_TEXT}}
    else:
        speech = client.post("/tts/synthesize", json={"text": "A sentence that is to be heard. " * 100}).json()
        request = {
            "url": client.url("/stt/transcribe"),
            "files": {"audio_file": ("a.wav", client.get(speech["audio_url"]).content)},
        }
    leaving = httpx.Client(headers=client.headers, trust_env=False, timeout=120)

    def send() -> None:
        with contextlib.suppress(httpx.TransportError):
            leaving.send(leaving.build_request("POST", **request), stream=True)

    thread = threading.Thread(target=send)
    thread.start()
    deadline = time.monotonic() + 60
    while not rows.filter(status="processing", progress__gt=0).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    hang_up(leaving)
    left = time.monotonic()
    while not rows.filter(status="cancelled").exists():
        assert time.monotonic() < left + 10
        time.sleep(0.02)
    thread.join()
    job = rows.get(status="cancelled")
    assert job.error_code == "client_disconnected"
    usage = UsageRecord.objects.get(job_id=job.id)
    assert usage.status == "cancelled"
    assert usage.characters < len(LONG_TEXT) / 2
    assert client.post("/tts/synthesize", json={"text": "Next."}).status_code == 200


def hang_up(client: httpx.Client) -> None:
    """Closes the connection on which another thread waits."""
    for connection_ in client._transport._pool.connections:  # type: ignore[attr-defined]  # nothing public reaches it
        stream = connection_._connection._network_stream
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def test_another_tenant_sees_no_batch(tenant: Tenant, other_tenant: Tenant) -> None:
    answer = tenant.key("tts").post("/tts/synthesize-batch", json={"items": [{"text": "Mine."}]})
    batch_id = answer.json()["batch_id"]
    assert tenant.key("tts").get(f"/tts/batches/{batch_id}").status_code == 200
    error_of(other_tenant.key("tts").get(f"/tts/batches/{batch_id}"), 404)


def test_lists_filter_by_key_and_time(tenant: Tenant) -> None:
    row, key = tenant.new_key("tts")
    mine = Client(tenant.server, {"x-api-key": key})
    other = tenant.key("tts")
    first = mine.post("/tts/synthesize", json={"text": "One."}).json()
    second = other.post("/tts/synthesize", json={"text": "Two."}).json()
    listed = mine.get("/tts/jobs", params={"key": str(row.id)}).json()
    assert [job["job_id"] for job in listed["results"]] == [first["job_id"]]
    listed = mine.get("/tts/jobs", params={"created_after": first["created_at"]}).json()
    assert [job["job_id"] for job in listed["results"]] == [second["job_id"]]


def test_delete_stops_a_stream(tenant: Tenant) -> None:
    client = tenant.key("tts")
    with client.stream("POST", "/tts/synthesize", json={"text": LONG_TEXT, "stream": True}) as answer:
        job_id = answer.headers["X-Job-ID"]
        chunks = answer.iter_bytes()
        next(chunks)
        assert tenant.key("tts").delete(f"/tts/jobs/{job_id}").status_code == 204
        with contextlib.suppress(httpx.RemoteProtocolError):  # the body breaks off: it has no honest end
            for _ in chunks:
                pass
    usage = UsageRecord.objects.get(job_id=job_id)
    assert usage.status == "cancelled"
    assert 0 < usage.characters < len(LONG_TEXT)
    assert TtsJob.objects.get(id=job_id).status == "cancelled"


def test_a_slow_streams_job_shows_that_it_lives(tenant: Tenant) -> None:
    client = tenant.key("tts")
    with client.stream("POST", "/tts/synthesize", json={"text": LONG_TEXT, "stream": True}) as answer:
        job_id = answer.headers["X-Job-ID"]
        chunks = answer.iter_bytes()  # kept: httpx hangs up when the iterator is collected
        next(chunks)
        began = TtsJob.objects.get(id=job_id).heartbeat_at
        deadline = time.monotonic() + 3 * HEARTBEAT_SECONDS
        while TtsJob.objects.get(id=job_id).heartbeat_at == began and time.monotonic() < deadline:
            time.sleep(0.1)  # a client that reads nothing
        assert TtsJob.objects.get(id=job_id).heartbeat_at > began
