"""Work that nobody wants any more: deleted jobs, clients that have left. The processors do something else then."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.load import recording

LONG_TEXT = "This sentence is spoken until nobody wants to hear it any more. " * 1500
LONG_RECORDING_SECONDS = 240
PATIENCE_SECONDS = 5.0
"""A second on an idle machine; tests also run on busy ones."""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """One worker, which runs one job at a time."""
    with public_folder() as folder, deployed(folder, JOB_LEASE_SECONDS="20") as made:
        made.start_worker("--concurrency", "1")
        yield made


@pytest.fixture(scope="module")
def long_recording() -> bytes:
    return recording(LONG_RECORDING_SECONDS)


def test_a_deleted_synthesis_stops(deployment: Deployment) -> None:
    answer = deployment.post("/tts/synthesize", json={"text": LONG_TEXT, "async": True})
    seconds, billed = stopped_by(deployment, "tts", answer.json()["job_id"], deployment.workers[0].pid, delete)
    assert seconds < PATIENCE_SECONDS
    assert 0 < billed < len(LONG_TEXT)


def test_a_deleted_transcription_stops(deployment: Deployment, long_recording: bytes) -> None:
    answer = deployment.post("/stt/transcribe", files=upload(long_recording), data={"async": "true"})
    seconds, billed = stopped_by(deployment, "stt", answer.json()["job_id"], deployment.workers[0].pid, delete)
    assert seconds < PATIENCE_SECONDS
    assert 0 <= billed < LONG_RECORDING_SECONDS / 2
    assert_slot_is_free(deployment)


@pytest.mark.parametrize("kind", ["tts", "stt"])
def test_a_request_whose_client_leaves_stops(deployment: Deployment, kind: str, long_recording: bytes) -> None:
    whole = {"tts": len(LONG_TEXT), "stt": LONG_RECORDING_SECONDS}
    request: dict[str, dict[str, Any]] = {
        "tts": {"json": {"text": LONG_TEXT}},
        "stt": {"files": upload(long_recording)},
    }
    path = {"tts": "/tts/synthesize", "stt": "/stt/transcribe"}[kind]
    leaving = Leaving(deployment, path, request[kind])
    running = f"SELECT id::text FROM {kind}_{kind}job WHERE status = 'processing'"  # noqa: S608
    [(job_id,)] = wait_until(lambda: deployment.postgres.rows(running), 60, "it runs")
    server = deployment.server.process.pid
    seconds, billed = stopped_by(deployment, kind, job_id, server, lambda *_: leaving.leave())
    assert seconds < PATIENCE_SECONDS
    assert 0 <= billed < whole[kind]
    assert deployment.job(kind, job_id)["error"]["code"] == "client_disconnected"


def upload(content: bytes) -> dict[str, tuple[str, bytes]]:
    return {"audio_file": ("long.wav", content)}


class Leaving:
    """A client that sends a request and hangs up before its answer."""

    def __init__(self, deployment: Deployment, path: str, request: dict[str, Any]) -> None:
        prepared = deployment.client.build_request("POST", path, **request)
        self._connection = http.client.HTTPConnection(prepared.url.host, prepared.url.port)
        self._connection.request("POST", prepared.url.raw_path.decode(), prepared.read(), dict(prepared.headers))

    def leave(self) -> None:
        self._connection.close()


def delete(deployment: Deployment, kind: str, job_id: str) -> None:
    assert deployment.client.delete(f"/{kind}/jobs/{job_id}").status_code == 204


def stopped_by(deployment: Deployment, kind: str, job_id: str, process: int, stop: Any) -> tuple[float, float]:
    """The seconds until nothing is computed any more, and what was billed: characters, or seconds of audio."""
    progress = f"SELECT progress > 0 FROM {kind}_{kind}job WHERE id = %s"  # noqa: S608
    wait_until(lambda: deployment.postgres.value(progress, job_id), 60, "it gets on")
    assert cpu_seconds_within(1.0, process) > 0.05, "it computes"
    stop(deployment, kind, job_id)
    began = time.monotonic()
    amount = "characters" if kind == "tts" else "audio_seconds"
    record = f"SELECT {amount}, status FROM analytics_usagerecord WHERE job_id = %s"  # noqa: S608
    [(billed, status)] = wait_until(lambda: deployment.postgres.rows(record, job_id), 30, "its end is written", 0.01)
    seconds = time.monotonic() - began
    assert status == "cancelled"
    assert cpu_seconds_within(2.0, process) < 0.4, "the processors are free"
    return seconds, float(billed)


def cpu_seconds_within(seconds: float, pid: int) -> float:
    """What the process and its engines compute in the next `seconds`."""
    before = _cpu_seconds(pid)
    time.sleep(seconds)
    return sum(used - before.get(process, 0.0) for process, used in _cpu_seconds(pid).items())


def _cpu_seconds(pid: int) -> dict[int, float]:
    found = {}
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def assert_slot_is_free(deployment: Deployment) -> None:
    job_id = deployment.post("/tts/synthesize", json={"text": "Next, please.", "async": True}).json()["job_id"]
    wait_until(lambda: deployment.job("tts", job_id)["status"] == "succeeded", 30, "the next job has its place")
