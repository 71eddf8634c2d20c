"""WS /v1/listen with Deepgram's SDK and, for what the SDK does not show, a plain client."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jiwer
import numpy as np
import pytest
from django.test import override_settings
from websockets.exceptions import InvalidStatus

from analytics.models import Quota, UsageRecord
from jobs.models import UNFINISHED
from ml.stt import live
from sockets import consumer
from stt.live.session import places
from stt.models import SttJob, TranscriptionDefaults
from tests.api.support import owned_clips, wav
from tests.conftest import Tenant
from tests.deepgram.support import async_sdk, hear, of_type, saying, sdk
from tests.live.support import connect, rest
from tests.ml.stt_support import needs_recordings, normalise, pcm_of, real_clips, wait_for

RAW = {"encoding": "linear16", "sample_rate": 16_000}


def sound(name: str = "numbers.wav") -> bytes:
    return pcm_of(owned_clips()[name]).tobytes()


def url(tenant: Tenant, query: str = "model=nova-3&encoding=linear16&sample_rate=16000") -> str:
    return f"{tenant.server}/v1/listen?{query}"


def token(tenant: Tenant, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Token {tenant.new_key(*(scopes or ('stt',)))[1]}"}


def finals(messages: list[Any]) -> list[Any]:
    return [message for message in of_type(messages, "Results") if message.is_final]


def said(messages: list[Any]) -> str:
    return " ".join(filter(None, (message.channel.alternatives[0].transcript for message in finals(messages))))


def test_stream_as_deepgram_tells_it(tenant: Tenant) -> None:
    data = sound() + bytes(48_000)
    options = {"interim_results": True, "smart_format": True, "vad_events": True, "utterance_end_ms": 1000}
    messages = hear(sdk(tenant), saying(data), keyterm=["ten"], **RAW, **options)
    kinds = [message.type for message in messages]
    assert kinds[0] == "SpeechStarted"
    assert kinds[-1] == "Metadata"
    assert "UtteranceEnd" in kinds
    partials = [message for message in of_type(messages, "Results") if not message.is_final]
    assert partials
    assert all(message.channel.alternatives[0].transcript for message in partials)
    for message in finals(messages):
        (best,) = message.channel.alternatives
        assert message.start <= best.words[0].start
        assert best.words[-1].end <= message.start + message.duration + 0.01
        assert best.transcript == " ".join(word.punctuated_word for word in best.words)
        assert [word.word for word in best.words] == [word.word.lower() for word in best.words]
        assert message.metadata.model_info.name == "pocketsphinx-en-us"
    assert finals(messages)[-1].speech_final
    assert not any(message.from_finalize for message in finals(messages))

    metadata = messages[-1]
    job = SttJob.objects.select_related("transcription").get(organization=tenant.organization)
    assert metadata.request_id == finals(messages)[0].metadata.request_id == str(job.id)
    assert metadata.sha256 == hashlib.sha256(data).hexdigest()
    assert metadata.duration == pytest.approx(len(data) / 32_000, abs=0.05)
    assert (job.status, job.transcription.text) == ("succeeded", said(messages))
    assert job.options["hotwords"] == ["ten"]
    assert float(UsageRecord.objects.get(job_id=job.id).audio_seconds) == pytest.approx(metadata.duration, abs=0.01)


@needs_recordings
def test_real_recording(tenant: Tenant) -> None:
    """What a stream says is what is said of the file."""
    clip = min((clip for clip in real_clips() if clip.duration_seconds > 3), key=lambda clip: clip.duration_seconds)
    client = sdk(tenant)
    messages = hear(client, saying(pcm_of(clip).tobytes()), **RAW)
    answer = client.listen.v1.media.transcribe_file(request=clip.path.read_bytes(), model="nova-3")
    text = answer.results.channels[0].alternatives[0].transcript
    assert text
    assert jiwer.wer(normalise(text), normalise(said(messages))) <= 0.5


def test_async_stream_with_deepgrams_defaults(tenant: Tenant) -> None:
    """Neither interim results nor events nor marks, unless somebody asks for them."""
    client = async_sdk(tenant)

    async def listen() -> list[Any]:
        async with client.listen.v1.connect(model="nova-2", language="en", **RAW) as connection:
            await connection.send_keep_alive()
            await connection.send_media(sound())
            await connection.send_close_stream()
            return [message async for message in connection]

    messages = asyncio.run(listen())
    assert {message.type for message in messages} == {"Results", "Metadata"}
    assert all(message.is_final for message in of_type(messages, "Results"))
    assert said(messages)
    assert said(messages) == said(messages).lower().rstrip(".")
    words = [word for message in finals(messages) for word in message.channel.alternatives[0].words]
    assert not any(word.punctuated_word for word in words)


def test_organisations_defaults_stand_over_deepgrams(tenant: Tenant) -> None:
    TranscriptionDefaults.objects.create(organization=tenant.organization, punctuate=True)
    assert said(hear(sdk(tenant), saying(sound()), **RAW)).endswith(".")


def test_finalize(tenant: Tenant) -> None:
    """Each is answered, also where there is nothing to say."""

    def speak(connection: Any) -> None:
        connection.send_media(sound()[:64_000])
        connection.send_finalize()
        connection.send_finalize()
        connection.send_close_stream()

    messages = hear(sdk(tenant), speak, **RAW)
    flushed = [message for message in finals(messages) if message.from_finalize]
    assert len(flushed) == 2
    assert flushed[0].channel.alternatives[0].transcript
    assert flushed[1].channel.alternatives[0].transcript == ""


def test_what_is_no_control_message_ends_nothing(tenant: Tenant) -> None:
    with connect(url(tenant), token(tenant)) as socket:
        for text in ("no json", "[]", '{"type": 3}', '{"type": "Sing"}', '{"type": "Configure", "keyterms": ["a"]}'):
            socket.send(text)
        socket.send(json.dumps({"type": "KeepAlive"}))
        socket.send(b"")  # what older SDKs close a stream with
        messages, code = rest(socket)
    assert code == 1000
    assert [message.get("variant") for message in messages[:4]] == ["SchemaError"] * 4
    assert messages[4]["code"] == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
    assert messages[5]["type"] == "Metadata"


@pytest.mark.parametrize(
    ("query", "seconds", "make"),
    [
        ("encoding=linear16&sample_rate=8000&channels=2", 4.203, lambda pcm: np.repeat(pcm[::2], 2).tobytes()),
        ("", 4.203, lambda pcm: wav(pcm / 32768)),
        ("encoding=opus", 4.503, lambda _: owned_clips()["family.opus"].path.read_bytes()),
        ("", 5.539, lambda _: owned_clips()["president.mp3"].path.read_bytes()),
    ],
)
def test_encodings(tenant: Tenant, query: str, seconds: float, make: Callable[[np.ndarray], bytes]) -> None:
    """Also containers without a word about them, as Deepgram takes them; nothing of the sound is lost."""
    data = make(pcm_of(owned_clips()["numbers.wav"]))
    with connect(url(tenant, f"model=nova-3&{query}"), token(tenant)) as socket:
        for start in range(0, len(data), 8001):
            socket.send(data[start : start + 8001])
        socket.send(json.dumps({"type": "CloseStream"}))
        messages, code = rest(socket)
    assert code == 1000, messages
    assert messages[-1]["duration"] == pytest.approx(seconds, abs=0.01)
    assert any(message["type"] == "Results" and message["channel"]["alternatives"][0]["words"] for message in messages)


def test_browsers_bring_the_key_in_a_subprotocol(tenant: Tenant) -> None:
    key = tenant.new_key("stt")[1]
    with connect(url(tenant), subprotocols=["token", key]) as socket:
        assert socket.subprotocol == "token"
        assert socket.response.headers["dg-request-id"]
        socket.send(json.dumps({"type": "CloseStream"}))
        assert rest(socket)[1] == 1000


@pytest.mark.parametrize(
    ("query", "status", "code", "param"),
    [
        ("model=nobody", 400, "INVALID_QUERY_PARAMETER", "model"),
        ("language=klingon", 400, "INVALID_QUERY_PARAMETER", "language_hint"),
        ("encoding=linear16", 400, "INVALID_QUERY_PARAMETER", "sample_rate"),
        ("encoding=mulaw&sample_rate=8000&channels=2", 400, "INVALID_QUERY_PARAMETER", "channels"),
        ("encoding=speex", 400, "INVALID_QUERY_PARAMETER", "encoding"),
        ("channels=2&multichannel=true", 400, "INVALID_QUERY_PARAMETER", "multichannel"),
        ("endpointing=soon", 400, "INVALID_QUERY_PARAMETER", "endpointing"),
        ("redact=ssn", 400, "INVALID_QUERY_PARAMETER", "redact"),
        ("callback=https://example.com", 400, "INVALID_QUERY_PARAMETER", "callback"),
        ("replace=one:two&replace=", 400, "INVALID_QUERY_PARAMETER", "replace"),
        ("diarize=true", 400, "INVALID_QUERY_PARAMETER", "diarize"),
    ],
)
def test_refuses_what_would_be_waited_for_in_vain(
    tenant: Tenant, query: str, status: int, code: str, param: str
) -> None:
    refused(tenant, query, token(tenant), status, code)
    with pytest.raises(InvalidStatus) as raised:
        connect(url(tenant, query), token(tenant))
    assert json.loads(raised.value.response.body)["error"]["param"] == param
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


def refused(tenant: Tenant, query: str, headers: dict[str, str], status: int, code: str) -> None:
    with pytest.raises(InvalidStatus) as raised:
        connect(url(tenant, query), headers)
    body = json.loads(raised.value.response.body)
    assert (raised.value.response.status_code, body["err_code"]) == (status, code), body
    assert body["err_msg"]
    assert body["request_id"] == raised.value.response.headers["x-request-id"]


def test_unknown_options_are_ignored(tenant: Tenant) -> None:
    query = "model=nova-3&mip_opt_out=true&filler_words=true&colour=red&replace=&endpointing=false&no_delay=true"
    with connect(url(tenant, query), token(tenant)) as socket:
        socket.send(json.dumps({"type": "CloseStream"}))
        messages, code = rest(socket)
    assert (code, messages[-1]["type"]) == (1000, "Metadata")


def test_who_may_not_is_told_before_the_socket_opens(tenant: Tenant) -> None:
    query = "model=nova-3&encoding=linear16&sample_rate=16000"
    refused(tenant, query, {}, 401, "INVALID_AUTH")
    refused(tenant, query, {"Authorization": "Token sp_wrong"}, 401, "INVALID_AUTH")
    refused(tenant, query, token(tenant, "tts"), 403, "INSUFFICIENT_PERMISSIONS")
    with override_settings(STT_LIVE_MAX_SESSIONS_PER_ORGANIZATION=0):
        refused(tenant, query, token(tenant), 429, "TOO_MANY_REQUESTS")
    Quota.objects.create(organization=tenant.organization, monthly_audio_seconds=0)
    refused(tenant, query, token(tenant), 402, "ASR_PAYMENT_REQUIRED")
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


def test_undecodable_sound_and_silence_end_a_stream(tenant: Tenant) -> None:
    with connect(url(tenant, "model=nova-3"), token(tenant)) as socket:
        socket.send(b"\x01\x02 no container at all" * 2000)
        socket.send(json.dumps({"type": "CloseStream"}))
        messages, code = rest(socket)
    assert (code, messages[-1]["type"], messages[-1]["variant"]) == (1008, "Error", "audio_undecodable")
    with override_settings(STT_LIVE_IDLE_SECONDS=1), connect(url(tenant), token(tenant)) as socket:
        messages, code = rest(socket)
        assert (code, socket.close_reason) == (1011, "NET-0001")
    assert messages[-1]["variant"] == "session_idle"
    wait_for(lambda: not SttJob.objects.filter(organization=tenant.organization, status__in=UNFINISHED).exists())


def test_a_server_that_stops_says_what_was_heard(tenant: Tenant) -> None:
    with connect(url(tenant), token(tenant)) as socket:
        socket.send(sound()[:64_000])
        wait_for(lambda: SttJob.objects.filter(organization=tenant.organization).exists())
        (stream,) = (each for each in consumer._open if each.actor.organization == tenant.organization)
        asyncio.run_coroutine_threadsafe(stream.drain(), stream._telling.get_loop()).result(60)
        messages, code = rest(socket)
    assert (code, messages[-1]["type"]) == (1012, "Metadata")
    assert SttJob.objects.get(organization=tenant.organization).status == "succeeded"


def test_lost_clients_leave_nothing(tenant: Tenant) -> None:
    headers = token(tenant)
    for _ in range(4):
        socket = connect(url(tenant), headers, legacy=True)
        socket.send(sound()[:32_000])
        socket.socket.close()
    wait_for(lambda: not places._taken and not live.recognizer.sessions, seconds=30)
    jobs = SttJob.objects.filter(organization=tenant.organization)
    wait_for(lambda: not jobs.filter(status__in=UNFINISHED).exists(), seconds=30)
    assert {job.error_code for job in jobs} == {"client_disconnected"}


def test_two_organisations_hear_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    """One speaks, one is silent, at the same time."""
    with connect(url(tenant), token(tenant)) as speaking, connect(url(other_tenant), token(other_tenant)) as silent:
        data = sound()
        for start in range(0, len(data), 3200):
            speaking.send(data[start : start + 3200])
            silent.send(bytes(3200))
        for socket in (speaking, silent):
            socket.send(json.dumps({"type": "CloseStream"}))
        mine, _ = rest(speaking)
        theirs, _ = rest(silent)
    assert any(message["type"] == "Results" for message in mine)
    assert [message["type"] for message in theirs] == ["Metadata"]
    assert tenant.key("stt").get(f"/stt/jobs/{theirs[0]['request_id']}").status_code == 404
