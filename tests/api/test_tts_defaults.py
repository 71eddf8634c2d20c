"""GET, PATCH /tts/defaults: what an organisation's texts are spoken with where a request says nothing."""

from __future__ import annotations

from audit.models import AuditEntry
from tests.conftest import Tenant, error_of


def test_hold_where_a_request_says_nothing(tenant: Tenant, other_tenant: Tenant) -> None:
    admin, key = tenant.user("admin"), tenant.key("tts")
    assert admin.get("/tts/defaults").json() == {"voice": "", "language": "", "format": ""}
    wanted = {"voice": "espeak:de", "language": "fr-FR", "format": "mp3"}
    assert admin.patch("/tts/defaults", json=wanted).json() == wanted
    assert AuditEntry.objects.filter(organization=tenant.organization, action="tts_defaults.changed").exists()

    def spoken(**fields: object) -> tuple[str, str, str]:
        body = key.post("/tts/synthesize", json={"text": "Eins.", **fields}).json()
        return body["voice"], body["language"][:2], body["format"]

    assert spoken() == ("espeak:de", "de", "mp3")
    assert spoken(format="wav") == ("espeak:de", "de", "wav")
    assert spoken(language="es")[1:] == ("es", "mp3")  # who names a language does not get the voice of another
    assert spoken(voice="espeak:en-gb")[0] == "espeak:en-gb"
    items = [{"text": "Zwei."}, {"text": "Three.", "voice": "espeak:en-us"}]
    answer = key.post("/tts/synthesize-batch", json={"items": items}).json()["items"]
    assert [(item["voice"], item["format"]) for item in answer] == [("espeak:de", "mp3"), ("espeak:en-us", "mp3")]

    assert admin.patch("/tts/defaults", json={"voice": ""}).status_code == 200
    assert spoken()[1:] == ("fr", "mp3")
    other = other_tenant.key("tts").post("/tts/synthesize", json={"text": "One."}).json()
    assert (other["language"], other["format"]) == ("en-US", "wav")


def test_refuses_what_cannot_be_spoken_with(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    for wrong in ({"voice": "nobody"}, {"language": "xx-nowhere"}, {"format": "mp9"}, {"speed": 2}):
        error_of(admin.patch("/tts/defaults", json=wrong), 400)
    error_of(tenant.user("developer").patch("/tts/defaults", json={"format": "mp3"}), 403)
    assert admin.get("/tts/defaults").json() == {"voice": "", "language": "", "format": ""}
