"""`manage.py wyoming` with the library's own client, as Home Assistant uses it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jiwer
import numpy as np
import pytest
from django.core.management import CommandError, call_command
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from accounts import services as accounts
from analytics.models import UsageRecord
from jobs.models import UNFINISHED
from stt.models import SttJob
from tests.api.support import owned_clips
from tests.conftest import Tenant, make_tenant
from tests.ml.stt_support import pcm_of, wait_for
from tests.wyoming.support import SECONDS, Wyoming, heard, running, sound, talk
from tts.models import TtsJob

CLIP = owned_clips()["weather.flac"]


@pytest.fixture(scope="module")
def home(database: None) -> Tenant:
    return make_tenant("")


@pytest.fixture(scope="module")
def neighbour(database: None) -> Tenant:
    return make_tenant("")


@pytest.fixture(scope="module")
def wyoming(home: Tenant, neighbour: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wyoming]:
    """The first port has both scopes, the second speaks only."""
    ports = [(home, str(home.new_key()[0].id)), (neighbour, neighbour.new_key("tts")[0].prefix)]
    with running(tmp_path_factory.mktemp("wyoming"), ports) as started:
        yield started


def pcm() -> np.ndarray:
    return pcm_of(CLIP)


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def refused(events: list[Event]) -> str:
    assert kinds(events) == ["error"], events
    assert events[0].data["text"]
    return events[0].data["code"]


def played(events: list[Event]) -> tuple[bytes, int]:
    """The sound, and its rate."""
    assert kinds(events)[0] == "audio-start"
    rate = events[0].data["rate"]
    chunks = [AudioChunk.from_event(event) for event in events if event.type == "audio-chunk"]
    assert {(chunk.rate, chunk.width, chunk.channels) for chunk in chunks} == {(rate, 2, 1)}
    return b"".join(chunk.audio for chunk in chunks), rate


def test_describe_and_ping(wyoming: Wyoming) -> None:
    pong, described = talk(wyoming.uris[0], Ping(text="hello"), Describe(), until="info")
    assert pong.data["text"] == "hello"
    info = Info.from_event(described)
    (asr,), (tts,) = info.asr, info.tts
    assert asr.supports_transcript_streaming
    assert tts.supports_synthesize_streaming
    assert asr.installed
    assert {model.name: model.languages for model in asr.models}["pocketsphinx-en-us"] == ["en"]
    assert {voice.name: voice.languages for voice in tts.voices}["espeak:en-gb"] == ["en-GB"]


def test_transcribe(wyoming: Wyoming, home: Tenant) -> None:
    wanted = Transcribe(language="en", transcript_names=["Hauptstrasse"])
    events = talk(wyoming.uris[0], wanted, *sound(pcm().tobytes()), until="transcript-stop")
    assert kinds(events)[0] == "transcript-start"
    assert kinds(events)[-2:] == ["transcript", "transcript-stop"]
    text = events[-2].data["text"]
    assert "".join(event.data["text"] for event in events if event.type == "transcript-chunk") == text
    assert jiwer.wer(CLIP.text, text.lower()) <= 0.6  # as live streams do, which adapt to the voice as they go
    job = SttJob.objects.select_related("transcription", "api_key").latest("created_at")
    assert (job.organization, job.status) == (home.organization, "succeeded")
    assert job.transcription.text == text
    assert job.options["hotwords"] == ["Hauptstrasse"]
    usage = UsageRecord.objects.get(job_id=job.id)
    assert (usage.api_key_id, float(usage.audio_seconds)) == (job.api_key_id, pytest.approx(CLIP.seconds, abs=0.05))
    assert job.api_key is not None
    assert job.api_key.last_used_at is not None


def test_two_requests_of_one_client_in_stereo(wyoming: Wyoming) -> None:
    stereo = np.repeat(pcm()[:32_000], 2).tobytes()

    async def twice() -> list[str]:
        texts = []
        async with AsyncClient.from_uri(wyoming.uris[0]) as client:
            for _ in range(2):
                for event in sound(stereo, channels=2):
                    await client.write_event(event.event())
                events = await heard(client, lambda event: event.type == "transcript-stop")
                texts.append(events[-2].data["text"])
        return texts

    assert all(asyncio.run(twice()))


def test_synthesize(wyoming: Wyoming, home: Tenant) -> None:
    said = Synthesize(text="The kitchen light is on.", voice=SynthesizeVoice(name="espeak:en-gb"))
    data, rate = played(talk(wyoming.uris[0], said, until="audio-stop"))
    job = TtsJob.objects.latest("created_at")
    assert (job.organization, job.status, job.voice, job.sample_rate) == (
        home.organization, "succeeded", "espeak:en-gb", rate,
    )  # fmt: skip
    assert len(data) / 2 / rate == pytest.approx(job.duration_seconds, abs=0.01)
    assert np.abs(np.frombuffer(data, "<i2")).max() > 1000
    assert UsageRecord.objects.get(job_id=job.id).characters == len(said.text)
    ssml = Synthesize(text="<speak>Wait<break time='2s'/>for it.</speak>", text_format="ssml")
    data, rate = played(talk(wyoming.uris[0], ssml, until="audio-stop"))
    assert len(data) / 2 / rate > 2.5


def test_synthesize_while_the_text_is_written(wyoming: Wyoming) -> None:
    """The first sound comes before the last text, and what is sent for older servers is not spoken again."""
    text = "The first sentence is spoken at once. The second one follows it."

    async def write() -> tuple[list[Event], list[Event]]:
        async with AsyncClient.from_uri(wyoming.uris[1]) as client:
            await client.write_event(SynthesizeStart(voice=SynthesizeVoice(language="en")).event())
            for start in range(0, 45, 5):
                await client.write_event(SynthesizeChunk(text=text[start : start + 5]).event())
            first = await heard(client, lambda event: event.type == "audio-chunk")
            await client.write_event(SynthesizeChunk(text=text[45:]).event())
            await client.write_event(Synthesize(text=text).event())
            await client.write_event(SynthesizeStop().event())
            return first, await heard(client, lambda event: event.type == "synthesize-stopped")

    first, rest = asyncio.run(write())
    assert kinds(first) == ["audio-start", "audio-chunk"]
    assert kinds(rest)[-2:] == ["audio-stop", "synthesize-stopped"]
    data, rate = played([*first, *rest])
    wait_for(lambda: TtsJob.objects.latest("created_at").status == "succeeded")
    job = TtsJob.objects.latest("created_at")
    assert (job.text, job.characters) == (text, len(text))
    assert len(data) / 2 / rate == pytest.approx(job.duration_seconds, abs=0.01)


def test_an_organisation_a_port(wyoming: Wyoming, home: Tenant, neighbour: Tenant) -> None:
    before = TtsJob.objects.filter(organization=home.organization).count()
    talk(wyoming.uris[1], Synthesize(text="Next door."), until="audio-stop")
    assert TtsJob.objects.filter(organization=neighbour.organization, text="Next door.").exists()
    assert TtsJob.objects.filter(organization=home.organization).count() == before
    assert refused(talk(wyoming.uris[1], AudioStart(16_000, 2, 1), until="")) == "scope_missing"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ([AudioChunk(16_000, 2, 1, bytes(64))], "not_started"),
        ([AudioStart(16_000, 4, 1)], "audio_format"),
        ([AudioStart(16_000, 2, 99)], "audio_format"),
        ([AudioStart("fast", 2, 1)], "audio_format"),
        ([AudioStart(1, 2, 1)], "invalid_parameter"),
        ([Transcribe(language="ja"), AudioStart(16_000, 2, 1)], "language_not_supported"),
        ([Transcribe(name="nobody"), AudioStart(16_000, 2, 1)], "model_not_found"),
        ([Synthesize(text="Hi.", voice=SynthesizeVoice(name="robot"))], "voice_not_found"),
        ([Synthesize(text="Hi.", voice=SynthesizeVoice(name="espeak:en-us", speaker="7"))], "parameter_invalid"),
        ([Synthesize(text="x" * 100_001)], "text_too_long"),
        ([SynthesizeChunk(text="Hi.")], "not_started"),
        ([SynthesizeStart(), SynthesizeStart()], "already_started"),
    ],
)
def test_what_cannot_be_done_is_said(wyoming: Wyoming, home: Tenant, said: list[Any], code: str) -> None:
    events = [event for event in talk(wyoming.uris[0], *said, until="") if event.type == "error"]
    assert refused(events) == code
    wait_for(lambda: not TtsJob.objects.filter(organization=home.organization, status__in=UNFINISHED).exists())


@pytest.mark.parametrize(
    "line",
    [
        b"\x16\x03\x01 no event\n",
        b"[]\n",
        b'{"data": {}}\n',
        b'{"type": 3}\n',
        b'{"type": "synthesize", "data": []}\n',
        b'{"type": "synthesize"}\n',
        b'{"type": "describe", "data_length": 1000000000000}\n',
        b'{"type": "audio-chunk", "payload_length": 99999999}\n',
        b'{"type": "describe", "data_length": "many"}\n',
        b"x" * 100_000,
    ],
)
def test_bad_clients_are_told_and_left(wyoming: Wyoming, line: bytes) -> None:
    host, _, port = wyoming.uris[0].removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as client:
        client.sendall(line)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert json.loads(answer.splitlines()[0])["type"] == "error"
    assert b"malformed_event" in answer
    assert wyoming.process.poll() is None


def test_lost_clients_leave_nothing(wyoming: Wyoming, home: Tenant) -> None:
    async def leave() -> None:
        for said in (sound(pcm().tobytes())[:40], [SynthesizeStart(), SynthesizeChunk(text="Nobody will hear this. ")]):
            async with AsyncClient.from_uri(wyoming.uris[0]) as client:
                for event in said:
                    await client.write_event(event.event())

    asyncio.run(leave())
    for model in (SttJob, TtsJob):
        mine = model._default_manager.filter(organization=home.organization)
        wait_for(lambda mine=mine: not mine.filter(status__in=UNFINISHED).exists(), seconds=30)
    wait_for(lambda: SttJob.objects.latest("created_at").error_code == "client_disconnected", seconds=30)


def test_silence_ends_a_connection_and_a_database_that_is_away_no_process(wyoming: Wyoming) -> None:
    """Both take their time, and so are waited for together."""
    port = wyoming.uris[0]
    with ThreadPoolExecutor(2) as threads:
        silent = threads.submit(talk, port, until="")
        wyoming.cable.cut()
        try:
            asking = threads.submit(talk, port, Synthesize(text="Is anybody there?"), until="")
            assert kinds(talk(port, Describe(), until="info")) == ["info"]
            assert refused(silent.result(SECONDS)) == "session_idle"
            assert refused(asking.result(SECONDS)) == "database_unavailable"
        finally:
            wyoming.cable.mend()
    said = Synthesize(text="There you are.")
    wait_for(lambda: kinds(talk(wyoming.uris[0], said, until="audio-stop"))[-1] == "audio-stop", seconds=30)


def test_a_revoked_key_closes_its_port(wyoming: Wyoming, neighbour: Tenant) -> None:
    from accounts.models import ApiKey

    key = ApiKey.objects.get(organization=neighbour.organization)
    accounts.revoke_api_key(actor=neighbour.actor(), api_key=key)
    assert refused(talk(wyoming.uris[1], Synthesize(text="Hi."), until="")) == "api_key_invalid"


def test_says_what_was_heard_when_it_is_stopped(wyoming: Wyoming, home: Tenant) -> None:
    """The last test: the process ends."""

    async def speak() -> list[Event]:
        async with AsyncClient.from_uri(wyoming.uris[0]) as client:
            start, *chunks, _ = sound(pcm().tobytes())
            await client.write_event(start.event())
            await heard(client, lambda event: event.type == "transcript-start")
            for chunk in chunks:
                await client.write_event(chunk.event())
            await client.write_event(Ping().event())
            await heard(client, lambda event: event.type == "pong")
            wyoming.process.terminate()
            return await heard(client, lambda event: event.type == "transcript-stop")

    events = asyncio.run(speak())
    assert events[-2].data["text"]
    assert wyoming.process.wait(30) == 0, wyoming.output.read_text()
    assert not SttJob.objects.filter(organization=home.organization, status__in=UNFINISHED).exists()
    assert "Traceback" not in wyoming.output.read_text(), wyoming.output.read_text()[-6000:]


def test_the_command_says_what_is_missing(home: Tenant, neighbour: Tenant) -> None:
    slug, (key, whole) = home.organization.slug, neighbour.new_key()
    for arguments, message in (
        ([], "--organization SLUG"),
        (["--organization", slug], "WYOMING_API_KEY"),
        (["--organization", "nobody", "--api-key", str(key.id)], "no organisation"),
        (["--organization", slug, "--api-key", str(key.id)], "no such API key"),  # the neighbour's
        (["--organization", slug, "--api-key", whole], "no such API key"),
        (["--organization", slug, "--api-key", "sp_nothing"], "not valid"),
        (["--organization", slug, "--api-key", str(key.id), "--uri", "http://here"], "neither tcp"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("wyoming", *arguments)
