"""GET and DELETE /stt/jobs."""

from __future__ import annotations

import re

import pytest
from django.core.files.storage import default_storage

from analytics.models import UsageRecord
from stt.models import AudioFile, SttJob, Transcription
from tests.api.support import owned_clips, silence
from tests.conftest import Tenant, error_of


def _job(tenant: Tenant, name: str | None = "numbers.wav") -> dict:
    content = owned_clips()[name].path.read_bytes() if name else silence(0.5)
    return tenant.key("stt").post("/stt/transcribe", files={"audio_file": (name or "s.wav", content)}).json()


def test_one(tenant: Tenant) -> None:
    made = _job(tenant)
    shown = tenant.user("viewer").get(f"/stt/jobs/{made['job_id']}").json()
    assert {**shown, "audio_url": ""} == {**made, "audio_url": ""}


def test_formats(tenant: Tenant) -> None:
    made = _job(tenant)
    viewer = tenant.user("viewer")
    url = f"/stt/jobs/{made['job_id']}"
    assert viewer.get(f"{url}?format=json").json()["text"] == made["text"]

    srt = viewer.get(f"{url}?format=srt")
    assert srt.status_code == 200, srt.text
    assert srt.headers["Content-Type"] == "application/x-subrip; charset=utf-8"
    assert re.match(r"1\r?\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\r?\n", srt.text)
    vtt = viewer.get(f"{url}?format=vtt")
    assert vtt.headers["Content-Type"] == "text/vtt; charset=utf-8"
    assert vtt.text.startswith("WEBVTT\n")
    txt = viewer.get(f"{url}?format=txt")
    assert txt.headers["Content-Type"] == "text/plain; charset=utf-8"
    for answer in (srt, vtt, txt):
        words = re.sub(r"WEBVTT|^[\d:.,> -]*$", "", answer.text, flags=re.MULTILINE).split()
        assert words == made["text"].split()
        assert made["job_id"] in answer.headers["Content-Disposition"]
    assert error_of(viewer.get(f"{url}?format=pdf"), 400)["param"] == "format"
    assert error_of(viewer.get(f"{url}?fmt=srt"), 400)["param"] == "fmt"


def test_formats_of_silence(tenant: Tenant) -> None:
    url = f"/stt/jobs/{_job(tenant, None)['job_id']}"
    client = tenant.key("stt")
    assert client.get(f"{url}?format=srt").text.strip() == ""
    assert client.get(f"{url}?format=vtt").text.strip() == "WEBVTT"
    assert client.get(f"{url}?format=txt").text.strip() == ""


def test_failed_job_has_a_reason_and_no_subtitles(tenant: Tenant) -> None:
    client = tenant.key("stt")
    error_of(client.post("/stt/transcribe", files={"audio_file": ("x.wav", b"no audio")}), 422)
    failed = client.get("/stt/jobs?status=failed").json()["results"]
    assert [job["error"]["code"] for job in failed] == ["audio_undecodable"]
    job = failed[0]
    assert (job["text"], job["timestamps"], job["audio_url"], job["quality"]) == (None, None, None, None)
    error_of(client.get(f"/stt/jobs/{job['job_id']}?format=srt"), 409, "job_not_succeeded")
    assert client.get("/stt/jobs?status=succeeded").json()["results"] == []
    assert client.delete(f"/stt/jobs/{job['job_id']}").status_code == 204


def test_list_is_paged_newest_first(tenant: Tenant) -> None:
    ids = [_job(tenant, None)["job_id"] for _ in range(3)]
    page = tenant.user("viewer").get("/stt/jobs?page_size=2").json()
    assert page["count"] == 3
    assert [job["job_id"] for job in page["results"]] == ids[:0:-1]
    assert [job["job_id"] for job in tenant.user("viewer").get(page["next"]).json()["results"]] == ids[:1]


def test_deleting_takes_audio_and_text_along_and_keeps_the_usage(tenant: Tenant) -> None:
    made = _job(tenant, None)
    key = AudioFile.objects.get(organization=tenant.organization).key
    client = tenant.key("stt")
    assert client.delete(f"/stt/jobs/{made['job_id']}").status_code == 204
    for model in (SttJob, AudioFile, Transcription):
        assert not model.objects.filter(organization=tenant.organization).exists()
    assert not default_storage.exists(key)
    error_of(client.get(made["audio_url"]), 404, "audio_deleted")
    error_of(client.get(f"/stt/jobs/{made['job_id']}"), 404)
    assert UsageRecord.objects.get(job_id=made["job_id"]).audio_seconds == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("job_id", ["7a1d2c3e-0000-4000-8000-000000000001", "1", "x"])
def test_unknown(tenant: Tenant, job_id: str) -> None:
    error_of(tenant.key("stt").get(f"/stt/jobs/{job_id}"), 404, "not_found")
    error_of(tenant.key("stt").get(f"/stt/jobs/{job_id}?format=srt"), 404, "not_found")
