"""GET and DELETE /tts/jobs."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage

from analytics.models import UsageRecord
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob


def _job(tenant: Tenant, text: str = "Hello.") -> dict:
    return tenant.key("tts").post("/tts/synthesize", json={"text": text}).json()


def test_list_is_paged_newest_first(tenant: Tenant) -> None:
    ids = [_job(tenant, f"Number {number}.")["job_id"] for number in range(3)]
    viewer = tenant.user("viewer")
    first = viewer.get("/tts/jobs?page_size=2").json()
    assert (first["count"], first["previous"]) == (3, None)
    assert [job["job_id"] for job in first["results"]] == ids[:0:-1]
    second = viewer.get(first["next"]).json()
    assert [job["job_id"] for job in second["results"]] == ids[:1]
    assert second["next"] is None
    assert viewer.get("/tts/jobs").json()["results"] == first["results"] + second["results"] or (
        [job["job_id"] for job in viewer.get("/tts/jobs").json()["results"]] == ids[::-1]
    )


def test_list_by_status(tenant: Tenant) -> None:
    job = _job(tenant)
    client = tenant.key("tts")
    assert [row["job_id"] for row in client.get("/tts/jobs?status=succeeded").json()["results"]] == [job["job_id"]]
    assert client.get("/tts/jobs?status=failed").json()["results"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("status=done", 400),
        ("page=0", 400),
        ("page=x", 400),
        ("page=-1", 400),
        ("page_size=0", 400),
        ("page_size=x", 400),
        ("pages=1", 400),
        ("page=2", 404),
        ("page=" + "9" * 30, 404),
        ("page_size=" + "9" * 30, 200),
        ("page_size=101", 200),
    ],
)
def test_query(tenant: Tenant, query: str, status: int) -> None:
    answer = tenant.key("tts").get(f"/tts/jobs?{query}")
    if status == 200:
        assert answer.json()["results"] == []
    else:
        error_of(answer, status)


def test_one(tenant: Tenant) -> None:
    made = _job(tenant)
    shown = tenant.user("viewer").get(f"/tts/jobs/{made['job_id']}").json()
    assert {name: value for name, value in shown.items() if name != "audio_url"} == {
        name: value for name, value in made.items() if name != "audio_url"
    }
    audio = Client(tenant.server).get(shown["audio_url"])
    assert audio.status_code == 200


def test_deleting_takes_the_audio_along_and_keeps_the_usage(tenant: Tenant) -> None:
    made = _job(tenant)
    key = TtsJob.objects.get(id=made["job_id"]).audio_key
    assert default_storage.exists(key)
    client = tenant.key("tts")
    assert client.delete(f"/tts/jobs/{made['job_id']}").status_code == 204
    assert not TtsJob.objects.filter(id=made["job_id"]).exists()
    assert not default_storage.exists(key)
    error_of(client.get(made["audio_url"]), 404, "audio_deleted")
    error_of(client.get(f"/tts/jobs/{made['job_id']}"), 404, "not_found")
    error_of(client.delete(f"/tts/jobs/{made['job_id']}"), 404, "not_found")
    assert UsageRecord.objects.get(job_id=made["job_id"]).characters == len("Hello.")


@pytest.mark.parametrize("job_id", ["7a1d2c3e-0000-4000-8000-000000000001", "1", "x", "%00"])
def test_unknown(tenant: Tenant, job_id: str) -> None:
    error_of(tenant.key("tts").get(f"/tts/jobs/{job_id}"), 404, "not_found")
