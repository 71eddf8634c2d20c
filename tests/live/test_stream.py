"""WS /api/v1/stt/stream and POST /stt/transcribe-realtime, with a real client against the real server."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jiwer
import numpy as np
import pytest
from django.test import override_settings
from websockets.sync.client import ClientConnection

from accounts.models import Organization
from analytics.models import UsageRecord
from common import storage
from jobs.models import UNFINISHED
from stt.models import AudioFile, SttJob
from tests.api.support import decode, owned_clips
from tests.conftest import Tenant
from tests.live.support import connect, encoded, receive, rest
from tests.ml.stt_support import pcm_of, wait_for

FRAME = 3200  # bytes: a tenth of a second


def key(tenant: Tenant, *scopes: str) -> dict[str, str]:
    return {"x-api-key": tenant.new_key(*(scopes or ("stt",)))[1]}


def stream(tenant: Tenant, headers: dict[str, str] | None = None, query: str = "", **options: Any) -> ClientConnection:
    return connect(f"{tenant.server}/api/v1/stt/stream{query}", key(tenant) if headers is None else headers, **options)


def sound(name: str) -> bytes:
    return pcm_of(owned_clips()[name]).tobytes()


def say(socket: ClientConnection, **message: Any) -> None:
    socket.send(json.dumps(message))


def speak(socket: ClientConnection, data: bytes, frame: int = FRAME) -> None:
    for start in range(0, len(data), frame):
        socket.send(data[start : start + frame])


def heard(tenant: Tenant, data: bytes, **start: Any) -> list[dict[str, Any]]:
    """Everything that a session tells of some sound."""
    with stream(tenant) as socket:
        say(socket, type="start", **start)
        speak(socket, data)
        say(socket, type="stop")
        messages, code = rest(socket)
        assert code == 1000, messages
        return messages


def test_recording_becomes_partials_and_finals(tenant: Tenant) -> None:
    data = sound("weather.flac")
    messages = heard(tenant, data)
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "ready"
    assert kinds[-2:] == ["usage", "closed"]
    assert kinds.index("speech_started") < kinds.index("final")
    duration = len(data) / 32_000
    finals = [message for message in messages if message["type"] == "final"]
    for final in finals:
        assert 0 <= final["start"] <= final["end"] <= duration + 0.1
        starts = [word["start"] for word in final["words"]]
        assert starts == sorted(starts)
        assert all(set(word) == {"word", "start", "end", "confidence"} for word in final["words"])
    for message in messages:
        if message["type"] == "partial":
            assert message["text"].startswith(message["stable"])
            assert message["segment"] in {final["segment"] for final in finals}
    assert messages[-2]["audio_seconds"] == pytest.approx(duration, abs=0.1)

    job = SttJob.objects.select_related("transcription").get(organization=tenant.organization)
    assert str(job.id) == messages[0]["session_id"]
    assert job.status == "succeeded"
    assert job.transcription.text == " ".join(final["text"] for final in finals if final["text"])
    assert UsageRecord.objects.get(job_id=job.id).audio_seconds == pytest.approx(duration, abs=0.1)
    shown = tenant.key("stt").get(f"/stt/jobs/{job.id}").json()
    assert shown["text"] == job.transcription.text
    assert tenant.key("stt").get(f"/stt/jobs/{job.id}?format=srt").status_code == 200


def test_finals_say_what_the_file_endpoint_says(tenant: Tenant) -> None:
    clip = owned_clips()["weather.flac"]
    file = tenant.key("stt").post("/stt/transcribe", files={"audio_file": ("w.flac", clip.path.read_bytes())}).json()
    texts = [message["text"] for message in heard(tenant, sound("weather.flac")) if message["type"] == "final"]
    # The embedded recogniser adapts to a voice as it goes: a file's whole utterance tells it more than its beginning.
    assert jiwer.wer(file["text"].lower(), " ".join(texts).lower()) <= 0.5


def test_silence_gives_nothing(tenant: Tenant) -> None:
    messages = heard(tenant, bytes(64_000))
    assert [message["type"] for message in messages] == ["ready", "usage", "closed"]
    job = SttJob.objects.get(organization=tenant.organization)
    assert job.transcription.text == ""
    usage = UsageRecord.objects.get(organization=tenant.organization)
    assert job.transcription.model_used == job.model == usage.model == messages[0]["model"]


def test_finalize_and_keepalive(tenant: Tenant) -> None:
    data = sound("numbers.wav")
    with stream(tenant) as socket:
        say(socket, type="start", interim_results=False)
        assert receive(socket)["type"] == "ready"
        say(socket, type="keepalive")
        speak(socket, data[: len(data) // 2])
        say(socket, type="finalize")
        while (message := receive(socket))["type"] != "finalized":
            assert message["type"] in ("speech_started", "final")
        say(socket, type="stop")
        messages, code = rest(socket)
    assert code == 1000
    assert "partial" not in {message["type"] for message in messages}


@pytest.mark.parametrize(
    ("encoding", "rate", "make"),
    [
        ("pcm_s16le", 8000, lambda pcm: pcm[::2].tobytes()),
        ("pcm_f32le", 16000, lambda pcm: (pcm.astype(np.float32) / 32768).tobytes()),
        ("pcm_s16le", 48000, lambda pcm: np.repeat(pcm, 3).tobytes()),
        ("mulaw", 16000, lambda pcm: encoded(pcm, "mulaw")),
        ("opus", 16000, lambda pcm: encoded(pcm, "opus/ogg")),
        ("opus", 16000, lambda pcm: encoded(pcm, "opus/webm")),
    ],
)
def test_encodings(tenant: Tenant, encoding: str, rate: int, make: Callable[[np.ndarray], bytes]) -> None:
    pcm = pcm_of(owned_clips()["weather.flac"])
    messages = heard(tenant, make(pcm), encoding=encoding, sample_rate=rate)
    assert messages[-2]["audio_seconds"] == pytest.approx(len(pcm) / 16000, abs=0.15)
    assert any(message["type"] == "final" and message["text"] for message in messages)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "malformed_message"),
        ('{"type": "sing"}', "unknown_message"),
        ("[]", "unknown_message"),
        ('{"type": "stop"}', "not_started"),
        (b"\0\0", "not_started"),
        ('{"type": "start", "sample_rate": 1}', "parameter_min_value"),
        ('{"type": "start", "encoding": "mp9"}', "parameter_invalid_choice"),
        ('{"type": "start", "colour": "red"}', "parameter_unknown"),
        ('{"type": "start", "model": "nobody"}', None),
        ('{"type": "start", "language": "klingon"}', None),
    ],
)
def test_refuses_what_is_no_protocol(tenant: Tenant, message: str | bytes, code: str | None) -> None:
    with stream(tenant) as socket:
        socket.send(message)
        messages, closed = rest(socket)
    assert closed == 4400, messages
    assert messages[-1]["type"] == "error"
    if code is not None:
        assert messages[-1]["error"]["code"] == code
    assert not SttJob.objects.filter(organization=tenant.organization, status__in=UNFINISHED).exists()


def test_credentials(tenant: Tenant) -> None:
    for headers, code in (({}, 4401), ({"x-api-key": "sp_wrong"}, 4401), (key(tenant, "tts"), 4403)):
        with stream(tenant, headers) as socket:
            messages, closed = rest(socket)
        assert closed == code, messages


def test_client_token_opens_one_session(tenant: Tenant) -> None:
    made = tenant.key("stt").post("/stt/transcribe-realtime", json={})
    assert made.status_code == 201, made.text
    session = made.json()
    assert session["websocket_url"].startswith("ws://")
    assert session["expires_at"].endswith("Z")  # as all times of the API
    with connect(session["websocket_url"]) as socket:
        say(socket, type="start")
        assert receive(socket)["session_id"] == session["session_id"]
        say(socket, type="stop")
        assert rest(socket)[1] == 1000
    with connect(session["websocket_url"]) as socket:
        say(socket, type="start")
        messages, closed = rest(socket)
    assert (closed, messages[-1]["error"]["code"]) == (4403, "client_token_used")
    bound = tenant.key("stt").post("/stt/transcribe-realtime", json={"allowed_origins": ["https://app.example.com"]})
    with connect(bound.json()["websocket_url"], {"Origin": "https://evil.example.com"}) as socket:
        assert rest(socket)[1] == 4403


def test_sessions_are_limited(tenant: Tenant) -> None:
    with override_settings(STT_LIVE_MAX_SESSIONS_PER_ORGANIZATION=1), stream(tenant) as first:
        say(first, type="start")
        assert receive(first)["type"] == "ready"
        with stream(tenant) as second:
            say(second, type="start")
            messages, closed = rest(second)
        assert (closed, messages[-1]["error"]["code"]) == (4429, "session_limit")
        say(first, type="stop")
        assert rest(first)[1] == 1000


def test_idle_session_ends(tenant: Tenant) -> None:
    with override_settings(STT_LIVE_IDLE_SECONDS=1), stream(tenant) as socket:
        say(socket, type="start")
        messages, closed = rest(socket)
    assert (closed, messages[-1]["error"]["code"]) == (4429, "session_idle")


def test_quota_ends_a_session_and_bills_what_was_heard(tenant: Tenant) -> None:
    from analytics.models import Quota

    Quota.objects.update_or_create(organization=tenant.organization, defaults={"monthly_audio_seconds": 2})
    with stream(tenant) as socket:
        say(socket, type="start")
        speak(socket, sound("weather.flac"))
        messages, closed = rest(socket)
    assert (closed, messages[-1]["error"]["code"]) == (4429, "quota_exceeded"), messages[-1]
    mine = SttJob.objects.filter(organization=tenant.organization)
    wait_for(lambda: mine.get().status == "failed", seconds=30)
    job = mine.get()
    assert job.error_code == "quota_exceeded"
    assert 0 < float(UsageRecord.objects.get(job_id=job.id).audio_seconds) <= 2


def test_deleting_the_job_ends_the_session(tenant: Tenant) -> None:
    with stream(tenant) as socket:
        say(socket, type="start")
        job_id = receive(socket)["session_id"]
        assert uuid.UUID(job_id)
        assert tenant.key("stt").delete(f"/stt/jobs/{job_id}").status_code == 204
        started = time.monotonic()
        messages, closed = rest(socket)
    assert (closed, messages[-1]["error"]["code"]) == (4400, "job_cancelled")
    assert time.monotonic() - started < 30


def test_two_organisations_hear_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    """One speaks, one is silent, at the same time."""
    data = sound("weather.flac")
    with stream(tenant) as speaking, stream(other_tenant) as silent:
        for socket in (speaking, silent):
            say(socket, type="start")
        for start in range(0, len(data), FRAME):
            speaking.send(data[start : start + FRAME])
            silent.send(bytes(FRAME))
        for socket in (speaking, silent):
            say(socket, type="stop")
        mine, _ = rest(speaking)
        theirs, _ = rest(silent)
    assert any(message["type"] == "final" and message["text"] for message in mine)
    assert [message["type"] for message in theirs] == ["ready", "usage", "closed"]


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le"])
def test_sound_is_kept_where_asked_for(tenant: Tenant, encoding: str) -> None:
    pcm = pcm_of(owned_clips()["weather.flac"])[:32_000]
    floats = pcm.astype(np.float32) / 32768
    messages = heard(tenant, (floats if encoding == "pcm_f32le" else pcm).tobytes(), encoding=encoding, keep_audio=True)
    job = SttJob.objects.select_related("audio").get(id=messages[0]["session_id"])
    assert job.audio is not None
    with storage.local_copy(job.audio.key) as path:
        assert path.stat().st_size == job.audio.size_bytes
        kept = decode(path.read_bytes())
    assert kept.sample_rate == 16_000
    np.testing.assert_allclose(kept.samples[0], floats, atol=1e-4)


@pytest.mark.parametrize(("container", "kind"), [("opus/ogg", "ogg"), ("opus/webm", "webm"), (None, "flac")])
def test_kept_sound_is_named_by_what_it_is(tenant: Tenant, container: str | None, kind: str) -> None:
    clip = owned_clips()["weather.flac"]
    data = encoded(pcm_of(clip), container) if container else clip.path.read_bytes()
    messages = heard(tenant, data, encoding="opus", keep_audio=True)
    audio = AudioFile.objects.get(job=messages[0]["session_id"])
    assert (audio.filename, audio.content_type) == (f"microphone.{kind}", f"audio/{kind}")
    with storage.local_copy(audio.key) as path:
        assert path.read_bytes() == data


def test_sound_is_not_kept_otherwise(tenant: Tenant) -> None:
    data = bytes(32_000)
    heard(tenant, data)
    with stream(tenant) as socket:  # leaves without `stop`
        say(socket, type="start", keep_audio=True)
        speak(socket, data)
    Organization.objects.filter(id=tenant.organization.id).update(audio_retention_days=0)
    heard(tenant, data, keep_audio=True)
    jobs = SttJob.objects.filter(organization=tenant.organization)
    wait_for(lambda: not jobs.filter(status__in=UNFINISHED).exists(), seconds=30)
    assert jobs.count() == 3
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()
