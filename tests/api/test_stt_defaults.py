"""GET, PATCH /stt/defaults: what an organisation's transcriptions ask for where a request says nothing."""

from __future__ import annotations

from stt.models import SttJob, TranscriptionDefaults
from tests.conftest import OWNED_AUDIO, Tenant, error_of

CLIP = OWNED_AUDIO / "numbers.wav"


def test_starts_with_the_platforms_own(tenant: Tenant) -> None:
    answer = tenant.user("viewer").get("/stt/defaults")
    assert answer.json() == {"itn": None, "punctuate": None, "profanity_filter": None, "redact": None, "disable": []}


def test_defaults_apply_and_requests_win(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    assert admin.patch("/stt/defaults", json={"itn": False, "disable": ["truecase"]}).status_code == 200
    row = TranscriptionDefaults.objects.get(organization=tenant.organization)
    assert (row.itn, row.disable) == (False, ["truecase"])

    client = tenant.key("stt")
    spelled = client.post("/stt/transcribe", files={"audio_file": CLIP.open("rb")}).json()
    assert {"itn", "truecase"}.isdisjoint(spelled["stages"])
    asked = client.post("/stt/transcribe", files={"audio_file": CLIP.open("rb")}, data={"itn": "true"}).json()
    assert "itn" in asked["stages"]
    assert "truecase" not in asked["stages"]
    assert SttJob.objects.get(id=asked["job_id"]).options["itn"] is True


def test_other_organisations_keep_theirs(tenant: Tenant, other_tenant: Tenant) -> None:
    tenant.user("owner").patch("/stt/defaults", json={"redact": True})
    assert other_tenant.user("owner").get("/stt/defaults").json()["redact"] is None


def test_rejects_unknown_stages_and_low_roles(tenant: Tenant) -> None:
    error_of(tenant.user("admin").patch("/stt/defaults", json={"disable": ["decode"]}), 400, "parameter_unknown_stage")
    error_of(tenant.user("developer").patch("/stt/defaults", json={"itn": True}), 403)


def test_rejects_an_unknown_stage_in_a_request(tenant: Tenant) -> None:
    answer = tenant.key("stt").post(
        "/stt/transcribe", files={"audio_file": CLIP.open("rb")}, data={"disable": "nonsense"}
    )
    error_of(answer, 400)
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


def test_takes_the_far_ends_signal(tenant: Tenant) -> None:
    client = tenant.key("stt")
    far_end = OWNED_AUDIO / "weather.flac"
    answer = client.post(
        "/stt/transcribe", files={"audio_file": CLIP.open("rb"), "reference_audio": far_end.open("rb")}
    )
    assert answer.status_code == 200, answer.text
    assert "echo_cancellation" in answer.json()["stages"]
    job = SttJob.objects.get(id=answer.json()["job_id"])
    assert job.reference_key.startswith(f"{tenant.organization.id}/stt/")
