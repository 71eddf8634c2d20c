"""Transcription sessions, called with the official SDK's realtime client, and as browsers call them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jiwer
import numpy as np
import openai
import pytest
import soxr
from django.test import override_settings
from websockets.exceptions import ConnectionClosed

from analytics import quota
from analytics.models import UsageRecord
from openai_api.realtime import client_events
from stt.models import SttJob
from tests.api.support import owned_clips
from tests.conftest import Tenant
from tests.live.support import connect as connect_raw
from tests.ml.stt_support import normalise, pcm_of, wait_for
from tests.openai.support import async_sdk, client, sdk

TRANSCRIPTION = "conversation.item.input_audio_transcription"
QUERY = {"intent": "transcription"}
DIRECT: Any = {"proxy": None}
SYNC: Any = {**DIRECT, "legacy": True}  # as the SDK calls websockets
STREAMED = {"model": "gpt-realtime-whisper"}


def sound(name: str = "president.mp3", rate: int = 24_000, pause: float = 1.0) -> bytes:
    pcm = np.concatenate([pcm_of(owned_clips()[name]), np.zeros(round(16_000 * pause), np.int16)])
    return soxr.resample(pcm, 16_000, rate).tobytes()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Speaker:
    """A connection, and what came of it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    def until(self, kind: str, count: int = 1) -> Any:
        """The newest event, which is of this type; so many of them have come by then."""
        while len(self.of(kind)) < count:
            self.events.append(self.connection.recv())
            assert kind == "error" or self.events[-1].type != "error", self.events[-1]
        return self.events[-1]

    def rest(self) -> int:
        """What comes until the server closes, and its close code."""
        try:
            while True:
                self.events.append(self.connection.recv())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006

    def append(self, data: bytes, piece: int = 48_000) -> None:
        for start in range(0, len(data), piece):
            self.connection.input_audio_buffer.append(audio=base64_of(data[start : start + piece]))

    def update(self, **audio: Any) -> Any:
        self.connection.session.update(session={"type": "transcription", "audio": {"input": audio}})
        return self.until("session.updated", len(self.of("session.updated")) + 1)

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    def kinds(self) -> list[str]:
        return [event.type for event in self.events]


@contextmanager
def speaking(client: openai.OpenAI, **options: Any) -> Iterator[Speaker]:
    options = {"extra_query": QUERY, "websocket_connection_options": SYNC, **options}
    with client.realtime.connect(**options) as connection:
        yield Speaker(connection)


def mine(tenant: Tenant) -> list[SttJob]:
    return list(SttJob.objects.filter(organization=tenant.organization).order_by("created_at"))


# ── What is heard ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_turns_are_detected_and_told(tenant: Tenant) -> None:
    data = sound()
    with speaking(sdk(tenant)) as speaker:
        created = speaker.until("session.created").session
        assert (created.type, created.audio.input.turn_detection.type) == ("transcription", "server_vad")
        updated = speaker.update(
            format={"type": "audio/pcm", "rate": 24_000},
            transcription={"model": "gpt-4o-transcribe", "language": "en"},
            turn_detection={"type": "server_vad", "silence_duration_ms": 400},
            noise_reduction={"type": "near_field"},
        ).session.audio.input
        assert (updated.transcription.model, updated.turn_detection.silence_duration_ms) == ("gpt-4o-transcribe", 400)
        assert updated.turn_detection.threshold == 0.5
        speaker.append(data)
        completed = speaker.until(f"{TRANSCRIPTION}.completed")
    kinds = speaker.kinds()[2:]
    assert kinds == [
        "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed",
        "conversation.item.added", "conversation.item.done", f"{TRANSCRIPTION}.delta", f"{TRANSCRIPTION}.completed",
    ]  # fmt: skip
    started, stopped, committed, added, done, delta, _ = speaker.events[2:]
    ids = {started.item_id, stopped.item_id, committed.item_id, added.item.id, done.item.id, delta.item_id}
    assert ids == {completed.item_id}
    assert len({event.event_id for event in speaker.events}) == len(speaker.events)
    assert 0 <= started.audio_start_ms < stopped.audio_end_ms <= len(data) / 48
    assert (added.item.role, added.item.content[0].type, committed.previous_item_id) == ("user", "input_audio", None)
    assert delta.delta == completed.transcript
    assert jiwer.wer(normalise(owned_clips()["president.mp3"].text), normalise(completed.transcript)) <= 0.4
    assert completed.usage.type == "duration"
    assert 0 < completed.usage.seconds <= len(data) / 48_000
    assert completed.logprobs is None
    wait_for(lambda: mine(tenant)[0].status == "succeeded", seconds=30)
    (job,) = mine(tenant)
    assert job.transcription.text == completed.transcript
    assert UsageRecord.objects.get(job_id=job.id).audio_seconds == pytest.approx(len(data) / 48_000, abs=0.2)


def test_commits_make_items_where_turns_are_not_detected(tenant: Tenant) -> None:
    """Text comes while somebody speaks; logprobs are included; a second item follows on the first."""
    first, second = sound(pause=0.2), sound("weather.flac", pause=0.2)
    with speaking(sdk(tenant)) as speaker:
        speaker.connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": STREAMED, "turn_detection": None}},
                "include": ["item.input_audio_transcription.logprobs"],
            }
        )
        assert speaker.until("session.updated").session.audio.input.turn_detection is None
        speaker.append(first)
        speaker.until(f"{TRANSCRIPTION}.delta")
        speaker.connection.input_audio_buffer.commit()
        one = speaker.until(f"{TRANSCRIPTION}.completed")
        speaker.append(second)
        speaker.connection.input_audio_buffer.commit()
        two = speaker.until(f"{TRANSCRIPTION}.completed", 2)
        speaker.connection.input_audio_buffer.commit(event_id="mine")
        error = speaker.until("error").error
    assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "mine")
    assert not speaker.of("input_audio_buffer.speech_started")
    assert [event.previous_item_id for event in speaker.of("input_audio_buffer.committed")] == [None, one.item_id]
    for completed, data in ((one, first), (two, second)):
        deltas = "".join(d.delta for d in speaker.of(f"{TRANSCRIPTION}.delta") if d.item_id == completed.item_id)
        assert normalise(completed.transcript).startswith(normalise(deltas))
        assert "".join(entry.token for entry in completed.logprobs) == completed.transcript
        assert all(entry.logprob <= 0 and bytes(entry.bytes).decode() == entry.token for entry in completed.logprobs)
        assert completed.usage.seconds == pytest.approx(len(data) / 48_000, abs=0.05)


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_telephone_sound_of_the_beta(tenant: Tenant, encoding: str) -> None:
    """The beta's shape, in G.711, with a trailing commit as its clients send it."""
    import av

    codec = {"audio/pcmu": "pcm_mulaw", "audio/pcma": "pcm_alaw"}[encoding]
    pcm = np.frombuffer(sound("weather.flac", 8000, pause=0.3), np.int16)
    encoder = av.CodecContext.create(codec, "w")
    encoder.sample_rate, encoder.layout, encoder.format = 8000, "mono", "s16"
    frame = av.AudioFrame.from_ndarray(pcm[None, :], format="s16", layout="mono")
    frame.sample_rate = 8000
    data = b"".join(bytes(packet) for packet in encoder.encode(frame))
    with speaking(sdk(tenant), extra_headers={"OpenAI-Beta": "realtime=v1"}) as speaker:
        beta = {"audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}[encoding]
        wanted = {"input_audio_format": beta, "input_audio_transcription": {"model": "whisper-1"}}
        speaker.connection.send({"type": "transcription_session.update", "session": wanted})
        updated = speaker.until("transcription_session.updated")
        assert speaker.kinds()[0] == "transcription_session.created"
        assert updated.session["input_audio_format"] == beta  # the SDK has no type for it
        speaker.append(data, 4000)
        speaker.connection.input_audio_buffer.commit()
        completed = speaker.until(f"{TRANSCRIPTION}.completed")
    assert len(speaker.of("conversation.item.created")) == 1
    assert not speaker.of("conversation.item.added")
    assert completed.transcript


def test_clear_takes_back_what_was_not_committed(tenant: Tenant) -> None:
    data = sound("weather.flac")
    with speaking(sdk(tenant)) as speaker:
        speaker.connection.input_audio_buffer.clear()
        speaker.until("input_audio_buffer.cleared")
        speaker.append(data[: len(data) // 2])
        speaker.until("input_audio_buffer.speech_started")
        speaker.connection.input_audio_buffer.clear()
        speaker.until("input_audio_buffer.cleared", 2)
        speaker.connection.input_audio_buffer.commit()
        assert speaker.until("error").error.code == "input_audio_buffer_commit_empty"
        speaker.append(bytes(24_000))
        speaker.connection.input_audio_buffer.commit()
        silent = speaker.until(f"{TRANSCRIPTION}.completed")
    assert (silent.transcript, silent.usage.seconds) == ("", pytest.approx(0.5, abs=0.05))
    assert len(speaker.of("input_audio_buffer.committed")) == 1


def test_changed_settings_hold_for_what_follows(tenant: Tenant) -> None:
    """What was heard before is told first; an idle listening ends, and the connection goes on with another."""
    data = sound("weather.flac", pause=0.0)
    with override_settings(STT_LIVE_IDLE_SECONDS=1), speaking(sdk(tenant)) as speaker:
        speaker.append(data)
        speaker.update(turn_detection=None)
        speaker.until(f"{TRANSCRIPTION}.completed")
        speaker.append(data)
        wait_for(lambda: len(mine(tenant)) == 2 and mine(tenant)[1].status == "succeeded", seconds=60)
        speaker.connection.input_audio_buffer.commit()
        completed = speaker.until(f"{TRANSCRIPTION}.completed", 2)
    texts = [normalise(event.transcript) for event in speaker.of(f"{TRANSCRIPTION}.completed")]
    assert jiwer.wer(*texts) <= 0.5, texts
    assert completed.usage.seconds == pytest.approx(len(data) / 48_000, abs=0.05)


def test_async_sdk(tenant: Tenant) -> None:
    asynchronous = async_sdk(tenant)

    async def listen() -> list[Any]:
        events = []
        connecting = asynchronous.realtime.connect(extra_query=QUERY, websocket_connection_options=DIRECT)
        async with connecting as connection:
            await connection.input_audio_buffer.append(audio=base64_of(sound("weather.flac")))
            async for event in connection:
                events.append(event)
                if event.type == f"{TRANSCRIPTION}.completed":
                    return events
        return events

    events = asyncio.run(asyncio.wait_for(listen(), 120))
    assert events[-1].transcript


# ── Keys for browsers ───────────────────────────────────────────────────────────────────────────────────────────────


def test_client_secrets_open_sessions_with_their_settings(tenant: Tenant) -> None:
    session = {
        "type": "transcription",
        "audio": {"input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1"}}},
    }
    made = sdk(tenant).realtime.client_secrets.create(session=session, expires_after={"seconds": 30})  # type: ignore[arg-type]
    assert made.value.startswith("ek_")
    assert 0 < made.expires_at - time.time() <= 31
    assert made.session.audio.input.format.type == "audio/pcmu"  # type: ignore[union-attr]
    with speaking(client(tenant.server, made.value), extra_query={}) as speaker:
        created = speaker.until("session.created").session
        assert (created.audio.input.format.type, created.audio.input.transcription.model) == ("audio/pcmu", "whisper-1")
    url = f"{tenant.server}/v1/realtime"
    for key in (made.value, tenant.new_key("stt")[1]):
        protocols: Any = ["realtime", f"openai-insecure-api-key.{key}"]
        with connect_raw(url, subprotocols=protocols) as socket:
            assert socket.subprotocol == "realtime"
            assert json.loads(socket.recv(timeout=30))["type"] == "session.created"
    with pytest.raises(openai.AuthenticationError):
        client(tenant.server, made.value).models.list()


def test_client_secrets_of_the_beta(tenant: Tenant) -> None:
    body = {"input_audio_format": "g711_alaw", "client_secret": {"expires_at": {"anchor": "created_at", "seconds": 60}}}
    made = tenant.key("stt").post("//v1/realtime/transcription_sessions", json=body).json()
    assert (made["input_audio_format"], made["turn_detection"]["type"]) == ("g711_alaw", "server_vad")
    headers = {"Authorization": f"Bearer {made['client_secret']['value']}", "OpenAI-Beta": "realtime=v1"}
    with connect_raw(f"{tenant.server}/v1/realtime?intent=transcription", headers) as socket:
        created = json.loads(socket.recv(timeout=30))
    assert created["session"]["input_audio_format"] == "g711_alaw"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"session": {"type": "realtime"}}, "session.type"),
        ({"session": {"type": "transcription", "audio": {"input": {"colour": 1}}}}, "session.audio.input.colour"),
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds"),
        ({"session": {"audio": {"input": {"transcription": {"model": "nobody"}}}}}, "model"),
    ],
)
def test_client_secrets_are_checked(tenant: Tenant, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.APIStatusError) as raised:
        sdk(tenant).realtime.client_secrets.create(**body)
    assert (raised.value.status_code, raised.value.param) in ((400, param), (404, param))


# ── What goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_credentials(tenant: Tenant) -> None:
    wrong = ("sk-not-ours", 3000, "invalid_api_key"), ("ek_not-ours", 3000, "invalid_api_key")
    for key, code, error in (*wrong, (tenant.new_key("tts")[1], 3003, "scope_missing")):
        with speaking(client(tenant.server, key)) as speaker:
            assert speaker.rest() == code
        assert [event.error.code for event in speaker.events] == [error]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"intent": "transcription", "model": "nobody"}, "model_not_found"),
        ({"intent": "conversation"}, "invalid_request"),
        ({"model": "gpt-realtime"}, "model_not_found"),
    ],
)
def test_other_sessions_are_refused(tenant: Tenant, query: dict[str, str], code: str) -> None:
    with speaking(sdk(tenant), extra_query=query) as speaker:
        assert speaker.rest() == 4400
    assert [event.error.code for event in speaker.events] == [code]


def test_wrong_events_are_told_and_the_session_goes_on(tenant: Tenant) -> None:
    def update(**audio: Any) -> dict[str, Any]:
        session = {"type": "transcription", "audio": {"input": audio}}
        return {"type": "session.update", "session": session, "event_id": "mine"}

    large = base64_of(bytes(client_events.MAX_APPEND_BYTES + 3))
    wrong = [
        ("no json", None, "invalid_json"),
        ("[]", "type", "missing_required_parameter"),
        (b"\0\0", None, "invalid_request"),
        ({"type": "response.create"}, "type", "invalid_value"),
        ({"type": "input_audio_buffer.append"}, "audio", "invalid_type"),
        ({"type": "input_audio_buffer.append", "audio": "%%%"}, "audio", "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": large}, "audio", "string_above_max_length"),
        ({"type": "input_audio_buffer.commit"}, None, "input_audio_buffer_commit_empty"),
        ({"type": "session.update"}, "session", None),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "invalid_value"),
        (update(colour="red"), "session.audio.input.colour", "unknown_parameter"),
        (update(format={"type": "audio/mp3"}), "session.audio.input.format.type", "invalid_value"),
        (
            update(turn_detection={"type": "server_vad", "threshold": 2}),
            "session.audio.input.turn_detection.threshold",
            "decimal_above_max_value",
        ),
        (update(transcription={"model": "nobody"}), "session.audio.input.transcription.model", "model_not_found"),
        (
            update(transcription={"language": "xx"}),
            "session.audio.input.transcription.language",
            "language_not_supported",
        ),
        (
            update(transcription={"model": "gpt-4o-transcribe-diarize"}),
            "session.audio.input.transcription.model",
            "invalid_request",
        ),
    ]
    headers = {"Authorization": f"Bearer {tenant.new_key('stt')[1]}"}
    with connect_raw(f"{tenant.server}/v1/realtime?intent=transcription", headers) as socket:
        assert json.loads(socket.recv(timeout=30))["type"] == "session.created"
        for message, param, code in wrong:
            socket.send(json.dumps(message) if isinstance(message, dict) else message)
            told = json.loads(socket.recv(timeout=30))
            assert told["type"] == "error", told
            error = told["error"]
            assert error["param"] == param, error
            assert code is None or error["code"] == code, error
            assert error["type"] == "invalid_request_error"
            assert error["message"]
            assert error["event_id"] == (message.get("event_id") if isinstance(message, dict) else None)
        socket.send(json.dumps({"type": "session.update", "session": {"type": "transcription"}}))
        assert json.loads(socket.recv(timeout=30))["type"] == "session.updated"
    assert mine(tenant) == []


def test_quota_ends_the_connection(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_audio_seconds=2)
    with speaking(sdk(tenant)) as speaker:
        speaker.until("session.created")
        speaker.append(sound())
        assert speaker.rest() == 4429
        assert (speaker.events[-1].error.code, speaker.events[-1].error.type) == ("insufficient_quota", "quota_error")
    with speaking(sdk(tenant)) as speaker:
        speaker.append(sound())
        assert speaker.rest() == 4429
        assert speaker.events[-1].error.code == "insufficient_quota"
    wait_for(lambda: {job.error_code for job in mine(tenant)} == {"quota_exceeded"}, seconds=30)
    assert 0 < float(UsageRecord.objects.get(job_id=mine(tenant)[0].id).audio_seconds) <= 2
