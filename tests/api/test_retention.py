"""How long an organisation keeps its data, the proof of deletion, export, and an organisation's end."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path

from django.apps import apps
from django.core.files.storage import default_storage
from django.utils import timezone

from accounts.models import Organization, User
from common import storage
from retention import export, services
from retention.models import DeletionRecord
from stt.models import AudioFile, SttJob, Transcription
from tests.api.support import silence
from tests.conftest import OWNED_AUDIO, Tenant, error_of
from tts.models import TtsJob

CLIP = OWNED_AUDIO / "numbers.wav"


def keep(tenant: Tenant, **days: int | None) -> None:
    assert tenant.user("owner").patch("/organization", json=days).status_code == 200


def aged(job_id: str, days: int) -> None:
    finished = timezone.now() - timedelta(days=days)
    TtsJob.objects.filter(id=job_id).update(finished_at=finished)
    SttJob.objects.filter(id=job_id).update(finished_at=finished)


def test_purges_what_is_older_and_keeps_the_proof(tenant: Tenant) -> None:
    client = tenant.key()
    old = client.post("/tts/synthesize", json={"text": "Old."}).json()
    new = client.post("/tts/synthesize", json={"text": "New."}).json()
    key = TtsJob.objects.get(id=old["job_id"]).audio_key
    aged(old["job_id"], 8)
    aged(new["job_id"], 6)
    keep(tenant, audio_retention_days=7, transcript_retention_days=7)
    services.purge()

    assert not default_storage.exists(key)
    row = TtsJob.objects.get(id=old["job_id"])
    assert (row.audio_key, row.text, row.characters) == ("", "", 4)
    assert client.get(f"/tts/jobs/{old['job_id']}").json()["audio_url"] is None
    assert client.get(new["audio_url"]).status_code == 200
    error_of(client.get(old["audio_url"]), 404)
    proof = tenant.user("admin").get("/organization/deletions").json()["results"]
    assert {(entry["object_type"], entry["reason"]) for entry in proof} == {
        ("audio", "retention"),
        ("transcript", "retention"),
    }


def test_zero_days_keeps_nothing_of_a_transcription(tenant: Tenant) -> None:
    keep(tenant, audio_retention_days=0, transcript_retention_days=0)
    answer = tenant.key("stt").post("/stt/transcribe", files={"audio_file": CLIP.open("rb")})
    assert answer.status_code == 200
    assert answer.json()["text"]
    assert answer.json()["audio_url"] is None
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()
    assert not Transcription.objects.filter(organization=tenant.organization).exists()
    folder = Path(default_storage.path(str(tenant.organization.id)))
    assert [file for file in folder.rglob("*") if file.is_file()] == []


def test_delete_really_deletes(tenant: Tenant) -> None:
    client = tenant.key()
    job_id = client.post("/stt/transcribe", files={"audio_file": CLIP.open("rb")}).json()["job_id"]
    key = SttJob.objects.get(id=job_id).audio.key
    assert client.delete(f"/stt/jobs/{job_id}").status_code == 204
    assert not default_storage.exists(key)
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()
    assert not Transcription.objects.filter(organization=tenant.organization).exists()
    proof = DeletionRecord.objects.get(object_id=job_id)
    assert (proof.reason, proof.stored_objects) == ("request", 1)
    assert proof.deleted_by.startswith("key:")


def test_exports_everything_but_secrets(tenant: Tenant) -> None:
    client = tenant.key()
    spoken = client.post("/tts/synthesize", json={"text": "Take me with you."}).json()
    client.post("/stt/transcribe", files={"audio_file": CLIP.open("rb")})
    answer = tenant.user("owner").get("/organization/export")
    assert answer.headers["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        jobs = [json.loads(line) for line in archive.read("tts_jobs.jsonl").splitlines()]
        assert [job["text"] for job in jobs] == ["Take me with you."]
        assert archive.read(f"audio/{jobs[0]['audio_key']}") == client.get(spoken["audio_url"]).content
        assert len(archive.read("transcriptions.jsonl").splitlines()) == 1
        assert b"digest" not in archive.read("api_keys.jsonl")


def test_all_that_an_organization_owns_is_exported_or_left_out_on_purpose() -> None:
    exported = {model for model, _ in export.EXPORTED.values()}
    owned = {
        model
        for model in apps.get_models()
        if any(field.attname == "organization_id" for field in model._meta.concrete_fields)
    }
    assert owned - exported == set(export.LEFT_OUT)


def test_exports_what_was_compared_too(tenant: Tenant) -> None:
    """The far end's signal of an echo cancellation is a recording like any other."""
    files = {"audio_file": CLIP.open("rb"), "reference_audio": ("far.wav", silence(0.5))}
    tenant.key("stt").post("/stt/batch-transcribe", files={"audio_files": ("s.wav", silence(0.3))})
    job_id = tenant.key("stt").post("/stt/transcribe", files=files).json()["job_id"]
    reference = SttJob.objects.get(id=job_id).reference_key
    with zipfile.ZipFile(io.BytesIO(tenant.user("owner").get("/organization/export").content)) as archive:
        assert archive.read(f"audio/{reference}") == silence(0.5)
        assert len(archive.read("batches.jsonl").splitlines()) == 1


def test_deletes_an_organisation_with_all_it_owns(tenant: Tenant, other_tenant: Tenant) -> None:
    client, neighbour = tenant.key(), other_tenant.key()
    client.post("/stt/transcribe", files={"audio_file": CLIP.open("rb")})
    mine = client.post("/tts/synthesize", json={"text": "Mine."}).json()
    theirs = neighbour.post("/tts/synthesize", json={"text": "Theirs."}).json()
    stray = storage.new_key(tenant.organization.id, "tts", ".wav")  # as a killed worker leaves one
    storage.save(stray, io.BytesIO(b"stray"))
    keys = [
        stray,
        TtsJob.objects.get(id=mine["job_id"]).audio_key,
        SttJob.objects.get(organization=tenant.organization).audio.key,
    ]
    owner, user_id = tenant.user("owner"), tenant.member("owner").user_id

    error_of(owner.request("DELETE", "/organization", json={"confirm": "wrong"}), 400, "confirmation_required")
    answer = owner.request("DELETE", "/organization", json={"confirm": tenant.organization.slug})
    assert answer.status_code == 204, answer.text
    assert not any(default_storage.exists(key) for key in keys)
    assert not Organization.objects.filter(id=tenant.organization.id).exists()
    assert User.objects.filter(id=user_id).exists()
    error_of(owner.get("/auth/me"), 401)
    error_of(client.get("/tts/jobs"), 401)
    assert DeletionRecord.objects.get(organization_id=tenant.organization.id, object_type="organization")
    assert neighbour.get(theirs["audio_url"]).status_code == 200


def test_exports_more_than_one_piece(tenant: Tenant) -> None:
    TtsJob.objects.bulk_create(
        TtsJob(
            organization=tenant.organization, status="succeeded", text=f"Text {n}. " * 40, characters=400, sample_rate=1
        )
        for n in range(3000)
    )
    with tenant.user("owner").stream("GET", "/organization/export") as answer:
        content = b"".join(answer.iter_raw())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        jobs = [json.loads(line) for line in archive.read("tts_jobs.jsonl").splitlines()]
    assert len({job["id"] for job in jobs}) == 3000
