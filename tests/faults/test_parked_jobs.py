"""A job that kills its worker, each time that it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.load import ENDED, Load

ATTEMPTS = 3
LONG_TEXT = "This sentence is spoken until somebody puts an end to it. " * 1400


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with public_folder() as folder, deployed(folder, JOB_MAX_ATTEMPTS=str(ATTEMPTS)) as made:
        yield made


def test_it_is_parked_and_takes_nobody_along(deployment: Deployment) -> None:
    """Neither what is queued behind it, nor the job that runs beside it whenever its worker dies."""
    poison, beside = (long_job(deployment) for _ in range(2))
    load = Load(deployment)
    load.add(20)
    deaths = 0
    while True:
        worker = deployment.start_worker("--concurrency", "2")
        wait_until(lambda w=worker: has_ended(deployment, poison) or runs_in(deployment, poison, w), 90, "it runs")
        if has_ended(deployment, poison):
            break
        with suppress(AssertionError):  # the last time it must not, and is not waited for
            seconds = 30 if deaths < ATTEMPTS - 1 else 3
            wait_until(lambda w=worker: runs_in(deployment, beside, w), seconds, "the other one runs beside it")
        worker.kill()
        worker.wait(10)
        deaths += 1
    assert deaths == ATTEMPTS
    job = deployment.job("tts", poison)
    assert (job["status"], job["error"]["code"]) == ("failed", "worker_lost")
    assert job["error"]["message"] == f"The worker was lost {ATTEMPTS} times while it ran this job."
    load.jobs["tts"] += [poison, beside]
    assert load.wait_until_ended(120) == {"succeeded": load.count - 1, "failed": 1}
    wait_until(lambda: load.queued_tasks() == 0, 30, "no task is left")
    load.assert_exact()


def long_job(deployment: Deployment) -> str:
    return deployment.post("/tts/synthesize", json={"text": LONG_TEXT, "async": True}).json()["job_id"]


def has_ended(deployment: Deployment, job_id: str) -> bool:
    return deployment.job("tts", job_id)["status"] in ENDED


def runs_in(deployment: Deployment, job_id: str, worker: subprocess.Popen[bytes]) -> bool:
    """Whether it computes there: it has got on."""
    running = "SELECT worker FROM tts_ttsjob WHERE id = %s AND status = 'processing' AND progress > 0"
    return any(name.endswith(f":{worker.pid}") for (name,) in deployment.postgres.rows(running, job_id))
