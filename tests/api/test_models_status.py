"""GET /models/status."""

from __future__ import annotations

from models_registry.models import ModelVersion
from tests.conftest import Tenant

FIELDS = {
    "id", "task", "family", "name", "version", "engine", "status", "default", "languages", "memory_bytes",
    "loaded_at", "last_error",
}  # fmt: skip


def test_embedded_models_are_ready(tenant: Tenant) -> None:
    body = tenant.user("viewer").get("/models/status").json()
    assert body["healthy"] is True
    models = {model["task"]: model for model in body["models"] if model["version"] == "builtin"}
    assert set(models) == {"stt", "tts"}
    for model in models.values():
        assert set(model) == FIELDS
        assert (model["status"], model["default"]) == ("ready", True)
    assert models["stt"]["engine"] == "pocketsphinx"
    assert "en" in models["stt"]["languages"]
    assert len(models["tts"]["languages"]) > 80
    assert len(body["workers"]) == 1


def test_failed_default_model_is_unhealthy(tenant: Tenant) -> None:
    rows = ModelVersion.objects.filter(task="stt", is_default=True)
    rows.update(status="failed", last_error="The file is damaged.")
    try:
        body = tenant.user("viewer").get("/models/status").json()
    finally:
        rows.update(status="ready", last_error="")
    assert body["healthy"] is False
    assert "The file is damaged." in {model["last_error"] for model in body["models"]}
