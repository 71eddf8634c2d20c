"""An upgrade under load: both servers behind nginx are replaced, releases meet each other and a table that is locked.

    python -m benchmarks.rolling_upgrade            about a minute; needs nginx and redis-server

Prints how each request was answered, then what became of the releases.
"""

from __future__ import annotations

import collections
import logging
import subprocess
import sys
import threading
import time

import psycopg

from tests.deploy.production import PASSWORD, Production, production
from tests.faults.deployment import public_folder, wait_until
from tests.platform_process import ROOT, environment, manage

SENTENCE = "Good morning, everybody. "
SENTENCES = (0, 1, 1, 5)
"""Of each client; 0: it asks who it is."""


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with public_folder() as folder, production(folder) as platform:
        under_load(platform)
        releases_that_meet(platform)
        release_that_waits(platform)


def under_load(platform: Production) -> None:
    answers: collections.Counter[str] = collections.Counter()
    stop = threading.Event()
    token = log_in(platform)
    clients = [threading.Thread(target=ask, args=(platform, token, size, answers, stop)) for size in SENTENCES]
    for client in clients:
        client.start()
    time.sleep(3)
    for number in range(len(platform.servers)):
        replace(platform, number)
        time.sleep(6)  # nginx leaves a server that failed alone for 5 s
    stop.set()
    for client in clients:
        client.join()
    print(f"requests while both servers were replaced: {dict(answers)}")


def log_in(platform: Production) -> str:
    with platform.client() as client:
        body = {"email": "owner@acme.dev", "password": PASSWORD}
        return client.post("/api/v1/auth/login", json=body).json()["access_token"]


def ask(platform: Production, token: str, size: int, answers: collections.Counter[str], stop: threading.Event) -> None:
    with platform.client() as client:
        client.headers["Authorization"] = f"Bearer {token}"
        while not stop.is_set():
            if size:
                answer = client.post("/api/v1/tts/synthesize", json={"text": SENTENCE * size})
            else:
                answer = client.get("/api/v1/auth/me")
            answers[f"{answer.request.method} {answer.status_code}"] += 1


def replace(platform: Production, number: int) -> None:
    """As a roll does: SIGTERM, then a new one at the same address."""
    old = platform.servers[number]
    assert old.stop() == 0
    with old.log.open("ab") as log:
        old.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--no-setup"],
            cwd=ROOT,
            env=environment(platform.folder / f"web{number}", PORT=str(old.port), **platform.variables),
            stdout=log,
            stderr=log,
        )
    wait_until(lambda: platform.answers(old), 60, "the new server answers")


def releases_that_meet(platform: Production) -> None:
    command = [sys.executable, "manage.py", "release"]
    folders = (platform.folder / f"release{number}" for number in range(2))
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment(folder, **platform.variables), stdout=subprocess.DEVNULL)
        for folder in folders
    ]
    print(f"two releases at once end with {[each.wait(120) for each in both]}")


def release_that_waits(platform: Production) -> None:
    """For a table that somebody else has: it gives up in time, and may be run again."""
    with platform.postgres.connect() as database:  # as if the last migration were new
        database.execute("DELETE FROM django_migrations WHERE app = 'jobs' AND name = '0005_put_off'")
        database.execute("DROP INDEX jobs_task_put_off")
    env = environment(platform.folder / "release", **platform.variables)
    with psycopg.connect(platform.postgres.url()) as other:
        other.execute("LOCK TABLE procrastinate_jobs IN ROW EXCLUSIVE MODE")
        started = time.monotonic()
        first = manage("release", env=env)
    print(f"behind a locked table: {first.returncode} after {time.monotonic() - started:.0f} s: {first.stderr.strip()}")
    print(f"afterwards: {manage('release', env=env).returncode}")


if __name__ == "__main__":
    main()
