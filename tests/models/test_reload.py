"""Activating, reloading and rolling back while requests run, over HTTP and in several processes."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ml import runtime as ml_runtime
from models_registry import folders, runtime
from models_registry.models import ModelVersion
from tests.conftest import OWNED_AUDIO, Client, Tenant, error_of
from tests.ml import tiny_voices
from tests.models.support import models, version_of
from tests.platform_process import Platform, environment, manage, running

CLIP = OWNED_AUDIO / "weather.flac"
TEXT = "the weather in the city was warm and the people walked along the river"
PATIENCE = 20.0


def transcribe(client: Client, **fields: str) -> httpx.Response:
    return client.post("/stt/transcribe", files={"audio_file": (CLIP.name, CLIP.read_bytes())}, data=fields)


def synthesize(client: Client, **fields: str) -> httpx.Response:
    return client.post("/tts/synthesize", json={"text": "The river was high.", **fields})


@contextmanager
def requests_under_way(
    tenant: Tenant, send: Callable[..., httpx.Response] = transcribe, *, shown: str = "text", **fields: str
) -> Iterator[Counter]:
    """Four clients that send without a pause; counts (status, what was `shown`) of every answer."""
    answers: Counter = Counter()
    stop, first = threading.Event(), threading.Barrier(5)

    def client_loop() -> None:
        client = tenant.key()
        waited = False
        while not stop.is_set():
            answer = send(client, **fields)
            answers[answer.status_code, answer.json().get(shown)] += 1
            if not waited:
                first.wait(PATIENCE)
                waited = True

    with ThreadPoolExecutor(4) as threads:
        loops = [threads.submit(client_loop) for _ in range(4)]
        first.wait(PATIENCE)
        try:
            yield answers
        finally:
            stop.set()
    for loop in loops:
        loop.result()


def served_version(name: str = "tiny") -> str:
    (report,) = [report for report in runtime.current.reports() if report.name == name]
    return report.version


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_installed_model_serves_by_name_and_as_the_default(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"))
    named = transcribe(tenant.key("stt"), model="tiny").json()
    assert (named["model_used"], named["text"].lower().strip(" .")) == ("tiny", TEXT)
    assert transcribe(tenant.key("stt")).json()["model_used"] == "tiny"
    assert transcribe(tenant.key("stt"), model="pocketsphinx-en-us").json()["model_used"] == "pocketsphinx-en-us"
    (model,) = [m for m in tenant.user("viewer").get("/models/status").json()["models"] if m["name"] == "tiny"]
    assert (model["active"], model["default"]) == (True, True)
    error_of(transcribe(tenant.key("stt"), model="nonesuch"), 400, "model_not_found")


def test_versions_swap_and_roll_back_under_load(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"))
    models("import", folder("tiny", "2"), "--no-activate")
    admin = tenant.user("admin")
    with requests_under_way(tenant, model="tiny") as answers:
        models("activate", "tiny@2")
        wait_for(lambda: served_version() == "2")
        body = admin.post("/models/reload", json={"model": "tiny"}).json()
        assert [(model["name"], model["version"]) for model in body["reloaded"]] == [("tiny", "2")]
        assert body["failed"] == []
        models("activate", "tiny@1")
        wait_for(lambda: served_version() == "1")
    assert {status for status, _ in answers} == {200}, answers
    assert len(answers) == 1, "every version knows the clip"
    row = ModelVersion.objects.get(name="tiny", version="1")
    assert (row.is_active, row.status, row.loaded_at is not None) == (True, "ready", True)
    assert row.memory_bytes is not None


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voices.sherpa_styled(tmp_path_factory.mktemp("voice") / "model", format="kitten", name="voice").path


def test_voices_swap_and_roll_back_under_load(tenant: Tenant, voice: Path, tmp_path: Path) -> None:
    models("import", voice)
    models("import", version_of(voice, tmp_path / "2", name="voice", version="2"), "--no-activate")
    with requests_under_way(tenant, synthesize, shown="model", model="voice") as answers:
        with ml_runtime.pool.acquire("tts/voice") as engine:
            first = weakref.ref(engine)
        del engine
        models("activate", "voice@2")
        wait_for(lambda: served_version("voice") == "2")
        body = tenant.user("admin").post("/models/reload", json={"model": "voice"}).json()
        assert ([(model["name"], model["version"]) for model in body["reloaded"]], body["failed"]) == (
            [("voice", "2")],
            [],
        )
        models("activate", "voice@1")
        wait_for(lambda: served_version("voice") == "1")
        wait_for(lambda: gc.collect() >= 0 and first() is None)
    assert set(answers) == {(200, "voice")}, answers
    assert answers.total() > 12
    assert ModelVersion.objects.get(name="voice", version="2").memory_bytes is None


def test_corrupt_folder_is_refused_and_the_running_version_stays(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"))
    assert transcribe(tenant.key("stt"), model="tiny").status_code == 200
    file = folders.base() / ModelVersion.objects.get(name="tiny").path / "model.bin"
    whole = file.read_bytes()
    file.unlink()
    file.write_bytes(whole[: len(whole) // 2])
    body = tenant.user("admin").post("/models/reload", json={"task": "stt", "model": "tiny"}).json()
    assert body["reloaded"] == []
    (failure,) = body["failed"]
    assert "'model.bin' is corrupt" in failure["error"]
    status = tenant.user("viewer").get("/models/status").json()
    assert status["healthy"] is False
    (model,) = [model for model in status["models"] if model["name"] == "tiny"]
    assert (model["status"], "is corrupt" in model["last_error"]) == ("failed", True)
    assert transcribe(tenant.key("stt"), model="tiny").json()["text"].lower().strip(" .") == TEXT
    file.write_bytes(whole)
    repaired = tenant.user("admin").post("/models/reload", json={"model": "tiny"}).json()
    assert repaired["failed"] == []
    assert tenant.user("viewer").get("/models/status").json()["healthy"] is True


def test_removed_model_is_gone(tenant: Tenant, folder: Callable[..., Path]) -> None:
    models("import", folder("tiny", "1"))
    assert transcribe(tenant.key("stt"), model="tiny").status_code == 200
    models("remove", "tiny", "--force")
    wait_for(lambda: not [report for report in runtime.current.reports() if report.name == "tiny"])
    error_of(transcribe(tenant.key("stt"), model="tiny"), 400, "model_not_found")


@pytest.mark.parametrize("path", ["/models/reload", "//ml/stt/reload"])
def test_reload_of_what_is_not_there(tenant: Tenant, path: str) -> None:
    error_of(tenant.user("admin").post(path, json={"model": "nonesuch"}), 404, "model_not_found")
    error_of(tenant.user("admin").post(path, json={"modle": "x"}), 400, "parameter_unknown")


def test_reload_of_an_unknown_task(tenant: Tenant) -> None:
    error = error_of(tenant.user("admin").post("/models/reload", json={"task": "asr"}), 400)
    assert error["param"] == "task"


# ── Several processes ───────────────────────────────────────────────────────────────────────────────────────────────


def test_two_servers_swap(folder: Callable[..., Path], tmp_path: Path) -> None:
    """Two servers on one database: a command tells both."""
    data = tmp_path / "data"
    env = environment(data)
    with running(data) as one, running(data) as two:
        for version in ("1", "2"):
            done = manage("models", "import", str(folder("tiny", version)), env=env)
            assert done.returncode == 0, done.stderr
            assert "Served by 2 processes" in done.stdout, done.stdout + done.stderr
            for platform in (one, two):
                with httpx.Client(timeout=60, trust_env=False) as client:
                    platform.log_in(client)
                    assert versions(platform, client) == [version, version]
                    answer = client.post(
                        f"{platform.url}/api/v1/stt/transcribe",
                        files={"audio_file": CLIP.read_bytes()},
                        data={"model": "tiny"},
                    )
                    assert answer.json()["model_used"] == "tiny", answer.text
        two.stop()
        with httpx.Client(timeout=60, trust_env=False) as client:
            one.log_in(client)
            assert versions(one, client) == ["2"], "a server that stops signs off"
    shutil.rmtree(data, ignore_errors=True)


def versions(platform: Platform, client: httpx.Client) -> list[str]:
    """Of the model in each process."""
    workers = client.get(f"{platform.url}/api/v1/models/status").json()["workers"]
    return [model["version"] for worker in workers for model in worker["models"] if model["name"] == "tiny"]
