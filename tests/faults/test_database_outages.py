"""PostgreSQL restarted, stopped and brought back in the middle of load; no process of the platform is restarted."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import error_of
from tests.faults.deployment import LEASE_SECONDS, Deployment, deployed, public_folder, wait_until
from tests.faults.load import Load
from tests.faults.postgres import control
from tests.platform_process import running

LONG_TEXT = "This sentence is spoken again and again while the database is away. " * 400


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with public_folder() as folder, deployed(folder) as made:
        yield made


@pytest.fixture
def workers(deployment: Deployment) -> Iterator[Deployment]:
    """Two of them."""
    started = [deployment.start_worker("--concurrency", "2") for _ in range(2)]
    yield deployment
    for worker in started:
        worker.kill()
        worker.wait(10)


class Clients:
    """Requests without a pause, and their answers."""

    def __init__(self, deployment: Deployment) -> None:
        self.answers: list[httpx.Response] = []
        self._deployment = deployment
        self._over = threading.Event()

    @contextmanager
    def at_work(self, count: int) -> Iterator[None]:
        threads = [threading.Thread(target=self._loop, args=(n % 2 == 0,)) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _loop(self, queued: bool) -> None:
        client = self._deployment.client
        with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=120, trust_env=False) as own:
            while not self._over.is_set():
                self.answers.append(own.post("/tts/synthesize", json={"text": "During.", "async": queued}))

    def outcomes(self) -> Counter[int]:
        return Counter(answer.status_code for answer in self.answers)


def test_restarts_in_the_middle_of_load(workers: Deployment) -> None:
    deployment, load, clients = workers, Load(workers), Clients(workers)
    processes = [deployment.server.process, *deployment.workers]
    load.add(20)
    with clients.at_work(4):
        for mode in ("immediate", "fast"):
            answered = len(clients.answers)
            wait_until(lambda n=answered: len(clients.answers) >= n + 8, 60, "requests are answered")
            deployment.postgres.restart(mode)
            wait_until(lambda n=answered: clients.outcomes()[200] > n, 60, "requests succeed again")
    refused = [answer for answer in clients.answers if answer.status_code not in (200, 202)]
    for answer in refused:
        error_of(answer, 503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert len(refused) <= 4 * 4, "only what was under way may fail"

    load.add(20)
    accepted = [answer.json()["job_id"] for answer in clients.answers if answer.status_code in (200, 202)]
    load.jobs["tts"] += accepted
    assert load.wait_until_ended(90) == {"succeeded": load.count}
    assert all(process.poll() is None for process in processes)
    wait_until(lambda: load.queued_tasks() == 0, 30, "no task is left")
    wait_until(lambda: reservations(deployment) == 0, 30, "what interrupted requests reserved is free again")
    load.assert_exact()
    assert_everybody_is_back(deployment)


def reservations(deployment: Deployment) -> int:
    return deployment.postgres.value("SELECT count(*) FROM analytics_reservation")


def assert_everybody_is_back(deployment: Deployment) -> None:
    """Those that listen, those that beat, and those that look for jobs that are to stop."""
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %%' OR query = 'SELECT 1'"
    processes = 3  # the server and two workers hear of models; each worker's two halves hear of tasks
    wait_until(lambda: deployment.postgres.value(listening) >= processes + 4, 40, "all listen again")
    seen = "SELECT min(seen_at) > now() - interval '15 seconds' FROM models_registry_workerstate"
    wait_until(lambda: deployment.postgres.value(seen), 30, "all processes report again")

    job_id = deployment.post("/tts/synthesize", json={"text": LONG_TEXT * 3, "async": True}).json()["job_id"]
    wait_until(lambda: deployment.job("tts", job_id)["progress"] > 0, 30, "progress is written")
    assert deployment.client.delete(f"/tts/jobs/{job_id}").status_code == 204
    billed = "SELECT characters FROM analytics_usagerecord WHERE job_id = %s"
    [(characters,)] = wait_until(lambda: deployment.postgres.rows(billed, job_id), 10, "the computing has stopped")
    assert 0 < characters < len(LONG_TEXT * 3)


def test_what_was_computed_while_the_database_is_away_is_kept(deployment: Deployment) -> None:
    worker = deployment.start_worker()
    job_id = deployment.post("/tts/synthesize", json={"text": LONG_TEXT, "async": True}).json()["job_id"]
    wait_until(lambda: deployment.job("tts", job_id)["status"] == "processing", 30, "it runs")
    deployment.postgres.stop("fast")
    try:
        assert httpx.get(f"{deployment.server.url}/health", trust_env=False).status_code == 200
        ready = httpx.get(f"{deployment.server.url}/health/ready", trust_env=False, timeout=30)
        assert (ready.status_code, ready.json()["checks"]["storage"]) == (503, "ok")
        error_of(deployment.client.get(f"/tts/jobs/{job_id}"), 503, "database_unavailable")
        log = deployment.log_of(worker)
        wait_until(lambda: "could not write to the database; trying again" in log.read_text(), 60, "it has ended")
    finally:
        deployment.postgres.start()
    wait_until(lambda: status_of(deployment, job_id) == "succeeded", 30, "its end is written")
    assert deployment.postgres.rows("SELECT attempts FROM tts_ttsjob WHERE id = %s", job_id) == [(1,)]
    assert deployment.client.get(deployment.job("tts", job_id)["audio_url"]).status_code == 200
    worker.kill()


def status_of(deployment: Deployment, job_id: str) -> str:
    answer = deployment.client.get(f"/tts/jobs/{job_id}")
    return answer.json()["status"] if answer.status_code == 200 else ""


def test_a_task_whose_worker_was_not_told_is_run(deployment: Deployment) -> None:
    """The database marks a task as taken and the connection breaks before the worker hears of it."""
    worker = deployment.start_worker("--queues", "tts")
    first = deployment.post("/tts/synthesize", json={"text": "First.", "async": True}).json()["job_id"]
    wait_until(lambda: deployment.job("tts", first)["status"] == "succeeded", 30, "the worker works")
    worker.send_signal(signal.SIGSTOP)
    job_id = deployment.post("/tts/synthesize", json={"text": "Second.", "async": True}).json()["job_id"]
    taken = deployment.postgres.rows(
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT max(id) FROM procrastinate_workers) "
        "WHERE args->>'job_id' = %s RETURNING id",
        job_id,
    )
    assert len(taken) == 1
    worker.send_signal(signal.SIGCONT)
    wait_until(lambda: deployment.job("tts", job_id)["status"] == "succeeded", 10 * LEASE_SECONDS, "it is run")
    worker.kill()


def test_the_embedded_database_is_restarted(tmp_path: Path) -> None:
    """As `make run` has it: database, server and worker on one machine."""
    with running(tmp_path / "data") as platform, httpx.Client(timeout=60, trust_env=False) as client:
        api = f"{platform.url}/api/v1"
        assert platform.log_in(client).status_code == 200
        control(platform.data_dir / "postgres", "restart", "-m", "immediate")
        for queued in (False, True):
            answer = client.post(f"{api}/tts/synthesize", json={"text": "After.", "async": queued})
            assert answer.status_code in (200, 202), answer.text
            location = f"{api}/tts/jobs/{answer.json()['job_id']}"
            wait_until(lambda at=location: client.get(at).json()["status"] == "succeeded", 30, "the job has ended")
        assert platform.process.poll() is None
        assert platform.stop() == 0
        control(platform.data_dir / "postgres", "stop", "-m", "fast")  # the platform ends what it started itself
