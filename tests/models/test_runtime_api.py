"""/ml/{stt,tts}/…: the runtime of the process that answers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from analytics import quota
from analytics.models import QuotaPeriod, UsageRecord
from ml import runtime as ml_runtime
from tests.api.support import assert_nothing_was_kept, decode, silence
from tests.conftest import OWNED_AUDIO, Tenant, error_of
from tests.models.support import models


def test_health_and_models(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    health = admin.get("//ml/stt/health").json()
    assert health["status"] == "healthy"
    assert "pocketsphinx-en-us" in {model["name"] for model in health["models"]}
    serving = {model["name"]: model for model in admin.get("//ml/stt/models").json()["serving"]}
    assert serving["pocketsphinx-en-us"]["capabilities"]["languages"] == ["en"]
    assert "espeak-ng" in {model["name"] for model in admin.get("//ml/tts/models").json()["serving"]}


def test_transcribe_shows_every_stage_and_keeps_nothing(tenant: Tenant) -> None:
    clip = OWNED_AUDIO / "weather.flac"
    body = tenant.user("admin").post(
        "//ml/stt/transcribe?language_hint=en", files={"file": (clip.name, clip.read_bytes())}
    ).json()  # fmt: skip
    assert "weather" in body["text"].lower()
    meta = body["meta"]
    assert {"decode", "vad", "recognise", "score"} <= {stage["name"] for stage in meta["stages"]}
    assert all(stage["seconds"] >= 0 for stage in meta["stages"])
    assert meta["segments"][0]["words"]
    outputs = {stage["name"]: stage["output"] for stage in meta["stages"]}
    assert outputs["decode"]["sample_rate"]
    assert outputs["vad"]["windows"][0]["end"] > 0
    assert outputs["truecase"]["texts"] != outputs["recognise"]["texts"]
    assert " ".join(outputs["itn"]["texts"]) == body["text"]
    assert meta["routing"]["model"] == body["model_used"]
    assert billed(tenant).audio_seconds == pytest.approx(body["duration_seconds"])
    assert_nothing_was_kept(tenant)


def test_transcribe_refuses_what_it_cannot_use(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    error_of(admin.post("//ml/stt/transcribe", files={"file": ("a.wav", b"")}), 422, "audio_empty")
    error_of(admin.post("//ml/stt/transcribe", files={"file": ("a.wav", b"noise" * 99)}), 422, "audio_undecodable")
    error_of(admin.post("//ml/stt/transcribe", files={"wrong": ("a.wav", b"")}), 400)


def test_synthesize_shows_every_chunk_and_keeps_nothing(tenant: Tenant) -> None:
    body = tenant.user("admin").post("//ml/tts/synthesize", json={"text": "Good morning. How are you?"}).json()
    sound = decode(base64.b64decode(body["audio_base64"]))
    assert sound.sample_rate == body["sample_rate"]
    assert abs(sound.seconds - body["duration_seconds"]) < 0.05
    assert len(body["meta"]["chunks"]) == 2
    assert body["meta"]["voice"]["model"] == "espeak-ng"
    assert billed(tenant).characters == len("Good morning. How are you?")
    assert_nothing_was_kept(tenant)


def test_what_runs_is_metered(tenant: Tenant) -> None:
    """Nobody gets past a quota by the operators' door."""
    quota.set_quota(organization=tenant.organization, monthly_characters=20, monthly_audio_seconds=2)
    admin = tenant.user("admin")

    def hear() -> httpx.Response:
        return admin.post("//ml/stt/transcribe", files={"file": ("s.wav", silence(1.5))})

    assert admin.post("//ml/tts/synthesize", json={"text": "Fifteen letters"}).status_code == 200
    error_of(admin.post("//ml/tts/synthesize", json={"text": "Fifteen letters"}), 402, "quota_exceeded")
    error_of(admin.post("//ml/stt/transcribe", files={"file": ("a.wav", b"noise" * 99)}), 422)
    assert hear().status_code == 200
    error_of(hear(), 402, "quota_exceeded")
    period = QuotaPeriod.objects.get(organization=tenant.organization)
    assert (period.used_characters, period.used_audio_seconds) == (15, Decimal("1.5"))
    assert (period.reserved_characters, period.reserved_audio_seconds) == (0, 0)
    assert UsageRecord.objects.filter(organization=tenant.organization).count() == 2


def billed(tenant: Tenant) -> UsageRecord:
    """The one record of what was used, taken away."""
    row = UsageRecord.objects.get(organization=tenant.organization)
    UsageRecord.objects.filter(id=row.id).delete()
    return row


def test_initialize_installs_and_warms(tenant: Tenant, folder: Callable[..., Path]) -> None:
    admin = tenant.user("admin")
    models("import", folder("tiny", "1"))
    body = admin.post("//ml/stt/initialize", json={"warm": True}).json()
    assert body["refused"] == []
    (tiny,) = [model for model in body["models"] if model["name"] == "tiny"]
    assert (tiny["status"], tiny["version"]) == ("ready", "1")
    told = [model for worker in admin.get("/models/status").json()["workers"] for model in worker["models"]]
    (seen,) = [model for model in told if model["name"] == "tiny"]
    assert seen["loaded_at"].endswith("Z")
    assert ml_runtime.pool.state("stt/tiny").status == "ready"


def test_roles(tenant: Tenant) -> None:
    for role in ("viewer", "developer"):
        error_of(tenant.user(role).get("//ml/stt/health"), 403)
        error_of(tenant.user(role).post("/models/reload", json={}), 403)
    error_of(tenant.key().get("//ml/stt/health"), 403, "key_not_allowed")
