"""POST /stt/transcribe with speakers: in every form of output, billed for what was recognised, refused honestly."""

from __future__ import annotations

import json

import httpx
import numpy as np

from analytics import quota
from analytics.models import UsageRecord
from stt.models import AudioFile, SttJob
from tests.api.support import decode, owned_clips, silence, wav
from tests.conftest import Client, Tenant, error_of


def _post(client: Client, content: bytes, **fields: str) -> httpx.Response:
    return client.post("/stt/transcribe", files={"audio_file": ("call.wav", content)}, data=fields)


def _call() -> tuple[bytes, float]:
    """Two people on two channels, the second of whom speaks first, and its seconds."""
    clips = owned_clips()
    late, early = (decode(clips[name].path.read_bytes()).samples[0] for name in ("numbers.wav", "weather.flac"))
    rate = decode(clips["numbers.wav"].path.read_bytes()).sample_rate
    late = late[: 2 * rate]
    channels = np.zeros((len(early) + len(late), 2), np.float32)
    channels[: len(early), 1], channels[-len(late) :, 0] = early, late
    return wav(channels, rate), len(channels) / rate


def test_a_channel_a_speaker_in_every_form(tenant: Tenant) -> None:
    client = tenant.key("stt")
    content, seconds = _call()
    answer = _post(client, content, diarize="true", channels="separate", word_timestamps="true")
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert [segment["speaker"] for segment in job["timestamps"]] == ["speaker_2", "speaker_1"]
    assert job["timestamps"][0]["text"].lower().startswith("the weather in the city was warm")
    assert all(segment["words"] for segment in job["timestamps"])

    def shown(format_name: str) -> str:
        return client.get(f"/stt/jobs/{job['job_id']}?format={format_name}").text

    assert [segment["speaker"] for segment in json.loads(shown("json"))["timestamps"]] == ["speaker_2", "speaker_1"]
    assert "speaker_2: The weather in the city" in shown("srt")
    assert "<v speaker_2>The weather in the city" in shown("vtt")
    assert [line.partition(": ")[0] for line in shown("txt").splitlines()] == ["speaker_2", "speaker_1"]

    assert job["duration_seconds"] == round(seconds, 4) or abs(job["duration_seconds"] - seconds) < 0.05
    usage = UsageRecord.objects.get(job_id=job["job_id"])
    assert abs(usage.audio_seconds - 2 * seconds) < 0.1
    kept = SttJob.objects.get(id=job["job_id"]).options
    assert (kept["channels"], kept["diarize"], kept["speakers"]) == ("separate", True, None)


def test_one_channel_is_no_speaker_each(tenant: Tenant) -> None:
    for fields in ({"channels": "separate"}, {"channels": "separate", "diarize": "true"}):
        error = error_of(_post(tenant.key("stt"), silence(1), **fields), 422, "channels_unsuitable")
        assert error["param"] == "channels"
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()
    assert (
        sum(UsageRecord.objects.filter(organization=tenant.organization).values_list("audio_seconds", flat=True)) == 0
    )


def test_the_quota_counts_every_channel(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_audio_seconds=3)
    stereo = wav(np.zeros((2 * 16_000, 2)))
    assert error_of(_post(tenant.key("stt"), stereo, channels="separate"), 402)["quota"]["requested"] == 4
    assert _post(tenant.key("stt"), stereo).status_code == 200


def test_says_what_is_missing_before_there_is_a_job(tenant: Tenant) -> None:
    error = error_of(_post(tenant.key("stt"), silence(1), diarize="true"), 400)
    assert error["param"] == "diarize"
    assert "channels=separate" in error["message"]
    assert not SttJob.objects.filter(organization=tenant.organization).exists()
