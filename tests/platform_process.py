"""The platform as its users start it: `manage.py serve` in a process, with a data folder and a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
TLS = ssl.create_default_context()
"""For all clients of the tests: to read the authorities' certificates anew takes longer than most requests do."""
LIMITS = httpx.Limits(max_connections=100)
"""For clients that many threads share: all connections may stay open. httpcore closes surplus ones even when it has
just given them to a request of another thread, which then fails or hangs (encode/httpcore#1110)."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """As on a machine where nothing is set, but for `variables`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "ENV_FILE": os.devnull, "DATA_DIR": str(data_dir), **variables}


def manage(*arguments: str, env: Mapping[str, str], timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs a management command to its end."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


@dataclass
class Platform:
    process: subprocess.Popen[str]
    url: str
    output: Path
    data_dir: Path

    def log_in(self, client: httpx.Client) -> httpx.Response:
        """As the owner who was seeded; the client then acts as that user."""
        body = {"email": "owner@acme.dev", "password": "ChangeMe123!"}
        answer = client.post(f"{self.url}/api/v1/auth/login", json=body)
        if answer.status_code == 200:
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        """Its exit code."""
        self.process.send_signal(sign)
        return self.process.wait(timeout=30)

    def database_processes(self) -> list[psutil.Process]:
        """The embedded PostgreSQL's server processes."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if "postgres" in line and str(self.data_dir) in line:
                found.append(process)
        return found


@contextmanager
def running(data_dir: Path, *, port: int | None = None, first: bool = False, **variables: str) -> Iterator[Platform]:
    """Ready to serve; stopped at the end if it still runs.

    first: it makes its database itself, as its first start on a machine does, which takes seconds.
    """
    if not (first or "DATABASE_URL" in variables or (data_dir / "postgres").exists()):
        from tests import prepared

        prepared.copy_to(data_dir / "postgres")
    port = port or free_port()
    output = data_dir.parent / f"{data_dir.name}.{port}.{time.monotonic_ns()}.log"
    command = [sys.executable, "manage.py", "serve"]
    with output.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(data_dir, PORT=str(port), **variables),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    platform = Platform(process, f"http://127.0.0.1:{port}", output, data_dir)
    try:
        _wait_until_ready(platform)
        yield platform
    finally:
        if process.poll() is None:
            platform.stop()


def _wait_until_ready(platform: Platform) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if platform.process.poll() is not None:
            raise AssertionError(platform.output.read_text())
        try:
            if httpx.get(f"{platform.url}/health/ready", timeout=10, trust_env=False, verify=TLS).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"not ready after {READY_SECONDS} s: {platform.output.read_text()}")
