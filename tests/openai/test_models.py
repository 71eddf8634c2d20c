"""models.list and retrieve, and the names that an organisation gives to models and voices."""

from __future__ import annotations

import time
from typing import Any

import openai
import pytest
from django.core.exceptions import ImproperlyConfigured

from audit.models import AuditEntry
from config import env
from openai_api import names
from openai_api.models import OpenAIAlias
from stt.models import SttJob
from tests.api.support import silence
from tests.browser import signed_in
from tests.conftest import Client, Tenant, error_of
from tests.openai.support import client, sdk
from tts.models import TtsJob


def add(tenant: Tenant, **fields: Any) -> dict[str, Any]:
    answer = tenant.user("admin").post("/openai/aliases", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


# ── /v1/models ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scope", ["stt", "tts"])
def test_lists_names_and_models(tenant: Tenant, scope: str) -> None:
    add(tenant, kind="stt", name="our-ears", target="pocketsphinx-en-us")
    page = sdk(tenant, scope).models.list()
    models = {model.id: model for model in page}
    assert {*names.STT_MODELS, *names.TTS_MODELS, "pocketsphinx-en-us", "espeak-ng", "our-ears"} <= set(models)
    assert len(models) == len(list(page))
    for model in models.values():
        assert model.object == "model"
        assert 1_700_000_000 < model.created <= time.time() + 1
        assert model.owned_by == (tenant.organization.slug if model.id == "our-ears" else "system")


def test_retrieves(tenant: Tenant) -> None:
    for name in ("whisper-1", "espeak-ng"):
        model = sdk(tenant).models.retrieve(name)
        assert (model.id, model.object) == (name, "model")


@pytest.mark.parametrize("name", ["nope", "some/owner/model", "alloy"])
def test_unknown_model(tenant: Tenant, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        sdk(tenant).models.retrieve(name)
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_models_are_not_deleted_here(tenant: Tenant) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        sdk(tenant).models.delete("whisper-1")
    assert raised.value.status_code == 405


def test_a_login_token_works_too(tenant: Tenant) -> None:
    token = tenant.user("viewer").headers["Authorization"].removeprefix("Bearer ")
    assert client(tenant.server, token).models.retrieve("tts-1").id == "tts-1"


def test_menus_of_other_interfaces(tenant: Tenant) -> None:
    add(tenant, kind="voice", name="house-voice", target="espeak:it")
    add(tenant, kind="voice", name="nova", target="espeak:it")
    key = tenant.key("tts")
    voices = [voice["id"] for voice in key.get("//v1/audio/voices").json()["voices"]]
    assert {"house-voice", "espeak:de", *names.VOICES} <= set(voices)
    assert len(voices) == len(set(voices))
    speaking = [model["id"] for model in key.get("//v1/audio/models").json()["models"]]
    assert {"tts-1", "espeak-ng"} <= set(speaking)
    assert "whisper-1" not in speaking


# ── Aliases ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_alias_says_which_model_and_voice_serve(tenant: Tenant, other_tenant: Tenant) -> None:
    add(tenant, kind="tts", name="tts-1", target="espeak-ng")
    add(tenant, kind="voice", name="alloy", target="espeak:en-gb+f2")
    add(tenant, kind="stt", name="vendor/ears-2", target="pocketsphinx-en-us")
    for each in (tenant, other_tenant):
        sdk(each).audio.speech.create(model="tts-1", voice="alloy", input="Hi.")
    sdk(tenant).audio.transcriptions.create(model="vendor/ears-2", file=("a.wav", silence(0.3)))
    assert TtsJob.objects.get(organization=tenant.organization).voice == "espeak:en-gb+f2"
    assert TtsJob.objects.get(organization=other_tenant.organization).voice == "espeak:en-us"
    assert SttJob.objects.get(organization=tenant.organization).options["model"] == "pocketsphinx-en-us"
    with pytest.raises(openai.NotFoundError):
        sdk(other_tenant).audio.transcriptions.create(model="vendor/ears-2", file=("a.wav", silence(0.3)))
    assert sdk(tenant).models.retrieve("vendor/ears-2").owned_by == tenant.organization.slug


def test_platform_names_come_from_the_settings(tenant: Tenant, settings: Any) -> None:
    settings.OPENAI_VOICES = {"house-voice": "espeak:es", "nova": "espeak:it"}
    settings.OPENAI_STT_MODELS = {"whisper-1": "pocketsphinx-en-us", "house-ears": "gone"}
    for voice in ("house-voice", "nova"):
        sdk(tenant).audio.speech.create(model="tts-1", voice=voice, input="Ciao.")
    voices = TtsJob.objects.filter(organization=tenant.organization).values_list("voice", flat=True)
    assert set(voices) == {"espeak:es", "espeak:it"}
    sdk(tenant).audio.transcriptions.create(model="whisper-1", file=("a.wav", silence(0.3)))
    assert SttJob.objects.get(organization=tenant.organization).options["model"] == "pocketsphinx-en-us"
    with pytest.raises(openai.NotFoundError) as raised:
        sdk(tenant).audio.transcriptions.create(model="house-ears", file=("a.wav", silence(0.3)))
    assert "'gone'" in raised.value.message


def test_an_alias_changes_and_goes(tenant: Tenant) -> None:
    admin, alias = tenant.user("admin"), add(tenant, kind="voice", name="nova", target="espeak:de")
    changed = admin.patch(f"/openai/aliases/{alias['id']}", json={"target": "espeak:es"}).json()
    assert changed == {**alias, "target": "espeak:es"}
    sdk(tenant).audio.speech.create(model="tts-1", voice="nova", input="Hola.")
    assert TtsJob.objects.get(organization=tenant.organization).voice == "espeak:es"
    assert admin.delete(f"/openai/aliases/{alias['id']}").status_code == 204
    sdk(tenant).audio.speech.create(model="tts-1", voice="nova", input="Hi.")
    newest = TtsJob.objects.filter(organization=tenant.organization).latest("created_at")
    assert newest.voice == "espeak:en-us+f2"
    actions = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="openai_alias")
    assert {entry.action for entry in actions} == {f"openai_alias.{done}" for done in ("created", "updated", "deleted")}


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"kind": "stt", "name": "x", "target": "nope"}, 400, "model_not_found", "target"),
        ({"kind": "tts", "name": "x", "target": "pocketsphinx-en-us"}, 400, "model_not_found", "target"),
        ({"kind": "voice", "name": "x", "target": "nope"}, 400, "voice_not_found", "target"),
        ({"kind": "voice", "name": "x"}, 400, "parameter_required", "target"),
        ({"kind": "video", "name": "x"}, 400, "parameter_invalid_choice", "kind"),
        ({"kind": "stt", "name": "has space"}, 400, "parameter_invalid", "name"),
        ({"kind": "stt", "name": ""}, 400, "parameter_blank", "name"),
        ({"kind": "stt"}, 400, "parameter_required", "name"),
    ],
)
def test_wrong_aliases(tenant: Tenant, fields: dict[str, Any], status: int, code: str, param: str) -> None:
    error = error_of(tenant.user("admin").post("/openai/aliases", json=fields), status, code)
    assert error["param"] == param


def test_a_name_is_given_once(tenant: Tenant, other_tenant: Tenant) -> None:
    add(tenant, kind="stt", name="whisper-1")
    add(tenant, kind="tts", name="whisper-1")
    add(other_tenant, kind="stt", name="whisper-1")
    admin = tenant.user("admin")
    error_of(admin.post("/openai/aliases", json={"kind": "stt", "name": "whisper-1"}), 409, "alias_exists")
    second = add(tenant, kind="stt", name="second")
    error_of(admin.patch(f"/openai/aliases/{second['id']}", json={"name": "whisper-1"}), 409, "alias_exists")


def test_there_is_an_end_to_aliases(tenant: Tenant) -> None:
    OpenAIAlias.objects.bulk_create(
        OpenAIAlias(organization=tenant.organization, kind="stt", name=f"name-{number}") for number in range(200)
    )
    error_of(tenant.user("admin").post("/openai/aliases", json={"kind": "stt", "name": "x"}), 409, "too_many_aliases")


def test_owners_manage_aliases_in_the_administration(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    page = "/admin/openai_api/openaialias"
    own = {"organization": str(tenant.organization.id), "kind": "voice", "name": "nova"}
    browser.submit(f"{page}/add/", {**own, "target": "espeak:de"})
    alias = OpenAIAlias.objects.get(organization=tenant.organization)
    assert (alias.name, alias.target) == ("nova", "espeak:de")
    browser.submit(f"{page}/{alias.id}/change/", {"kind": "voice", "name": "nova", "target": "nope"})
    assert "There is no voice" in browser.get(f"{page}/").text
    alias.refresh_from_db()
    assert alias.target == "espeak:de"
    browser.submit(f"{page}/{alias.id}/delete/", {"post": "yes"})
    assert not OpenAIAlias.objects.filter(organization=tenant.organization).exists()


def test_settings_are_checked_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_VOICES", "alloy=espeak:en-gb+f2, nova = kokoro:af_nova")
    assert env.pairs("OPENAI_VOICES") == {"alloy": "espeak:en-gb+f2", "nova": "kokoro:af_nova"}
    for wrong in ("alloy", "=x", "alloy=,nova=x"):
        monkeypatch.setenv("OPENAI_VOICES", wrong)
        with pytest.raises(ImproperlyConfigured, match="OPENAI_VOICES"):
            env.pairs("OPENAI_VOICES")


def test_anonymous_sees_nothing(anonymous: Client) -> None:
    assert anonymous.get("//v1/models").status_code == 401
