"""GET /tts/voices and /tts/voices/{id}."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.conftest import Tenant, error_of


def test_lists_every_language_once(tenant: Tenant) -> None:
    body = tenant.user("viewer").get("/tts/voices").json()
    voices = body["voices"]
    ids = [voice["id"] for voice in voices]
    assert len(ids) == len(set(ids)) > 100
    assert len({voice["language"].split("-")[0] for voice in voices}) > 80
    assert "espeak:en-us" in ids
    for voice in voices:
        assert voice["name"]
        assert (voice["kind"], voice["status"], voice["engine"]) == ("builtin", "ready", "espeak")
    assert {"f2", "m3"} <= {variant["id"] for variant in body["variants"]}


def test_filters_by_language(tenant: Tenant) -> None:
    client = tenant.key("tts")
    english = client.get("/tts/voices?language=en").json()["voices"]
    assert len(english) > 3
    assert {voice["language"].split("-")[0] for voice in english} == {"en"}
    american = client.get("/tts/voices?language=EN-us").json()["voices"]
    assert {voice["language"] for voice in american} <= {"en-US"} | {v["language"] for v in english}
    assert 0 < len(american) < len(english)
    assert client.get("/tts/voices?language=tlh-XX").json()["voices"] == []
    error_of(client.get("/tts/voices?lang=en"), 400, "parameter_unknown")


@pytest.mark.parametrize("voice_id", ["espeak:en-us", "espeak:en-us+f2", "espeak:de"])
def test_one(tenant: Tenant, voice_id: str) -> None:
    for spelled in (voice_id, quote(voice_id, safe="")):
        voice = tenant.key("tts").get(f"/tts/voices/{spelled}").json()
        assert voice["id"] == voice_id


def test_every_listed_voice_can_be_had_alone(tenant: Tenant) -> None:
    client = tenant.key("tts")
    for voice in client.get("/tts/voices").json()["voices"][::10]:
        assert client.get(f"/tts/voices/{quote(voice['id'])}").json() == voice


@pytest.mark.parametrize("voice_id", ["espeak:nobody", "espeak:en-us+nobody", "%00", "%ff%fe", "..%2f..%2fetc", "+f2"])
def test_unknown_voice(tenant: Tenant, voice_id: str) -> None:
    error_of(tenant.key("tts").get(f"/tts/voices/{voice_id}"), 404, "not_found")
