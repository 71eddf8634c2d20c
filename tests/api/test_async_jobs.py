"""`async: true`: queued jobs, their progress, cancellation and batches."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import httpx

from analytics.models import UsageRecord
from jobs.monitor import HEARTBEAT_SECONDS
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
