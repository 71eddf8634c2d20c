"""The platform as it runs in production: PostgreSQL, a server that only answers, and workers that compute."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.faults.postgres import Postgres, running_postgres
from tests.platform_process import LIMITS, ROOT, Platform, environment, running

LEASE_SECONDS = 2

SETTINGS = {
    "EMBEDDED_WORKER": "false",
    "JOB_LEASE_SECONDS": str(LEASE_SECONDS),
    "DRAIN_SECONDS": "2",
    "RATE_LIMIT_ACTOR_PER_MINUTE": "1000000",
    "RATE_LIMIT_ORGANIZATION_PER_MINUTE": "1000000",
    # Large enough for everything, so that each job reserves and settles.
    "QUOTA_DEFAULT_MONTHLY_CHARACTERS": "1000000000",
    "QUOTA_DEFAULT_MONTHLY_AUDIO_SECONDS": "1000000000",
}


@dataclass
class Deployment:
    postgres: Postgres
    server: Platform
    client: httpx.Client
    variables: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *arguments: str, prefix: tuple[str, ...] = (), **variables: str) -> subprocess.Popen[bytes]:
        """`manage.py worker`. prefix: a command that runs it, such as `ip netns exec`."""
        command = [*prefix, sys.executable, "manage.py", "worker", *arguments]
        with self._log(len(self.workers)).open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(self.server.data_dir, **{**self.variables, **variables}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(process)
        return process

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.client.post(path, **request)

    def job(self, kind: str, job_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/{kind}/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log_of(self, worker: subprocess.Popen[bytes]) -> Path:
        return self._log(self.workers.index(worker))

    def _log(self, number: int) -> Path:
        return self.server.output.with_suffix(f".worker{number}.log")

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.server.output.parent.glob("*.log"))


@contextmanager
def deployed(folder: Path, *, postgres: Postgres | None = None, **variables: str) -> Iterator[Deployment]:
    """Ready to serve, without workers. Everything is stopped at the end."""
    with ExitStack() as stack:
        database = postgres or stack.enter_context(running_postgres(folder / "postgres"))
        settings = {**SETTINGS, "DATABASE_URL": database.url(), **variables}
        server = stack.enter_context(running(folder / "data", **settings))
        client = stack.enter_context(
            httpx.Client(base_url=f"{server.url}/api/v1", timeout=120, trust_env=False, limits=LIMITS)
        )
        assert server.log_in(client).status_code == 200
        made = Deployment(database, server, client, settings)
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.kill()
                worker.wait(10)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach too; pytest's are closed to others."""
    with tempfile.TemporaryDirectory(prefix="speech-faults-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def wait_until(condition: Callable[[], Any], seconds: float, what: str, every: float = 0.05) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s not yet: {what}"
        time.sleep(every)
    return found
