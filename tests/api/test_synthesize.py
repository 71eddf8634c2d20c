"""POST /tts/synthesize."""

from __future__ import annotations

import io
import wave

from analytics.models import UsageRecord
from tests.conftest import Tenant, error_of
from tts.models import TtsJob


def test_speaks_and_accounts(tenant: Tenant) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    answer = tenant.key("tts").post("/tts/synthesize", json={"text": text})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["status"] == "succeeded"
    assert job["characters"] == len(text)

    audio = tenant.key().get(job["audio_url"])
    with wave.open(io.BytesIO(audio.content)) as file:
        seconds = file.getnframes() / file.getframerate()
    assert abs(seconds - job["duration_seconds"]) < 0.01
    assert 1.5 < seconds < 5

    row = TtsJob.objects.get(id=job["job_id"])
    assert row.organization == tenant.organization
    assert row.audio_key.startswith(f"{tenant.organization.id}/tts/")
    usage = UsageRecord.objects.get(job_id=row.id)
    assert (usage.characters, usage.status, usage.model) == (len(text), "succeeded", "espeak-ng")


def test_rejects_blank_text(tenant: Tenant) -> None:
    client = tenant.key("tts")
    for text in ("", "   \n\t", "\u200b\u200b"):
        assert error_of(client.post("/tts/synthesize", json={"text": text}), 400)["param"] == "text"
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()
