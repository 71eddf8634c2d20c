"""Settings of the runtime: models are loaded at the start, and freed when nobody used them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from tests.platform_process import ROOT, environment, manage, running

AN4 = ROOT / "training" / "stt" / "artifacts" / "an4"
PATIENCE = 60.0


def model(client: httpx.Client, url: str) -> dict[str, Any]:
    rows = client.get(f"{url}/api/v1/models/status").json()["models"]
    return next(row for row in rows if row["engine"] == "sherpa")


def test_models_are_warmed_and_freed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    env = environment(data)
    with running(data) as platform:
        done = manage("models", "import", str(AN4), env=env)
        assert done.returncode == 0, done.stderr
        name = done.stdout.split("@")[0].split()[-1]
        assert manage("models", "activate", name, env=env).returncode == 0
    with running(data, MODELS_WARM="true", MODEL_IDLE_SECONDS="2") as platform, httpx.Client(trust_env=False) as client:
        platform.log_in(client)
        seen: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while seen[-1:] != ["registered"] or "ready" not in seen:
            assert time.monotonic() < deadline, seen
            seen.append(model(client, platform.url)["status"])
            time.sleep(0.1)
    assert "ready" in seen  # loaded before anybody asked for it, and freed again


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    for name, value in (("MODEL_IDLE_SECONDS", "-1"), ("MODEL_MAX_QUEUE", "0"), ("MODEL_MEMORY_MB", "much")):
        done = manage("check", env=environment(tmp_path / "data", **{name: value}))
        assert done.returncode != 0
        assert name in done.stderr
