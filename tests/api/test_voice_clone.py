"""POST /tts/voice-clone and what follows: training, speaking, consents, limits, and the end of a voice."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from django.core.files.storage import default_storage

from analytics.models import UsageRecord
from audit.models import AuditEntry
from retention import export
from retention import services as retention
from retention.models import DeletionRecord
from tests.api.support import decode, silence, wav
from tests.conftest import Client, Tenant, error_of, make_tenant
from tests.live_tts.support import speech
from tts.models import TtsJob
from tts.voices import consenting, training
from tts.voices.models import Consent, Voice
from webhooks.models import WebhookDelivery, WebhookEndpoint

TEXT = (
    "The juice of lemons makes fine punch. The box was thrown beside the parked truck. Rice is served in round bowls."
)
STATEMENT = "The weather in the city was warm and the people walked along the river."


def spoken(tenant: Tenant, text: str = TEXT, voice: str = "espeak:en-us+f2", **options: Any) -> bytes:
    """Somebody's recording."""
    body = {"text": text, "voice": voice, "stream": True, **options}
    return tenant.key("tts").post("/tts/synthesize", json=body).content


def clone(client: Client, sample: bytes, consent_audio: bytes | None = None, **fields: str) -> httpx.Response:
    files = {"audio_sample": ("sample.wav", sample)}
    if consent_audio is not None:
        files["consent_audio"] = ("consent.wav", consent_audio)
    return client.post("/tts/voice-clone", files=files, data={"name": "Ann", "consent": "I consent.", **fields})


def trained(client: Client, answer: httpx.Response, seconds: float = 60) -> dict[str, Any]:
    """The voice, once it is no longer being trained."""
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "training"
    assert answer.headers["Location"] == f"/api/v1/tts/voices/{answer.json()['id']}"
    deadline = time.monotonic() + seconds
    while (voice := client.get(answer.headers["Location"].removeprefix("/api/v1")).json())["status"] == "training":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return voice


def tags(content: bytes) -> dict[str, str]:
    with av.open(io.BytesIO(content)) as container:
        return {**container.metadata, **container.streams.audio[0].metadata}


@pytest.fixture(scope="module")
def owner(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture(scope="module")
def sample(owner: Tenant) -> bytes:
    return spoken(owner)


@pytest.fixture(scope="module")
def voice(owner: Tenant, sample: bytes) -> dict[str, Any]:
    """A voice that is ready, whose training a webhook was told of."""
    WebhookEndpoint.objects.create(
        organization=owner.organization, url="https://127.0.0.1/hook", events=["voice.ready", "voice.failed"]
    )
    consent = json.dumps({"name": "Ann Example", "statement": "I, Ann, consent."})
    before = UsageRecord.objects.filter(organization=owner.organization).count()
    answer = clone(owner.user("developer"), sample, consent=consent)
    made = trained(owner.user("developer"), answer)
    assert UsageRecord.objects.filter(organization=owner.organization).count() == before  # the preview is free
    return made


# ── Training ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_voice_becomes_ready(owner: Tenant, voice: dict[str, Any]) -> None:
    assert (voice["status"], voice["kind"], voice["method"], voice["model"]) == (
        "ready", "cloned", "adapted", "espeak-ng"
    )  # fmt: skip
    assert (voice["name"], voice["language"], voice["error"]) == ("Ann", "en-US", None)
    assert voice["sample"]["speech_seconds"] > 5
    assert voice["similarity"]["told_by"] == "acoustic"
    assert voice["similarity"]["score"] > voice["similarity"]["unadapted"]
    preview = owner.user("viewer").get(voice["preview_url"])
    assert decode(preview.content).seconds > 1
    assert tags(preview.content)["synthetic"] == "true"
    row = Voice.objects.get(id=voice["id"])
    assert row.profile["pitch_hz"] > 150
    assert all(default_storage.exists(key) for key in row.keys)
    actions = AuditEntry.objects.filter(organization=owner.organization, object_id=voice["id"])
    assert set(actions.values_list("action", flat=True)) == {"voice.created", "voice.ready"}
    delivery = WebhookDelivery.objects.get(organization=owner.organization, event="voice.ready")
    assert delivery.payload["data"]["id"] == voice["id"]


def test_it_is_listed_first_and_alone(owner: Tenant, tenant: Tenant, voice: dict[str, Any]) -> None:
    viewer = owner.user("viewer")
    listed = viewer.get("/tts/voices").json()["voices"]
    assert listed[0]["id"] == voice["id"]
    assert len(listed) > 100
    assert voice["id"] in {one["id"] for one in viewer.get("/tts/voices?language=en").json()["voices"]}
    assert voice["id"] not in {one["id"] for one in viewer.get("/tts/voices?language=de").json()["voices"]}
    assert voice["id"] not in tenant.user("viewer").get("/tts/voices").text
    assert voice["id"] in owner.key("tts").get("//v1/audio/voices").text


@pytest.mark.parametrize(
    ("content", "reason"),
    [(silence(8), "sample_too_short"), (b"no audio", "audio_undecodable")],
    ids=["silence", "no audio"],
)
def test_refusals_say_what_to_record(tenant: Tenant, content: bytes, reason: str) -> None:
    client = tenant.user("developer")
    made = trained(client, clone(client, content))
    assert (made["status"], made["error"]["code"]) == ("failed", reason)
    row = Voice.objects.get(id=made["id"])
    assert row.keys == []
    assert AuditEntry.objects.filter(organization=tenant.organization, action="voice.failed").exists()
    error_of(client.post("/tts/synthesize", json={"text": "Hi.", "voice": made["id"]}), 400, "voice_not_found")


def test_noise_is_refused(tenant: Tenant, sample: bytes) -> None:
    sound = decode(sample)
    quiet = np.zeros(sound.sample_rate)
    noisy = np.concatenate([quiet, 0.2 * sound.samples[0], quiet])
    noisy += np.random.default_rng(1).normal(0, 0.03, len(noisy))
    client = tenant.user("developer")
    made = trained(client, clone(client, wav(noisy, sound.sample_rate)))
    assert made["error"]["code"] == "sample_noisy"
    assert "quiet room" in made["error"]["message"]


@pytest.mark.parametrize(
    "consent",
    [
        "", "  ", "false", "{", '{"name": "Ann"}', '{"statement": 1}', '{"who": "x"}', r'{"statement": "\u0000"}',
        r'{"statement": "I do", "name": "\ud800"}',
    ],
)  # fmt: skip
def test_without_a_consent_there_is_no_voice(tenant: Tenant, sample: bytes, consent: str) -> None:
    answer = clone(tenant.user("developer"), sample, consent=consent)
    assert error_of(answer, 400)["param"] == "consent"
    assert not Voice.objects.filter(organization=tenant.organization).exists()


def test_what_is_wrong_is_said_before_anything_is_kept(tenant: Tenant, sample: bytes, settings: Any) -> None:
    client = tenant.user("developer")
    error_of(clone(client, b""), 422, "audio_empty")
    error_of(clone(client, sample, language="xx"), 400, "language_not_supported")
    error_of(clone(client, sample, colour="red"), 400, "parameter_unknown")
    settings.VOICE_SAMPLE_MAX_BYTES = 1000
    error_of(clone(client, sample), 413, "file_too_large")
    settings.VOICE_SAMPLE_MAX_BYTES = 10_000_000
    settings.VOICE_CONSENT_AUDIO_REQUIRED = True
    error_of(clone(client, sample), 400, "consent_audio_required")
    settings.VOICE_CONSENT_AUDIO_REQUIRED = False
    settings.VOICES_MAX_PER_ORGANIZATION = 0
    error_of(clone(client, sample), 409, "too_many_voices")
    assert not Voice.objects.filter(organization=tenant.organization).exists()
    folder = default_storage.path(f"{tenant.organization.id}/voices")
    assert not default_storage.exists(folder)


def test_a_lost_worker_costs_an_attempt_and_no_voice(tenant: Tenant, sample: bytes) -> None:
    """What a task finds that is given again after its worker died; another that comes too late finds nothing to do."""
    key = f"{tenant.organization.id}/voices/lost.wav"
    default_storage.save(key, io.BytesIO(sample))
    row = Voice.objects.create(
        organization=tenant.organization, name="Ann", language="en-US", sample_key=key, attempts=1
    )
    Consent.objects.create(organization=tenant.organization, voice=row, statement="I consent.", recorded_by="Ann")
    training.run(row.id)
    again = Voice.objects.get(id=row.id)
    assert (again.status, again.attempts) == ("ready", 2)
    training.run(row.id)
    assert Voice.objects.get(id=row.id).latents_key == again.latents_key
    Voice.objects.filter(id=row.id).update(status="training", attempts=3)
    training.run(row.id)
    assert Voice.objects.get(id=row.id).error_code == "worker_lost"


# ── Speaking ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["wav", "mp3", "opus", "flac"])
def test_speaks_and_says_by_what(owner: Tenant, voice: dict[str, Any], format: str) -> None:
    client = owner.key("tts")
    job = client.post("/tts/synthesize", json={"text": "Hello.", "voice": voice["id"], "format": format}).json()
    assert (job["status"], job["voice"], job["model"]) == ("succeeded", voice["id"], "espeak-ng")
    told = tags(client.get(job["audio_url"]).content)
    assert told["artist"] == owner.organization.name
    for fact in ("Synthetic speech", f"voice={voice['id']}", f"job={job['job_id']}", owner.organization.name):
        assert fact in told["comment"]
    with client.stream(
        "POST", "/tts/synthesize", json={"text": "Hi.", "voice": voice["id"], "format": format, "stream": True}
    ) as answer:
        assert f"job={answer.headers['X-Job-ID']}" in tags(answer.read())["comment"]


def test_speaks_wherever_a_voice_does(owner: Tenant, voice: dict[str, Any]) -> None:
    client = owner.key("tts")
    plain = client.post("/tts/synthesize", json={"text": "Hello.", "voice": "espeak:en-us", "stream": True}).content
    own = client.post("/tts/synthesize", json={"text": "Hello.", "voice": voice["id"], "stream": True}).content
    assert decode(own).samples.tobytes() != decode(plain).samples.tobytes()
    markup = f'<speak>Now <voice name="{voice["id"]}">I speak.</voice></speak>'
    assert client.post("/tts/synthesize", json={"text": markup, "ssml": True}).json()["status"] == "succeeded"
    items = [{"text": "One."}, {"text": "Two.", "voice": "espeak:en-us"}]
    batch = client.post("/tts/synthesize-batch", json={"items": items, "voice": voice["id"]}).json()
    assert [job["voice"] for job in batch["items"]] == [voice["id"], "espeak:en-us"]
    speaking = {"model": "tts-1", "voice": voice["id"], "input": "Hi.", "response_format": "wav"}
    assert decode(client.post("//v1/audio/speech", json=speaking).content).seconds > 0.1
    queued = client.post("/tts/synthesize", json={"text": "Later.", "voice": voice["id"], "async": True}).json()
    deadline = time.monotonic() + 30
    while client.get(f"/tts/jobs/{queued['job_id']}").json()["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with speech(owner) as socket:
        socket.start(voice=voice["id"])
        socket.write("Over a socket.")
        socket.stop()
        assert socket.job.voice == voice["id"]


def test_nobody_else_speaks_with_it(tenant: Tenant, voice: dict[str, Any]) -> None:
    client = tenant.key("tts")
    error_of(client.post("/tts/synthesize", json={"text": "Hi.", "voice": voice["id"]}), 400, "voice_not_found")
    markup = f'<speak><voice name="{voice["id"]}">Hi.</voice></speak>'
    error_of(client.post("/tts/synthesize", json={"text": markup, "ssml": True}), 400)
    speaking = {"model": "tts-1", "voice": voice["id"], "input": "Hi."}
    assert client.post("//v1/audio/speech", json=speaking).status_code == 400
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


# ── Consent ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_consent_can_be_read(owner: Tenant, voice: dict[str, Any]) -> None:
    consent = owner.user("viewer").get(f"/tts/voices/{voice['id']}/consent").json()
    assert (consent["name"], consent["statement"]) == ("Ann Example", "I, Ann, consent.")
    assert consent["recorded_by"] == owner.member("developer").user.email
    assert (consent["audio_url"], consent["revoked_at"], consent["match"]) == (None, None, None)


def test_a_spoken_consent_is_heard_and_compared(tenant: Tenant, sample: bytes) -> None:
    client = tenant.user("developer")
    said = spoken(tenant, STATEMENT)
    made = trained(client, clone(client, sample, said, consent=STATEMENT))
    assert made["status"] == "ready", made
    consent = client.get(f"/tts/voices/{made['id']}/consent").json()
    assert consent["match"] >= 0.5
    assert consent["transcript"]
    assert consent["speaker_match"] == {"score": consent["speaker_match"]["score"], "same": True, "told_by": "acoustic"}
    assert client.get(consent["audio_url"]).content == said

    other_words = trained(client, clone(client, sample, said, consent="Nobody may ever use what I said here at all."))
    assert other_words["error"]["code"] == "consent_mismatch"
    somebody = spoken(tenant, STATEMENT, "espeak:en-us+m3", pitch=-4)
    other_person = trained(client, clone(client, sample, somebody, consent=STATEMENT))
    assert other_person["error"]["code"] in ("consent_other_speaker", "consent_mismatch")


def test_how_far_what_was_heard_is_what_was_written() -> None:
    assert consenting.likeness(STATEMENT, STATEMENT.upper()) == 1.0
    assert consenting.likeness(STATEMENT, "the weather in the cities was worn and people walked along a river") > 0.7
    assert consenting.likeness(STATEMENT, "i never said anything of the kind to anybody who asked me") < 0.4
    assert consenting.likeness(STATEMENT, "") == consenting.likeness("", STATEMENT) == 0.0


def test_revoking_ends_the_voice_at_once(tenant: Tenant, sample: bytes) -> None:
    client = tenant.user("developer")
    made = trained(client, clone(client, sample))
    keys = Voice.objects.get(id=made["id"]).keys
    assert len(keys) == 3
    speaking = {"text": "Hi.", "voice": made["id"]}
    assert client.post("/tts/synthesize", json=speaking).status_code == 200
    consent = client.delete(f"/tts/voices/{made['id']}/consent").json()
    assert consent["revoked_at"]
    assert consent["revoked_by"] == tenant.member("developer").user.email
    error_of(client.post("/tts/synthesize", json=speaking), 400, "voice_not_found")
    ended = client.get(f"/tts/voices/{made['id']}").json()
    assert (ended["status"], ended["error"]["code"], ended["preview_url"]) == ("failed", "consent_revoked", None)
    assert not any(default_storage.exists(key) for key in keys)
    error_of(client.get(made["preview_url"]), 404)
    assert AuditEntry.objects.filter(organization=tenant.organization, action="voice.consent_revoked").exists()
    proof = DeletionRecord.objects.get(organization_id=tenant.organization.id, object_type="voice")
    assert proof.stored_objects == 3
    error_of(client.delete(f"/tts/voices/{made['id']}/consent"), 409, "consent_revoked")


# ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_is_exported_and_ends_with_its_organization(server: str, sample: bytes) -> None:
    gone = make_tenant(server)
    client = gone.user("developer")
    made = trained(client, clone(client, sample))
    row = Voice.objects.get(id=made["id"])
    archive = zipfile.ZipFile(io.BytesIO(b"".join(export.archive(gone.organization))))
    assert made["id"] in archive.read("voices.jsonl").decode()
    assert "I consent." in archive.read("voice_consents.jsonl").decode()
    assert {f"audio/{key}" for key in row.keys} <= set(archive.namelist())
    retention.delete_organization(organization=gone.organization)
    assert not Voice.objects.filter(id=made["id"]).exists()
    assert not any(default_storage.exists(key) for key in row.keys)


def test_deleting_leaves_the_trail_alone(tenant: Tenant, sample: bytes) -> None:
    client = tenant.user("developer")
    error_of(client.delete("/tts/voices/espeak:en-us"), 404, "not_found")
    error_of(client.delete(f"/tts/voices/{uuid.uuid4()}"), 404, "not_found")
    made = clone(client, sample).json()  # maybe while it is being trained
    assert client.delete(f"/tts/voices/{made['id']}").status_code == 204
    error_of(client.get(f"/tts/voices/{made['id']}"), 404, "not_found")
    trail = AuditEntry.objects.filter(organization=tenant.organization, object_id=made["id"])
    assert "voice.deleted" in set(trail.values_list("action", flat=True))
    deadline = time.monotonic() + 20
    folder = default_storage.path(f"{tenant.organization.id}/voices")
    while any(path.is_file() for path in Path(folder).rglob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
