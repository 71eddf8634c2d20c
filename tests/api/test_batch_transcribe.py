"""POST /stt/batch-transcribe."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from analytics.models import UsageRecord
from stt.models import SttJob
from tests.api.support import assert_nothing_was_kept, owned_clips, silence, word_error_rate
from tests.conftest import Tenant, error_of


def test_answers_in_order_and_past_failures(tenant: Tenant) -> None:
    known = owned_clips()
    files = [
        ("audio_files", ("numbers.wav", known["numbers.wav"].path.read_bytes())),
        ("audio_files", ("text.wav", b"this is no audio")),
        ("audio_files", ("empty.wav", b"")),
        ("audio_files", ("weather.flac", known["weather.flac"].path.read_bytes())),
        ("audio_files", ("silence.wav", silence(1))),
    ]
    answer = tenant.key("stt").post("/stt/batch-transcribe", files=files, data={"word_timestamps": "true"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    numbers, text, empty, weather, quiet = body["items"]
    for item, name in ((numbers, "numbers.wav"), (weather, "weather.flac")):
        assert item["filename"] == name
        assert word_error_rate([known[name].text], [item["text"]]) < 0.35
        assert item["timestamps"][0]["words"]
        assert item["batch_id"] == body["batch_id"]
    assert text["filename"] == "text.wav"
    assert text["error"]["code"] == "audio_undecodable"
    assert text["error"]["type"] == "invalid_request_error"
    assert (empty["filename"], empty["error"]["code"]) == ("empty.wav", "audio_empty")
    assert (quiet["text"], quiet["status"]) == ("", "succeeded")

    jobs = SttJob.objects.filter(organization=tenant.organization)
    assert {str(job.batch_id) for job in jobs} == {body["batch_id"]}
    assert sorted(job.status for job in jobs) == ["failed", "succeeded", "succeeded", "succeeded"]
    billed = sum(record.audio_seconds for record in UsageRecord.objects.filter(organization=tenant.organization))
    seconds = known["numbers.wav"].seconds + known["weather.flac"].seconds + 1
    assert billed == pytest.approx(seconds, abs=0.1)


def test_rejects_wrong_batches(tenant: Tenant, settings: Settings) -> None:
    client = tenant.key("stt")
    file = ("audio_files", ("a.wav", silence(0.5)))
    error_of(client.post("/stt/batch-transcribe", files=[file], data={"model": "none"}), 400, "model_not_found")
    assert error_of(client.post("/stt/batch-transcribe", files={"x": (None, "1")}), 400)["param"] == "x"
    named = client.post("/stt/batch-transcribe", files=[file, ("audio_file", ("b.wav", silence(0.5)))])
    assert error_of(named, 400)["param"] == "audio_file"
    error_of(client.post("/stt/batch-transcribe", files={"audio_files": (None, "text")}), 400)
    settings.STT_MAX_BATCH_FILES = 2
    error_of(client.post("/stt/batch-transcribe", files=[file] * 3), 400, "batch_too_large")
    error_of(client.post("/stt/batch-transcribe", files=[file] * 60), 413, "request_too_large")
    error_of(client.post("/stt/batch-transcribe", json={}), 415)
    assert_nothing_was_kept(tenant)
