"""SIGTERM, as every deployment sends it: what runs ends in time, or is handed back, or is refused clearly."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.conftest import error_of
from tests.faults.deployment import Deployment, deployed, public_folder, wait_until

DRAIN_SECONDS = 2
SENTENCE = "This sentence is spoken while somebody stops the process. "
LONG_TEXT = SENTENCE * 1700


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    """Its server has a worker. A lease of a minute: what is handed back does not wait for it."""
    settings = {"EMBEDDED_WORKER": "true", "JOB_LEASE_SECONDS": "60", "DRAIN_SECONDS": str(DRAIN_SECONDS)}
    with public_folder() as folder, deployed(folder, **settings) as made:
        yield made


@pytest.fixture
def workers_only() -> Iterator[Deployment]:
    with public_folder() as folder, deployed(folder, JOB_LEASE_SECONDS="60", DRAIN_SECONDS="20") as made:
        yield made


def queued(deployment: Deployment, text: str) -> str:
    return deployment.post("/tts/synthesize", json={"text": text, "async": True}).json()["job_id"]


def test_a_server_stops_in_time(deployment: Deployment) -> None:
    """With a worker in it, and a request and a job under way that take longer than it has."""
    answers: list[httpx.Response] = []
    job_id = queued(deployment, LONG_TEXT)
    request = threading.Thread(
        target=lambda: answers.append(deployment.post("/tts/synthesize", json={"text": LONG_TEXT}))
    )
    request.start()
    running = "SELECT count(*) FROM tts_ttsjob WHERE status = 'processing' AND progress > 0"
    wait_until(lambda: deployment.postgres.value(running) == 2, 60, "both run")
    stopped = time.monotonic()
    assert deployment.server.stop(signal.SIGTERM) == 0
    assert time.monotonic() - stopped < DRAIN_SECONDS + 25
    request.join(10)
    error_of(answers[0], 503, "server_stopping")
    assert int(answers[0].headers["Retry-After"]) > 0

    rows = deployment.postgres.rows("SELECT id::text, status, attempts, error_code FROM tts_ttsjob ORDER BY is_async")
    assert [row[1:] for row in rows] == [("failed", 0, "interrupted"), ("queued", 0, "")]
    billed = "SELECT job_id::text, status, characters FROM analytics_usagerecord"
    assert deployment.postgres.rows(billed) == [(rows[0][0], "failed", 0)]

    # Another takes over at once: it was handed back, and no lease has to lapse.
    worker = deployment.start_worker("--concurrency", "1")
    taken = "SELECT status <> 'queued' FROM tts_ttsjob WHERE id = %s"
    wait_until(lambda: deployment.postgres.value(taken, job_id), 30, "another runs it")
    succeeded = "SELECT status = 'succeeded' FROM tts_ttsjob WHERE id = %s"
    wait_until(lambda: deployment.postgres.value(succeeded, job_id), 90, "another has finished it")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_a_worker_finishes_what_ends_in_time(workers_only: Deployment) -> None:
    deployment = workers_only
    worker = deployment.start_worker("--concurrency", "1")
    job_ids = [queued(deployment, SENTENCE * 100) for _ in range(12)]
    states = "SELECT status, count(*), sum(attempts) FROM tts_ttsjob WHERE id = ANY(%s::uuid[]) GROUP BY status"

    def by_status() -> dict[str, tuple[int, int]]:
        return {status: (count, attempts) for status, count, attempts in deployment.postgres.rows(states, job_ids)}

    wait_until(lambda: "succeeded" in by_status(), 30, "some have ended")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    left = by_status()
    assert set(left) <= {"succeeded", "queued"}, "the one under way has ended"
    assert left["succeeded"][0] == left["succeeded"][1], "one attempt each"
    assert left.get("queued", (0, 0))[1] == 0
    deployment.start_worker()
    wait_until(lambda: by_status() == {"succeeded": (12, 12)}, 60, "the next worker has done the rest")
