"""Workers on machines of their own, one of which is cut off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.load import Load
from tests.faults.networks import Machine, machines
from tests.faults.postgres import running_postgres
from tests.platform_process import ROOT, environment

LONG_TEXT = "This sentence is spoken while the network is gone, again and again. " * 700


@dataclass
class Site:
    deployment: Deployment
    machines: list[Machine]

    def start_worker(self, machine: Machine) -> subprocess.Popen[bytes]:
        url = self.deployment.postgres.url(machine.gateway)
        return self.deployment.start_worker("--concurrency", "1", prefix=machine.prefix, DATABASE_URL=url)

    def worker_of(self, kind: str, job_id: str) -> int:
        """The process that runs or ran the job."""
        name = self.deployment.postgres.value(f"SELECT worker FROM {kind}_{kind}job WHERE id = %s", job_id)  # noqa: S608
        return int(name.rsplit(":", 1)[1] or 0) if name else 0

    def queued(self, text: str) -> str:
        return self.deployment.post("/tts/synthesize", json={"text": text, "async": True}).json()["job_id"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        made = stack.enter_context(machines(2))
        folder = stack.enter_context(public_folder())
        hosts = tuple(machine.gateway for machine in made)
        postgres = running_postgres(folder / "postgres", hosts=hosts, networks=("10.213.0.0/16",))
        deployment = stack.enter_context(deployed(folder, postgres=stack.enter_context(postgres)))
        yield Site(deployment, made)


def test_two_machines_share_a_queue_and_one_is_cut_off(site: Site) -> None:
    workers = {site.start_worker(machine).pid: machine for machine in site.machines}
    load = Load(site.deployment)
    ran: set[int] = set()
    for _ in range(5):  # one may be ready, and done with the first ones, before the other has started
        load.add(20)
        assert load.wait_until_ended(90) == {"succeeded": load.count}
        ran = {site.worker_of("tts", job_id) for job_id in load.jobs["tts"]}
        if ran == set(workers):
            break
    assert ran == set(workers), "both had their share"

    job_id = site.queued(LONG_TEXT)
    load.jobs["tts"].append(job_id)
    wait_until(lambda: site.deployment.job("tts", job_id)["progress"] > 0, 30, "it runs")
    lost = site.worker_of("tts", job_id)
    with workers[lost].cut():
        other = wait_until(lambda: site.worker_of("tts", job_id) not in (0, lost), 30, "the other has taken over")
        assert other
        wait_until(lambda: site.deployment.job("tts", job_id)["status"] == "succeeded", 60, "the other has finished")
        ended = rows_of(site, job_id)

    # The one that was cut off comes back by itself, without having written anything, and works on.
    [survivor] = set(workers) - {lost}
    by_pid = {worker.pid: worker for worker in site.deployment.workers}
    assert by_pid[lost].poll() is None
    by_pid[survivor].kill()
    by_pid[survivor].wait(10)
    after = site.queued("Who is there?")
    load.jobs["tts"].append(after)
    wait_until(lambda: site.deployment.job("tts", after)["status"] == "succeeded", 60, "the other works again")
    assert site.worker_of("tts", after) == lost
    assert rows_of(site, job_id) == ended
    [(attempts, key)] = site.deployment.postgres.rows(
        "SELECT attempts, audio_key FROM tts_ttsjob WHERE id = %s", job_id
    )
    assert attempts == 2
    wait_until(lambda: long_audio(site.deployment) == {key}, 10, "it has deleted what it had stored itself")
    load.assert_exact()


def rows_of(site: Site, job_id: str) -> list[tuple[object, ...]]:
    rows = site.deployment.postgres.rows
    return rows("SELECT * FROM tts_ttsjob WHERE id = %s", job_id) + rows(
        "SELECT * FROM analytics_usagerecord WHERE job_id = %s", job_id
    )


def long_audio(deployment: Deployment) -> set[str]:
    """The keys of what is stored of long jobs."""
    media = deployment.server.data_dir / "media"
    return {str(path.relative_to(media)) for path in media.rglob("*.wav") if path.stat().st_size > 20_000_000}


HOLD = """
import time
from django.db import connection, transaction
from accounts.models import Organization
with transaction.atomic():
    Organization.objects.select_for_update().get()
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.environ.get("FAULTS") != "full", reason="takes half a minute: FAULTS=full")
def test_a_machine_that_is_cut_off_locks_nobody_out(site: Site) -> None:
    machine, deployment = site.machines[0], site.deployment
    variables = {**deployment.variables, "DATABASE_URL": deployment.postgres.url(machine.gateway)}
    holder = subprocess.Popen(
        [*machine.prefix, sys.executable, "manage.py", "shell", "-v", "0", "-c", HOLD],
        cwd=ROOT,
        env=environment(deployment.server.data_dir, **variables),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with machine.cut(), deployment.postgres.connect() as connection:
            connection.execute("SET lock_timeout = '45s'")
            connection.execute("SELECT 1 FROM accounts_organization FOR UPDATE")
    finally:
        holder.kill()
        holder.wait(10)
