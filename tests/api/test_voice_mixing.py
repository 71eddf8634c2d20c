"""Mixes of voices over HTTP and the socket: spoken wherever a voice is, named in the job, refused with a reason."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from common import storage
from ml.tts import registry
from ml.tts.cloning import pack
from ml.tts.engines.base import EQUALISER_HZ, Adaptation
from tests.api.support import decode
from tests.conftest import Client, Tenant, error_of, make_tenant
from tests.live_tts.support import speech
from tests.ml import tiny_voices
from tts.models import TtsJob
from tts.voices import services
from tts.voices.models import Consent, Voice

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and transformers warn about themselves

ANA = "tiny-mixed:ana"
MIX = f"{ANA}(2)+ben"


@pytest.fixture(scope="module", autouse=True)
def installed(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Served beside espeak-ng by the process that the server is in; the default of no language."""
    pytest.importorskip("TTS")
    made = tiny_voices.coqui_vits(tmp_path_factory.mktemp("voices") / "vits", name="tiny-mixed")
    registry.install(made, priority=-1)
    yield
    registry.uninstall("tiny-mixed")


@pytest.fixture(scope="module")
def owner(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture(scope="module")
def client(owner: Tenant) -> Client:
    return owner.key("tts")


@pytest.fixture(scope="module")
def own(owner: Tenant) -> tuple[str, str]:
    """Two adapted voices that are ready: a deep one and a bright one."""
    deep, bright = (
        Adaptation(low, high, 1.0, 1.0, (0.0,) * len(EQUALISER_HZ)) for low, high in ((70.0, 100.0), (200.0, 280.0))
    )
    return adapted(owner, deep), adapted(owner, bright)


def adapted(tenant: Tenant, adaptation: Adaptation) -> str:
    key = storage.new_key(tenant.organization.id, "voices", ".safetensors")
    storage.save(key, io.BytesIO(pack(adaptation)))
    voice = Voice.objects.create(
        organization=tenant.organization, name="Ann", language="en-US", status="ready", method="adapted",
        engine="espeak", model="espeak-ng", base_voice="espeak:en-us", latents_key=key,
    )  # fmt: skip
    Consent.objects.create(organization=tenant.organization, voice=voice, statement="I consent.", recorded_by="Ann")
    return str(voice.id)


def said(client: Client, voice: str, **fields: object) -> bytes:
    answer = client.post("/tts/synthesize", json={"text": "Hello.", "voice": voice, "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    return decode(answer.content).samples.tobytes()


def test_is_spoken_and_named_in_the_job(owner: Tenant, client: Client) -> None:
    job = client.post("/tts/synthesize", json={"text": "Hello.", "voice": MIX}).json()
    assert (job["status"], job["voice"], job["model"]) == ("succeeded", MIX, "tiny-mixed")
    assert TtsJob.objects.get(id=job["job_id"]).voice == MIX
    assert f"voice={MIX}" in client.get(job["audio_url"]).content.decode("latin-1")
    mixed = said(client, f"{ANA}+ben")
    assert mixed not in (said(client, ANA), said(client, "tiny-mixed:ben"))
    assert said(client, f"{ANA}(1)+ben(0)") == said(client, ANA)


def test_is_spoken_wherever_a_voice_is(owner: Tenant, client: Client) -> None:
    expected = said(client, MIX)
    items = [{"text": "Hello."}, {"text": "Hello.", "voice": f"{MIX}(x)"}]
    batch = client.post("/tts/synthesize-batch", json={"items": items, "voice": MIX}).json()["items"]
    assert batch[0]["voice"] == MIX
    assert batch[1]["error"]["code"] == "voice_mix_invalid"
    markup = f'<speak><voice name="{MIX}">Hello.</voice></speak>'
    assert said(client, ANA, text=markup, ssml=True) == expected
    spoken = client.post(
        "//v1/audio/speech", json={"model": "tts-1", "voice": MIX, "input": "Hello.", "response_format": "wav"}
    )
    assert decode(spoken.content).samples.tobytes() == expected
    with speech(owner) as socket:
        socket.start(voice=MIX)
        socket.write("Hello.")
        socket.stop()
        assert socket.job.voice == MIX
    defaults = owner.user("developer").post("/tts/voice-defaults", json={"voice": MIX, "speed": 2.0})
    assert defaults.status_code == 200
    assert len(said(client, MIX)) < 0.8 * len(expected)


@pytest.mark.parametrize(
    ("voice", "code"),
    [
        (f"{ANA}+nobody", "voice_not_found"),
        ("alloy+echo", "voice_not_found"),
        ("espeak:en-us+espeak:de", "voice_mixing_unsupported"),
        (f"{ANA}+espeak:en-us", "voice_mix_invalid"),
        (f"{ANA}(two)+ben", "voice_mix_invalid"),
        (f"{ANA}(0)+ben(0)", "voice_mix_invalid"),
        ("+".join([ANA, *["ben"] * 8]), "voice_mix_invalid"),
        ("+".join([ANA] * 20), "parameter_max_length"),
    ],
)
def test_says_why_not(owner: Tenant, client: Client, voice: str, code: str) -> None:
    before = TtsJob.objects.filter(organization=owner.organization).count()
    error = error_of(client.post("/tts/synthesize", json={"text": "Hi.", "voice": voice}), 400, code)
    assert error["param"] == "voice"
    if code == "voice_mixing_unsupported":
        assert "those of tiny-mixed can" in error["message"]
    assert TtsJob.objects.filter(organization=owner.organization).count() == before


def test_a_name_that_grows_too_long_in_another_language_is_refused(owner: Tenant, own: tuple[str, str]) -> None:
    name = "(1.25)+".join([*own] * 3)
    assert len(name) < 255 < len(name) + 6 * len("@de")
    body = {"text": "Hallo.", "voice": name, "language": "de"}
    error_of(owner.key("tts").post("/tts/synthesize", json=body), 400, "voice_mix_invalid")


def test_voices_and_models_tell_that_they_can(owner: Tenant, client: Client, own: tuple[str, str]) -> None:
    told = {voice["id"]: voice["voice_mixing"] for voice in client.get("/tts/voices").json()["voices"]}
    assert (told[ANA], told["espeak:en-us"], told[own[0]]) == (True, False, True)
    serving = owner.user("admin").get("//ml/tts/models").json()["serving"]
    assert {model["name"]: model["capabilities"]["voice_mixing"] for model in serving} == {
        "espeak-ng": False, "tiny-mixed": True,
    }  # fmt: skip


def test_a_style_is_no_part_of_a_mix(owner: Tenant) -> None:
    answer = owner.user("developer").post("/tts/voice-defaults", json={"voice": ANA, "style": "ben"})
    error_of(answer, 400, "voice_not_found")


def test_own_voices_are_mixed_by_their_organisation_until_one_is_revoked(
    owner: Tenant, tenant: Tenant, own: tuple[str, str]
) -> None:
    client, mix = owner.key("tts"), "+".join(own)
    job = client.post("/tts/synthesize", json={"text": "Hello.", "voice": mix}).json()
    assert (job["status"], job["voice"]) == ("succeeded", mix)
    assert said(client, mix) not in [said(client, voice) for voice in own]
    body = {"text": "Hello.", "voice": mix}
    error_of(tenant.key("tts").post("/tts/synthesize", json=body), 400, "voice_not_found")
    four = "+".join(f"{voice}(123456.123456)" for voice in [*own] * 2)
    job = client.post("/tts/synthesize", json={"text": "Hallo.", "voice": four, "language": "de"}).json()
    assert job["voice"] == "+".join(f"{voice}@de(123456.123456)" for voice in [*own] * 2)
    admin = owner.user("admin")
    saved = admin.patch("/tts/defaults", json={"voice": four})
    assert (saved.status_code, saved.json()["voice"]) == (200, four)
    alias = admin.post("/openai/aliases", json={"kind": "voice", "name": "all-of-us", "target": four})
    assert alias.status_code == 201, alias.text
    assert admin.post("/tts/voice-defaults", json={"voice": four, "speed": 2.0}).status_code == 200
    spoken = client.post("//v1/audio/speech", json={"model": "tts-1", "voice": four, "input": "Hello."})
    assert spoken.status_code == 200, spoken.text
    theirs = adapted(tenant, Adaptation(90.0, 130.0, 1.0, 1.0, (0.0,) * len(EQUALISER_HZ)))
    error_of(
        client.post("/tts/synthesize", json={"text": "Hi.", "voice": f"{own[0]}+{theirs}"}), 400, "voice_not_found"
    )
    services.revoke_consent(actor=owner.actor(), voice=Voice.objects.select_related("consent").get(id=own[1]))
    error_of(client.post("/tts/synthesize", json=body), 400, "voice_not_found")
