"""A worker of its own (`manage.py worker`) serves installed models, and follows what other processes activate."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.models.support import version_of
from tests.models.test_reload import CLIP, TEXT
from tests.platform_process import ROOT, Platform, environment, manage, running

AN4 = ROOT / "training" / "stt" / "artifacts" / "an4"
PATIENCE = 60.0


@contextmanager
def worker(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "manage.py", "worker"], cwd=ROOT, env=environment(data))
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def ended(platform: Platform, client: httpx.Client) -> dict[str, Any]:
    """A queued job for the installed model, once a worker has done it."""
    answer = client.post(
        f"{platform.url}/api/v1/stt/transcribe",
        files={"audio_file": CLIP.read_bytes()},
        data={"model": "model", "async": "true"},
    )
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = client.get(f"{platform.url}{answer.headers['Location']}").json()
        if job["status"] not in ("queued", "processing"):
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def test_worker_serves_an_installed_model_and_follows(
    whisper: Path, folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Two models that hear different words serve in turn under one name: the words say which the worker used."""
    data = tmp_path / "data"
    env = environment(data)
    with (
        running(data, EMBEDDED_WORKER="false") as platform,
        worker(data),
        httpx.Client(timeout=60, trust_env=False) as client,
    ):
        platform.log_in(client)
        imported = manage("models", "import", str(folder("model", "1")), env=env)
        assert imported.returncode == 0, imported.stderr
        first = ended(platform, client)
        assert (first["status"], first["model_used"]) == ("succeeded", "model"), first
        assert first["text"].lower().strip(" .") == TEXT
        other = version_of(AN4, tmp_path / "an4", name="model", version="2")
        imported = manage("models", "import", str(other), env=env)
        assert "Served by 2 processes" in imported.stdout, imported.stdout + imported.stderr
        second = ended(platform, client)
        assert (second["status"], second["model_used"]) == ("succeeded", "model")
        assert second["text"].lower().strip(" .") != TEXT
        workers = client.get(f"{platform.url}/api/v1/models/status").json()["workers"]
        served = {w["kind"]: m for w in workers for m in w["models"] if m["name"] == "model"}
        assert {kind: model["version"] for kind, model in served.items()} == {"server": "2", "worker": "2"}
        assert served["worker"]["memory_bytes"]
        assert manage("models", "rollback", "model", env=env).returncode == 0
        assert ended(platform, client)["text"].lower().strip(" .") == TEXT
        forced = ("--force", "--reason", "to see that both follow")
        tried = manage("models", "promote", "model@2", "--canary", "100", *forced, env=env)
        assert "Served by 2 processes" in tried.stdout, tried.stdout + tried.stderr
        assert ended(platform, client)["text"].lower().strip(" .") != TEXT
        assert manage("models", "rollback", "model", env=env).returncode == 0
        gone = time.monotonic() + PATIENCE
        while ended(platform, client)["text"].lower().strip(" .") != TEXT:
            assert time.monotonic() < gone
