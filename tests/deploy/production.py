"""The platform as compose.yaml runs it, in processes: nginx, servers, workers, PostgreSQL, Redis, an S3 store."""

from __future__ import annotations

import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.certificates import self_signed
from tests.faults.deployment import wait_until
from tests.faults.postgres import Postgres, running_postgres
from tests.platform_process import ROOT, TLS, environment, free_port, manage
from tests.s3_store import Store

PASSWORD = "of the first owner, in a file"
BUCKET = "made-by-the-release"
HOST = "speech.test"


@dataclass
class Process:
    """One server or worker."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        return self.process.wait(timeout=60)


class Redis:
    """A server that keeps nothing, and can be taken away and brought back."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.txt").open("ab") as output:
            self.process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=output, stderr=output)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@dataclass
class Production:
    folder: Path
    postgres: Postgres
    redis: Redis
    store: Store
    variables: dict[str, str]
    certificates: ssl.SSLContext
    port: int = 0
    servers: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.certificates, timeout=60, trust_env=False)

    def start(self, name: str, *arguments: str) -> Process:
        """`manage.py …` as a container has it: settings, and a data folder of its own."""
        port, log = free_port(), self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=environment(self.folder / name, PORT=str(port), **self.variables),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Process(process, log, port)

    def answers(self, server: Process) -> bool:
        """As a probe asks: by address, over plain HTTP, of the process itself."""
        assert server.process.poll() is None, server.log.read_text()
        try:
            url = f"http://127.0.0.1:{server.port}/health/ready"
            return httpx.get(url, timeout=10, trust_env=False, verify=TLS).status_code == 200
        except httpx.TransportError:
            return False

    def nginx_log(self) -> str:
        return (self.folder / "nginx" / "error.log").read_text()


@contextmanager
def production(folder: Path) -> Iterator[Production]:
    """Everything has started and answers."""
    with ExitStack() as stack:
        made = _beside_it(folder, stack)
        done = manage("release", env=environment(folder / "release", **made.variables), timeout_seconds=120)
        assert done.returncode == 0, done.stdout + done.stderr
        stack.callback(_stop, made)
        made.servers = [made.start(f"web{number}", "serve", "--no-setup") for number in range(2)]
        made.workers = [
            made.start(
                f"worker{number}", "worker", "--concurrency", "1", "--alive-file", str(folder / f"alive{number}")
            )
            for number in range(2)
        ]
        stack.enter_context(nginx(made))
        for server in made.servers:
            wait_until(lambda at=server: made.answers(at), 90, f"{server.log.read_text()} answers")
        yield made


def _beside_it(folder: Path, stack: ExitStack) -> Production:
    """What the platform stands on, and its settings: secrets in files."""
    postgres = stack.enter_context(running_postgres(folder / "postgres", empty=True))
    redis = Redis(folder)
    stack.callback(redis.stop)
    store = Store()
    stack.callback(store.server.stop)
    secrets = {"SECRET_KEY": "k" * 64, "DATABASE_URL": postgres.url(), "SEED_PASSWORD": PASSWORD}
    for name, value in secrets.items():
        (folder / name).write_text(f"{value}\n")
    certificate = self_signed(folder, "localhost", HOST)
    variables = {
        "ENVIRONMENT": "production",
        "ALLOWED_HOSTS": f"{HOST},localhost",
        "TRUSTED_PROXIES": "1",
        "EMBEDDED_WORKER": "false",
        "DRAIN_SECONDS": "5",
        "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        **store.settings,
        "S3_BUCKET": BUCKET,
        **{f"{name}_FILE": str(folder / name) for name in secrets},
    }
    trusting = ssl.create_default_context(cafile=str(certificate))
    return Production(folder, postgres, redis, store, variables, trusting)


@contextmanager
def nginx(made: Production) -> Iterator[None]:
    """With the very files of deploy/nginx, but for addresses, folders and the certificate's name."""
    folder, plain, made.port = made.folder / "nginx", free_port(), free_port()
    folder.mkdir()
    servers = " ".join(f"server 127.0.0.1:{server.port} max_fails=2 fail_timeout=5s;" for server in made.servers)
    changes = {
        "server web:8000 max_fails=2 fail_timeout=5s;": servers,
        "listen 8080": f"listen 127.0.0.1:{plain}",
        "listen 8443": f"listen 127.0.0.1:{made.port}",
        "certificates/tls.crt": str(made.folder / "localhost.pem"),
        "certificates/tls.key": str(made.folder / "localhost.pem"),
        "/tmp/nginx": f"{folder}/nginx",  # noqa: S108
        "client_header_timeout 10s": "client_header_timeout 2s",  # the tests' time
        "error_log stderr": f"error_log {folder}/error.log",
        "/dev/stdout": f"{folder}/access.log",
    }
    for source in (ROOT / "deploy" / "nginx").glob("*.conf"):
        text = source.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        (folder / source.name).write_text(text)
    shutil.copy(folder / "tls.conf", folder / "site.conf")
    command = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert not re.search(r"\[(warn|error|emerg)\]", checked.stderr), checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _stop(made: Production) -> None:
    for each in (*made.servers, *made.workers):
        each.process.kill()
        each.process.wait(10)
