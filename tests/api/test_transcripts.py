"""Correcting, searching, exporting and retrying: PATCH and POST /stt/jobs/{id}…, ?q=, format=docx."""

from __future__ import annotations

import io

from docx import Document

from stt.models import SttJob, Transcription
from tests.api.support import owned_clips
from tests.api.test_async_jobs import finished
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob


def _transcribed(client: Client, name: str = "numbers.wav") -> dict:
    answer = client.post("/stt/transcribe", files={"audio_file": (name, owned_clips()[name].path.read_bytes())})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_edits_a_segment(tenant: Tenant) -> None:
    client = tenant.key("stt")
    job = _transcribed(client)
    words = Transcription.objects.get(job_id=job["job_id"]).segments[0]["words"]
    as_many = " ".join(f"w{number}" for number in range(len(words)))
    edited = client.patch(f"/stt/jobs/{job['job_id']}", json={"segments": [{"index": 0, "text": f"  {as_many}\n"}]})
    assert edited.status_code == 200, edited.text
    assert edited.json()["timestamps"][0]["text"] == as_many
    assert edited.json()["text"].startswith(as_many)
    row = Transcription.objects.get(job_id=job["job_id"])
    assert [word["text"] for word in row.segments[0]["words"]] == as_many.split()
    assert [word["start"] for word in row.segments[0]["words"]] == [word["start"] for word in words]
    assert row.edited_at is not None

    client.patch(f"/stt/jobs/{job['job_id']}", json={"segments": [{"index": 0, "text": "Quite other words here now."}]})
    row.refresh_from_db()
    assert row.segments[0]["words"] == []
    assert "Quite other words" in client.get(f"/stt/jobs/{job['job_id']}?format=srt").text.replace("\n", " ")


def test_refuses_what_is_no_edit(tenant: Tenant) -> None:
    client = tenant.key("stt")
    job = _transcribed(client)
    url = f"/stt/jobs/{job['job_id']}"
    error_of(client.patch(url, json={"segments": [{"index": 99, "text": "x"}]}), 400, "unknown_segment")
    error_of(client.patch(url, json={"segments": [{"index": -1, "text": "x"}]}), 400)
    error_of(client.patch(url, json={"segments": [{"index": 0, "text": "\u2003"}]}), 400)
    error_of(client.patch(url, json={"segments": []}), 400)
    assert client.get(url).json()["text"] == job["text"]
    failed = SttJob.objects.create(organization=tenant.organization, status="failed")
    edit = {"segments": [{"index": 0, "text": "x"}]}
    error_of(client.patch(f"/stt/jobs/{failed.id}", json=edit), 409, "job_not_succeeded")


def test_searches_words_of_the_own_transcripts(tenant: Tenant, other_tenant: Tenant) -> None:
    client = tenant.key("stt")
    job = _transcribed(client)
    other_tenant.key("stt")
    client.patch(f"/stt/jobs/{job['job_id']}", json={"segments": [{"index": 0, "text": "The Zebra crossing"}]})

    def found(who: Client, q: str) -> list[str]:
        return [row["job_id"] for row in who.get("/stt/jobs", params={"q": q}).json()["results"]]

    assert found(client, "zebra") == [job["job_id"]]
    assert found(client, '"zebra crossing"') == [job["job_id"]]
    assert found(client, "zebra -crossing") == []
    assert found(client, "giraffe") == []
    assert found(other_tenant.key("stt"), "zebra") == []

    speaker = tenant.key("tts")
    spoken = speaker.post("/tts/synthesize", json={"text": "An okapi is no zebra."}).json()
    assert [row["job_id"] for row in speaker.get("/tts/jobs", params={"q": "okapi"}).json()["results"]] == [
        spoken["job_id"]
    ]


def test_word_document(tenant: Tenant) -> None:
    client = tenant.key("stt")
    job = _transcribed(client)
    answer = client.get(f"/stt/jobs/{job['job_id']}?format=docx")
    assert answer.headers["Content-Type"].endswith("wordprocessingml.document")
    paragraphs = [paragraph.text for paragraph in Document(io.BytesIO(answer.content)).paragraphs]
    assert paragraphs[0] == "numbers.wav"
    assert job["timestamps"][0]["text"] in " ".join(paragraphs)


def test_retries_a_failed_recording_and_a_cancelled_text(tenant: Tenant) -> None:
    client = tenant.key("stt", "tts")
    job = _transcribed(client)
    error_of(client.post(f"/stt/jobs/{job['job_id']}/retry"), 409)
    Transcription.objects.filter(job_id=job["job_id"]).delete()
    SttJob.objects.filter(id=job["job_id"]).update(status="failed")
    again = client.post(f"/stt/jobs/{job['job_id']}/retry")
    assert again.status_code == 202, again.text
    assert again.headers["Location"] == f"/api/v1/stt/jobs/{again.json()['job_id']}"
    done = finished(client, f"/stt/jobs/{again.json()['job_id']}")
    assert (done["status"], done["text"], done["filename"]) == ("succeeded", job["text"], "numbers.wav")

    spoken = client.post("/tts/synthesize", json={"text": "Once more.", "format": "flac"}).json()
    TtsJob.objects.filter(id=spoken["job_id"]).update(status="cancelled")
    again = client.post(f"/tts/jobs/{spoken['job_id']}/retry")
    assert again.status_code == 202, again.text
    done = finished(client, f"/tts/jobs/{again.json()['job_id']}")
    assert (done["status"], done["text"], done["format"]) == ("succeeded", "Once more.", "flac")


def test_recording_that_is_gone_cannot_be_retried(tenant: Tenant) -> None:
    failed = SttJob.objects.create(organization=tenant.organization, status="failed")
    error_of(tenant.key("stt").post(f"/stt/jobs/{failed.id}/retry"), 409, "audio_deleted")
