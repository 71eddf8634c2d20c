"""Lexicons: kept, brought along, carried in and out, and heard."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from audit.models import AuditEntry
from tests.conftest import Client, Tenant, error_of, make_tenant
from tts.models import PronunciationLexicon, TtsJob

PLS = """<?xml version="1.0" encoding="UTF-8"?>
<lexicon version="1.0" xmlns="http://www.w3.org/2005/01/pronunciation-lexicon" alphabet="ipa" xml:lang="en-US">
  <lexeme><grapheme>Worcester</grapheme><grapheme>Wooster</grapheme><phoneme>ˈwʊstɚ</phoneme></lexeme>
  <lexeme><grapheme>W3C</grapheme><alias>World Wide Web Consortium</alias></lexeme>
  <lexeme><grapheme>tomato</grapheme><phoneme alphabet="x-sampa">t@"m{toU</phoneme></lexeme>
</lexicon>
"""
NGINX = {"grapheme": "nginx", "alias": "engine x"}


@pytest.fixture(scope="module")
def shop(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture(scope="module")
def developer(shop: Tenant) -> Client:
    return shop.user("developer")


def made(client: Client, **fields: object) -> dict:
    answer = client.post("/tts/lexicons", json={"name": uuid.uuid4().hex, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_is_written_read_changed_and_deleted_with_a_trail(shop: Tenant, developer: Client) -> None:
    lexicon = made(developer, language="en", entries=[NGINX])
    listed = developer.get("/tts/lexicons").json()["results"][0]
    assert (listed["id"], listed["entry_count"], "entries" in listed) == (lexicon["id"], 1, False)
    changed = developer.patch(f"/tts/lexicons/{lexicon['id']}", json={"entries": []}).json()
    assert (changed["entries"], changed["name"]) == ([], lexicon["name"])
    error_of(developer.post("/tts/lexicons", json={"name": lexicon["name"]}), 409, "lexicon_exists")
    assert developer.delete(f"/tts/lexicons/{lexicon['id']}").status_code == 204
    trail = AuditEntry.objects.filter(organization=shop.organization, action__startswith="tts_lexicon.")
    assert {entry.action.partition(".")[2] for entry in trail} == {"created", "updated", "deleted"}


@pytest.mark.parametrize(
    "entry", [{"grapheme": "a"}, {"grapheme": "a", "alias": "b", "ipa": "b"}, {"grapheme": "a", "ipa": "☃"}, {"x": 1}]
)
def test_refuses_entries(developer: Client, entry: dict) -> None:
    error_of(developer.post("/tts/lexicons", json={"name": uuid.uuid4().hex, "entries": [entry]}), 400)
    error_of(developer.post("/tts/synthesize", json={"text": "a", "lexicon": [entry]}), 400)


def test_is_applied_where_it_is_named_or_the_default(shop: Tenant, developer: Client) -> None:
    text = {"text": "I use nginx here."}
    plain = developer.post("/tts/synthesize", json=text).json()
    inline = developer.post("/tts/synthesize", json={**text, "lexicon": [NGINX]}).json()
    lexicon = made(developer, entries=[NGINX])
    named = developer.post("/tts/synthesize", json={**text, "lexicon": [lexicon["id"]]}).json()
    developer.patch(f"/tts/lexicons/{lexicon['id']}", json={"is_default": True})
    default = developer.post("/tts/synthesize", json=text).json()
    none = developer.post("/tts/synthesize", json={**text, "lexicon": []}).json()
    developer.delete(f"/tts/lexicons/{lexicon['id']}")
    seconds = {name: job["duration_seconds"] for name, job in locals().items() if name in HEARD}
    assert seconds["plain"] == seconds["none"] != seconds["inline"]
    assert seconds["inline"] == seconds["named"] == seconds["default"]
    assert (none["lexicon_applied"], default["lexicon_applied"]) == ([], [lexicon["id"]])
    # A job whose lexicon is gone can still be asked for, and its text is the one that was sent.
    assert TtsJob.objects.get(id=default["job_id"]).text == text["text"]
    error_of(developer.post("/tts/synthesize", json={**text, "lexicon": [lexicon["id"]]}), 404)


HEARD = ("plain", "inline", "named", "default", "none")


def test_comes_from_and_goes_to_the_w3cs_format(developer: Client) -> None:
    lexicon = made(developer, language="en-US")
    url = f"/tts/lexicons/{lexicon['id']}"
    read = developer.post(f"{url}/import", files={"file": ("l.pls", PLS.encode())}).json()
    assert [entry["grapheme"] for entry in read["entries"]] == ["Worcester", "Wooster", "W3C", "tomato"]
    assert (read["entries"][0]["ipa"], read["entries"][3]["ipa"]) == ("ˈwʊstɚ", "təˈmætoʊ")
    written = developer.get(f"{url}/export")
    assert written.headers["Content-Type"] == "application/pls+xml"
    again = developer.post(f"{url}/import", files={"file": ("l.pls", written.content)}).json()
    assert again["entries"] == read["entries"]


def test_csv_keeps_everything_and_merges(developer: Client) -> None:
    entry = {"grapheme": "US", "alias": "United States", "language": "en", "case_sensitive": True, "ipa": ""}
    lexicon = made(developer, entries=[entry, NGINX])
    url = f"/tts/lexicons/{lexicon['id']}"
    written = developer.get(f"{url}/export?format=csv").content
    more = written + b"NGINX,engine ex,,,\n"
    merged = developer.post(f"{url}/import", files={"file": ("l.csv", more)}, data={"mode": "merge"}).json()
    assert merged["entries"][0] == entry
    assert [e["grapheme"] for e in merged["entries"]] == ["US", "nginx", "NGINX"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("l.pls", b"<lexicon"), ("l.pls", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"), ("l.pls", b"<a/>"),
        ("l.pls", PLS.replace("ˈwʊstɚ", "☃").encode()), ("l.csv", b"word,alias\na,b\n"), ("l.csv", b"\xff\xfe"),
        ("l.csv", b"grapheme,alias\na\n"), ("l.csv", b"grapheme,alias\na,b,c\n"),
    ],
)  # fmt: skip
def test_refuses_files(developer: Client, name: str, data: bytes) -> None:
    lexicon = made(developer)
    answer = developer.post(f"/tts/lexicons/{lexicon['id']}/import", files={"file": (name, data)})
    assert error_of(answer, 400)["param"] in ("file", "entries")
    assert PronunciationLexicon.objects.get(id=lexicon["id"]).entries == []


def test_preview_tells_phonemes_and_lets_hear_them(developer: Client) -> None:
    body = {"text": "See Worcester.", "lexicon": [{"grapheme": "worcester", "ipa": "ˈwʊstɚ"}]}
    answer = developer.post("/tts/lexicons/preview", json=body).json()
    assert "ˈwʊstɚ" in answer["phonemes"]
    assert [entry["grapheme"] for entry in answer["entries"]] == ["worcester"]
    assert developer.get(answer["job"]["audio_url"]).content.startswith(b"RIFF")


def test_a_voice_speaks_as_its_defaults_say_unless_the_request_does(developer: Client) -> None:
    text = {"text": "A short sentence.", "voice": "espeak:en-gb"}
    before = developer.post("/tts/synthesize", json=text).json()["duration_seconds"]
    defaults = {"voice": "espeak:en-gb", "speed": 2.0, "style": "f2"}
    row = developer.post("/tts/voice-defaults", json=defaults).json()
    job = developer.post("/tts/synthesize", json=text).json()
    assert job["duration_seconds"] < 0.7 * before
    assert job["voice"] == "espeak:en-gb+f2"
    own = developer.post("/tts/synthesize", json={**text, "speed": 1.0}).json()["duration_seconds"]
    assert own == pytest.approx(before, rel=0.15)
    error_of(developer.post("/tts/voice-defaults", json={"voice": "espeak:en-gb", "style": "nobody"}), 400)
    assert developer.delete(f"/tts/voice-defaults/{row['id']}").status_code == 204


def test_whoever_has_all_the_defaults_there_may_be_can_still_change_them(developer: Client, settings: Any) -> None:
    settings.TTS_MAX_VOICE_DEFAULTS = 1
    row = developer.post("/tts/voice-defaults", json={"voice": "espeak:de"}).json()
    error_of(developer.post("/tts/voice-defaults", json={"voice": "espeak:fr-fr"}), 409, "too_many_voice_defaults")
    assert developer.post("/tts/voice-defaults", json={"voice": "espeak:de", "speed": 2.0}).json()["speed"] == 2.0
    assert developer.delete(f"/tts/voice-defaults/{row['id']}").status_code == 204
