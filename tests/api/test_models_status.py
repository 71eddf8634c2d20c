"""GET /models/status."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from models_registry import runtime
from models_registry.models import ModelVersion, WorkerState
from tests.conftest import Tenant

FIELDS = {
    "id", "task", "family", "name", "version", "engine", "format", "status", "default", "active", "languages",
    "licence", "source", "revision", "bytes_on_disk", "memory_bytes", "loaded_at", "last_error", "results",
}  # fmt: skip


def test_embedded_models_are_ready(tenant: Tenant) -> None:
    body = tenant.user("viewer").get("/models/status").json()
    assert body["healthy"] is True
    models = {model["task"]: model for model in body["models"] if model["version"] == "builtin"}
    assert set(models) == {"stt", "tts"}
    for model in models.values():
        assert set(model) == FIELDS
        assert (model["status"], model["default"], model["active"]) == ("ready", True, True)
    assert models["stt"]["engine"] == "pocketsphinx"
    assert "en" in models["stt"]["languages"]
    assert len(models["tts"]["languages"]) > 80


def test_failed_default_model_is_unhealthy(tenant: Tenant) -> None:
    rows = ModelVersion.objects.filter(task="stt", is_default=True)
    rows.update(status="failed", last_error="The file is damaged.")
    try:
        body = tenant.user("viewer").get("/models/status").json()
    finally:
        rows.update(status="ready", last_error="")
    assert body["healthy"] is False
    assert "The file is damaged." in {model["last_error"] for model in body["models"]}


def test_every_process_tells_of_its_models(tenant: Tenant) -> None:
    (worker,) = tenant.user("viewer").get("/models/status").json()["workers"]
    assert worker["kind"] == "server"
    assert worker["memory_bytes"] > 10_000_000
    assert {"task", "name", "version", "status", "memory_bytes", "loaded_at", "last_error", "on_trial"} == set(
        worker["models"][0]
    )
    assert ("stt", "pocketsphinx-en-us", "builtin") in {
        (model["task"], model["name"], model["version"]) for model in worker["models"]
    }


def test_memory_counts_an_engines_processes(tenant: Tenant) -> None:
    assert tenant.key("tts").post("/tts/synthesize", json={"text": "Hello."}).status_code == 200
    runtime.current.report()
    (worker,) = tenant.user("viewer").get("/models/status").json()["workers"]
    (embedded,) = (model for model in worker["models"] if (model["task"], model["version"]) == ("tts", "builtin"))
    assert embedded["memory_bytes"] > 4_000_000


def test_silent_process_is_gone(tenant: Tenant) -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    silent = WorkerState.objects.create(
        id="other:1:1", kind="server", host="other", pid=1, started_at=long_ago, seen_at=long_ago
    )
    workers = tenant.user("viewer").get("/models/status").json()["workers"]
    silent.delete()
    assert "other" not in {worker["host"] for worker in workers}
