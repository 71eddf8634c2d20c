"""POST /tts/synthesize."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage

from analytics.models import UsageRecord
from tests.api.support import Sound, assert_nothing_was_kept, decode
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob

SENTENCE = "The quick brown fox jumps over the lazy dog."
CODECS = {
    "wav": ("pcm_s16le", "audio/wav"),
    "mp3": ("mp3float", "audio/mpeg"),
    "opus": ("opus", "audio/ogg"),
    "aac": ("aac", "audio/aac"),
    "flac": ("flac", "audio/flac"),
}


def _speak(client: Client, text: str = SENTENCE, **options: Any) -> dict[str, Any]:
    answer = client.post("/tts/synthesize", json={"text": text, **options})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _sound(client: Client, text: str = SENTENCE, **options: Any) -> Sound:
    return decode(client.get(_speak(client, text, **options)["audio_url"]).content)


def test_speaks_and_accounts(tenant: Tenant) -> None:
    row, key = tenant.new_key("tts")
    client = Client(tenant.server, {"x-api-key": key})
    job = _speak(client)
    assert (job["status"], job["characters"], job["error"]) == ("succeeded", len(SENTENCE), None)
    assert (job["language"], job["voice"], job["model"]) == ("en-US", "espeak:en-us", "espeak-ng")
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]

    sound = decode(client.get(job["audio_url"]).content)
    assert sound.seconds == pytest.approx(job["duration_seconds"], abs=0.01)
    assert sound.sample_rate == job["sample_rate"]
    assert 1.5 < sound.seconds < 5
    assert sound.loudness > 0.01

    stored = TtsJob.objects.get(id=job["job_id"])
    assert (stored.organization, stored.api_key, stored.user) == (tenant.organization, row, None)
    assert stored.audio_key.startswith(f"{tenant.organization.id}/tts/")
    assert default_storage.exists(stored.audio_key)
    usage = UsageRecord.objects.get(job_id=stored.id)
    assert (usage.characters, usage.status, usage.model) == (len(SENTENCE), "succeeded", "espeak-ng")
    assert (usage.organization, usage.api_key, usage.user) == (tenant.organization, row, None)
    assert usage.audio_seconds == pytest.approx(sound.seconds, abs=0.01)
    assert usage.compute_seconds > 0


def test_user_is_accounted(tenant: Tenant) -> None:
    job = _speak(tenant.user("developer"), "Hello.")
    assert UsageRecord.objects.get(job_id=job["job_id"]).user == tenant.member("developer").user


# ── Formats and options ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sample_rate", [None, 8000, 16000, 24000, 48000])
@pytest.mark.parametrize("format_name", sorted(CODECS))
def test_format_and_rate(tenant: Tenant, format_name: str, sample_rate: int | None) -> None:
    client = tenant.key("tts")
    options = {"sample_rate": sample_rate} if sample_rate else {}
    job = _speak(client, format=format_name, **options)
    assert job["format"] == format_name
    if sample_rate:
        assert job["sample_rate"] == sample_rate
    audio = client.get(job["audio_url"])
    sound = decode(audio.content)
    codec, content_type = CODECS[format_name]
    assert sound.codec == codec
    assert audio.headers["Content-Type"].replace("x-wav", "wav") == content_type
    # Opus always decodes at 48 kHz; lossy codecs add a frame or two of padding.
    assert sound.sample_rate == (48000 if format_name == "opus" else job["sample_rate"])
    assert sound.seconds == pytest.approx(job["duration_seconds"], abs=0.3 if codec in ("mp3float", "aac") else 0.05)
    assert sound.loudness > 0.01


def test_pcm_is_bare_samples_of_the_wav(tenant: Tenant) -> None:
    client = tenant.key("tts")
    job = _speak(client, format="pcm", sample_rate=16000)
    samples = np.frombuffer(client.get(job["audio_url"]).content, "<i2")
    assert len(samples) / 16000 == pytest.approx(job["duration_seconds"], abs=0.001)
    same = _sound(client, format="wav", sample_rate=16000).samples[0]
    assert np.allclose(samples / 32767, same, atol=1e-4)


def test_speed_pitch_and_volume(tenant: Tenant) -> None:
    client = tenant.key("tts")
    plain = _sound(client)
    assert _sound(client, speed=2).seconds < 0.7 * plain.seconds
    assert _sound(client, speed=0.5).seconds > 1.5 * plain.seconds
    assert _sound(client, volume=0.5).loudness == pytest.approx(plain.loudness / 2, rel=0.05)
    assert not np.array_equal(_sound(client, pitch=6).samples, plain.samples)
    assert np.array_equal(_sound(client, speed=1, pitch=0, volume=1).samples, plain.samples)
    kept = TtsJob.objects.get(id=_speak(client, speed=2, pitch=-3, volume=0.5)["job_id"]).options
    assert kept == {"speed": 2, "pitch": -3, "volume": 0.5, "ssml": False}


@pytest.mark.parametrize("limits", [{"speed": 0.25}, {"speed": 4}, {"pitch": -12}, {"pitch": 12}, {"volume": 2}])
def test_limits_are_allowed(tenant: Tenant, limits: dict[str, float]) -> None:
    assert _sound(tenant.key("tts"), "Hello there.", **limits).seconds > 0.1


def test_language_voice_and_variant(tenant: Tenant) -> None:
    client = tenant.key("tts")
    german = _speak(client, "Guten Tag, wie geht es Ihnen?", language="de")
    assert german["language"].startswith("de")
    variant = _speak(client, voice="espeak:en-us+f2")
    assert variant["voice"] == "espeak:en-us+f2"
    plain, other = (client.get(job["audio_url"]).content for job in (_speak(client), variant))
    assert plain != other


@pytest.mark.parametrize(
    "text",
    [
        "नमस्ते दुनिया",
        "你好，世界",
        "مرحبا بالعالم",
        "👍 thumbs up",
        "étude",
        "A\u202eB right to left",
        "1" * 2000,
        "a\ufeffb \ufffe\uffff",
        "\U0010ffff x",
        "tab\tand\r\nlines\x0b\x0c\x1b\x7f x",
    ],
)
def test_any_unicode_text(tenant: Tenant, text: str) -> None:
    job = _speak(tenant.key("tts"), text)
    assert (job["text"], job["characters"]) == (text, len(text))
    assert job["duration_seconds"] > 0


def test_ssml(tenant: Tenant) -> None:
    client = tenant.key("tts")
    short = _sound(client, "<speak>Hello world</speak>", ssml=True)
    paused = _sound(client, '<speak>Hello <break time="2s"/> world</speak>', ssml=True)
    assert paused.seconds > short.seconds + 1.5
    literal = _sound(client, "<speak>Hello world</speak>")
    assert not np.array_equal(literal.samples, short.samples)


@pytest.mark.parametrize(
    "text",
    [
        "no markup",
        "<speak>unclosed",
        "<speak></speak>",
        "<html>not speech</html>",
        '<speak><audio src="file:///etc/passwd"/></speak>',
        '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><speak>&x;</speak>',
        '<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><speak>&b;</speak>',
        "<speak>" * 10000 + "deep" + "</speak>" * 10000,
    ],
)
def test_refuses_ssml(tenant: Tenant, text: str) -> None:
    answer = tenant.key("tts").post("/tts/synthesize", json={"text": text, "ssml": True})
    assert error_of(answer, 400)["type"] == "invalid_request_error"
    assert_nothing_was_kept(tenant)


def test_longest_text(tenant: Tenant) -> None:
    text = (("A hundred thousand characters take a while to say, even " * 5 + "at speed. ") * 400)[:100_000]
    job = _speak(tenant.key("tts"), text, format="pcm", speed=4)
    assert job["characters"] == 100_000
    assert job["duration_seconds"] > 600
    assert UsageRecord.objects.get(job_id=job["job_id"]).characters == 100_000


# ── Refusals: a clear 4xx, and nothing kept ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "   \n\t", "\u200b\u200b", "\ufeff", "\u3000", "\x1b\x7f"])
def test_rejects_blank_text(tenant: Tenant, text: str) -> None:
    assert error_of(tenant.key("tts").post("/tts/synthesize", json={"text": text}), 400)["param"] == "text"
    assert_nothing_was_kept(tenant)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"text": "x" * 100_001}, "text", "text_too_long"),
        ({"text": "a\0b"}, "text", None),
        ({"text": None}, "text", None),
        ({"text": ["a"]}, "text", None),
        ({"text": {"a": 1}}, "text", None),
        ({"voice": "espeak:no-such-voice"}, "voice", "voice_not_found"),
        ({"voice": ""}, "voice", None),
        ({"voice": "espeak:en-us+no-such-variant"}, "voice", "voice_not_found"),
        ({"voice": "../../etc/passwd"}, "voice", "voice_not_found"),
        ({"voice": "espeak:de", "language": "en-US"}, "language", "language_not_supported"),
        ({"model": "gpt"}, "model", "model_not_found"),
        ({"language": "xx-XX"}, "language", "language_not_supported"),
        ({"language": "e" * 36}, "language", None),
        ({"format": "ogg"}, "format", None),
        ({"format": "WAV"}, "format", None),
        ({"sample_rate": 7999}, "sample_rate", None),
        ({"sample_rate": 48001}, "sample_rate", None),
        ({"sample_rate": "fast"}, "sample_rate", None),
        ({"sample_rate": 44100, "format": "opus"}, "sample_rate", None),
        ({"speed": 0.24}, "speed", None),
        ({"speed": 4.01}, "speed", None),
        ({"speed": "fast"}, "speed", None),
        ({"speed": 10**400}, "speed", None),
        ({"pitch": 13}, "pitch", None),
        ({"pitch": -13}, "pitch", None),
        ({"volume": -0.1}, "volume", None),
        ({"volume": 2.1}, "volume", None),
        ({"ssml": "perhaps"}, "ssml", None),
        ({"stream": "perhaps"}, "stream", None),
        ({"sped": 2}, "sped", "parameter_unknown"),
        ({"": 2}, None, None),
        ({"custom_id": "x"}, "custom_id", "parameter_unknown"),
    ],
)
def test_rejects_wrong_fields(tenant: Tenant, fields: dict[str, Any], param: str | None, code: str | None) -> None:
    for stream in (False, True):
        body = {"text": SENTENCE, "stream": stream, **fields}
        error = error_of(tenant.key("tts").post("/tts/synthesize", json=body), 400, code)
        assert param is None or error["param"] == param, error
    assert_nothing_was_kept(tenant)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"text": "\ud800"}',
        rb'{"text": "ok", "voice": "\udfff"}',
        rb'{"text": "ok", "format": "\udfff"}',
        rb'{"text": "ok", "\ud800": 1}',
        b'{"text": "\xff\xfe"}',
        b'{"text": "unfinished',
        b'{"text": "ok", "speed": NaN}',
        b'{"text": "ok", "speed": 1e999}',
        b'{"text": "ok", "sample_rate": ' + b"9" * 5000 + b"}",
        b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[]",
        b"null",
        b"3",
        b"",
    ],
)
def test_rejects_odd_json(tenant: Tenant, body: bytes) -> None:
    answer = tenant.key("tts").post("/tts/synthesize", content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 400)
    assert_nothing_was_kept(tenant)


# ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────

LONG = "This sentence is one of a great many that are spoken one after the other. " * 600


@pytest.mark.parametrize("format_name", [*sorted(CODECS), "pcm"])
def test_stream_is_the_audio(tenant: Tenant, format_name: str) -> None:
    client = tenant.key("tts")
    body = {"text": SENTENCE, "stream": True, "format": format_name}
    with client.stream("POST", "/tts/synthesize", json=body) as answer:
        assert answer.status_code == 200
        content = answer.read()
    job = TtsJob.objects.get(id=answer.headers["X-Job-ID"])
    assert (job.status, job.organization) == ("succeeded", tenant.organization)
    assert int(answer.headers["X-Sample-Rate"]) == job.sample_rate
    if format_name == "pcm":
        assert len(content) / 2 / job.sample_rate == pytest.approx(job.duration_seconds, abs=0.001)
    else:
        assert decode(content).seconds == pytest.approx(job.duration_seconds, abs=0.3)
    assert UsageRecord.objects.get(job_id=job.id).characters == len(SENTENCE)
    kept = client.get(client.get(f"/tts/jobs/{job.id}").json()["audio_url"]).content
    assert kept == content


def test_stream_starts_before_it_ends(tenant: Tenant) -> None:
    body = {"text": LONG[:20_000], "stream": True, "format": "pcm"}
    with tenant.key("tts").stream("POST", "/tts/synthesize", json=body) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        assert TtsJob.objects.get(id=answer.headers["X-Job-ID"]).status == "processing"
        assert sum(len(piece) for piece in pieces) > 1_000_000
    assert TtsJob.objects.get(id=answer.headers["X-Job-ID"]).status == "succeeded"


def test_client_that_leaves_pays_for_what_was_spoken(tenant: Tenant) -> None:
    body = {"text": LONG, "stream": True, "format": "pcm"}
    with tenant.key("tts").stream("POST", "/tts/synthesize", json=body) as answer:
        assert next(answer.iter_raw())
    job = _settled(answer.headers["X-Job-ID"])
    assert (job.status, job.error_code) == ("cancelled", "client_disconnected")
    usage = UsageRecord.objects.get(job_id=job.id)
    assert usage.status == "cancelled"
    assert 0 < usage.characters < len(LONG)
    assert usage.audio_seconds > 0
    assert not default_storage.exists(job.audio_key)
    shown = tenant.user("viewer").get(f"/tts/jobs/{job.id}").json()
    assert (shown["status"], shown["audio_url"]) == ("cancelled", None)
    assert shown["error"]["code"] == "client_disconnected"


def test_cancelled_job_stops_the_stream(tenant: Tenant) -> None:
    client = tenant.key("tts")
    with client.stream("POST", "/tts/synthesize", json={"text": LONG, "stream": True, "format": "pcm"}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces)
        assert tenant.key("tts").delete(f"/tts/jobs/{answer.headers['X-Job-ID']}").status_code == 204
    job = _settled(answer.headers["X-Job-ID"])
    assert job.status == "cancelled"


def _settled(job_id: str) -> TtsJob:
    """The job, once it has ended: the server notices a closed connection a moment later."""
    waiting = threading.Event()
    deadline = time.monotonic() + 10
    while (job := TtsJob.objects.get(id=job_id)).status == "processing" and time.monotonic() < deadline:
        waiting.wait(0.05)
    return job
