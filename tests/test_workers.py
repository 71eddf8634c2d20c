"""Workers as processes of their own: sharing a queue, being asked to stop. Being killed: see `tests.faults`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def workers(database: None) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait(10)


def start_worker(started: list[subprocess.Popen[bytes]], *arguments: str) -> subprocess.Popen[bytes]:
    """A worker on the test database, in a process of its own."""
    from django.db import connection

    settings = connection.settings_dict
    url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}"
    env = {**os.environ, "DATABASE_URL": url, "JOB_LEASE_SECONDS": "2", "DRAIN_SECONDS": "1", "LOG_LEVEL": "ERROR"}
    process = subprocess.Popen([sys.executable, "manage.py", "worker", *arguments], cwd=ROOT, env=env)
    started.append(process)
    return process


def enqueue(count: int, **limits: int) -> list[object]:
    """Jobs of an organisation of their own, with a quota of `limits`, queued beside their tasks."""
    from accounts.actors import Actor
    from analytics import quota
    from ml.types import SynthesisOptions
    from tests.conftest import make_tenant
    from tts import services

    tenant = make_tenant("")
    if limits:
        quota.set_quota(organization=tenant.organization, **limits)
    actor = Actor(organization=tenant.organization, role="owner", user=tenant.member("owner").user)
    return [
        services.submit(
            actor=actor,
            request=services.SynthesisRequest(text=f"Job number {n}. " * (1 + n % 8), options=SynthesisOptions()),
        )
        for n in range(count)
    ]


def wait_until_ended(jobs: list[object], seconds: float) -> dict[object, str]:
    from tts.models import TtsJob

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        rows = dict(TtsJob.objects.filter(id__in=[job.id for job in jobs]).values_list("id", "status"))  # type: ignore[attr-defined]
        if not {"queued", "processing"} & set(rows.values()):
            return rows
        time.sleep(0.1)
    raise AssertionError(
        f"not ended: {[(key, value) for key, value in rows.items() if value in ('queued', 'processing')]}"
    )


def test_two_workers_share_a_queue(workers: list[subprocess.Popen[bytes]]) -> None:
    from tts.models import TtsJob

    jobs = enqueue(40)
    start_worker(workers, "--concurrency", "1")
    start_worker(workers, "--concurrency", "1")
    assert set(wait_until_ended(jobs, 60).values()) == {"succeeded"}
    names = set(TtsJob.objects.filter(id__in=[job.id for job in jobs]).values_list("worker", flat=True))  # type: ignore[attr-defined]
    assert len(names) == 2


def test_a_stopped_worker_hands_its_job_back(workers: list[subprocess.Popen[bytes]]) -> None:
    from accounts.actors import Actor
    from ml.types import SynthesisOptions
    from tests.conftest import make_tenant
    from tts import services
    from tts.models import TtsJob

    tenant = make_tenant("")
    actor = Actor(organization=tenant.organization, role="owner", user=tenant.member("owner").user)
    text = "A long text that a worker cannot finish before it has to go. " * 1500
    job = services.submit(actor=actor, request=services.SynthesisRequest(text=text, options=SynthesisOptions()))
    worker = start_worker(workers)
    deadline = time.monotonic() + 20
    while TtsJob.objects.get(id=job.id).progress == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    row = TtsJob.objects.get(id=job.id)
    assert (row.status, row.attempts) == ("queued", 0)  # being stopped is no attempt
    services.delete_job(actor=actor, job=row)
