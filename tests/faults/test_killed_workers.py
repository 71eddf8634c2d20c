"""Worker processes that are killed without warning: SIGKILL, as the kernel's memory killer or a power cut would."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.load import ENDED, Load

FULL = os.environ.get("FAULTS") == "full"
JOBS, KILLS = (500, 10_000) if FULL else (60, 8)


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    # A job may be hit again and again: how often it is tried is tested elsewhere.
    with public_folder() as folder, deployed(folder, JOB_MAX_ATTEMPTS="1000") as made:
        yield made


@pytest.mark.timeout(1800 if FULL else 300)
def test_jobs_end_once_while_workers_are_killed(deployment: Deployment) -> None:
    load = Load(deployment)
    for _ in range(3):
        deployment.start_worker("--concurrency", "2")
    load.add(JOBS)
    kills, deadline = 0, time.monotonic() + 4 * JOBS
    while not set(load.states()) <= set(ENDED) and kills < KILLS and time.monotonic() < deadline:
        time.sleep(1)
        kills += kill_one_at_work(deployment)
    states = load.wait_until_ended(180)
    assert kills >= min(KILLS, 3)
    assert load.attempts() > load.count, "no kill hit a job"
    assert states == {"succeeded": load.count}
    wait_until(lambda: load.queued_tasks() == 0, 30, "no task is left")
    load.assert_exact()


def kill_one_at_work(deployment: Deployment) -> bool:
    """Kills the oldest of the workers that are running jobs, and starts another in its place.

    One that works is left: on a slow machine all would otherwise be killed before they have done anything.
    """
    busy = {int(name.rsplit(":", 1)[1]) for name in workers_of_running_jobs(deployment)}
    victims = [worker for worker in deployment.workers if worker.poll() is None and worker.pid in busy]
    if len(victims) < 2:
        return False
    victims[0].kill()
    victims[0].wait(10)
    deployment.start_worker("--concurrency", "2")
    return True


def workers_of_running_jobs(deployment: Deployment) -> list[str]:
    """host:pid of each."""
    tables = ("tts_ttsjob", "stt_sttjob")
    query = " UNION ".join(f"SELECT worker FROM {table} WHERE status = 'processing'" for table in tables)  # noqa: S608
    return [name for (name,) in deployment.postgres.rows(query)]
