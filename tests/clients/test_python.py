"""clients/python, synchronous: what it asks of the real server, and what it makes of the answers."""

from __future__ import annotations

import io
import socket
import time
import uuid
from pathlib import Path

import httpx
import pytest
from pytest_django.fixtures import Settings
from speech_client import (
    AuthenticationError,
    ConnectionFailed,
    InvalidRequest,
    InvalidSignature,
    JobCancelled,
    NotFound,
    PermissionDenied,
    ServerError,
    Speech,
    TimedOut,
)
from speech_client import webhooks as client_webhooks
from speech_client._stt import TranscriptionOptions
from speech_client._tts import Consent, SynthesisOptions
from speech_client.live import SessionOptions
from speech_client.types import Billed, Closed, Final, Partial, Refused, SpeechJob, SpeechStarted, Transcription
from standardwebhooks import Webhook

from stt.api import TranscribeSerializer
from stt.live.protocol import StartSerializer
from stt.models import SttJob
from tests.api.support import decode, silence
from tests.clients.support import (
    NUMBERS,
    NUMBERS_TEXT,
    Network,
    busy,
    lose_the_answer,
    numbers,
    pieces,
    short_recording,
)
from tests.conftest import Tenant
from tts.api import SynthesizeSerializer
from tts.voices.models import Voice
from webhooks import signing

LONG = "A sentence that is spoken for as long as nobody stops it. " * 1500


# ── Speaking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_speaks(speech: Speech, tmp_path: Path) -> None:
    audio = speech.tts.synthesize("Good morning.", voice="espeak:en-gb", format="flac")
    assert decode(audio).codec == "flac"
    with speech.tts.stream("Good morning, everybody here. " * 20, format="mp3", speed=1.5) as stream:
        assert (stream.content_type, stream.sample_rate) == ("audio/mpeg", 22050)
        chunks = iter(stream)
        first = next(chunks)
        written = stream.job_id, first + b"".join(chunks)
    assert len(first) < len(written[1])
    assert decode(written[1]).seconds > 5
    job = speech.jobs.get(written[0])
    assert isinstance(job, SpeechJob)
    assert (job.task, job.status, job.format) == ("tts", "succeeded", "mp3")
    with speech.tts.stream("Saved.", format="wav") as stream:
        assert stream.save(tmp_path / "saved.wav") == (tmp_path / "saved.wav").stat().st_size > 1000


def test_makes_jobs_with_links(speech: Speech) -> None:
    job = speech.tts.create(
        "Listen to this.", format="opus", timestamps=True, lexicon=[{"grapheme": "this", "alias": "that"}]
    )
    assert job.timestamps is not None
    assert [word["word"] for word in job.timestamps.words][:2] == ["Listen", "to"]
    assert job.created_at is not None
    assert job.created_at.tzinfo is not None
    assert decode(speech.tts.download(job)).seconds == pytest.approx(job.duration_seconds, abs=0.1)
    batch = speech.tts.batch(["One.", {"text": "Two.", "custom_id": "second", "voice": "robot"}, "Three."])
    first, second, third = batch.items
    assert isinstance(first, SpeechJob)
    assert isinstance(third, SpeechJob)
    assert (first.text, third.text) == ("One.", "Three.")
    assert isinstance(second, Refused)
    assert (second.custom_id, second.error.code) == ("second", "voice_not_found")
    state = speech.batches.get(batch.batch_id)
    assert (state.task, state.total, {job.job_id for job in state.jobs}) == ("tts", 2, {first.job_id, third.job_id})
    assert state.ended


def test_knows_voices_and_who_it_is(speech: Speech, organization: Tenant) -> None:
    voices = speech.tts.voices(language="en")
    assert "espeak:en-gb" in {voice.id for voice in voices.voices}
    assert speech.tts.voice("espeak:en-gb").language == "en-GB"
    me = speech.me()
    assert (me.type, me.organization["slug"]) == ("api_key", organization.organization.slug)
    names = {(model.task, model.name) for model in speech.models().models}
    assert {("stt", "pocketsphinx-en-us"), ("tts", "espeak-ng")} <= names


def test_members_see_models_usage_and_quota(server: str, organization: Tenant) -> None:
    token = organization.user("viewer").headers["Authorization"].removeprefix("Bearer ")
    with Speech(server, token) as member:
        assert "pocketsphinx" in {model.engine for model in member.models().models}
        usage = member.usage(days=7, group_by=["model"])
        assert len(usage.daily) == 7
        assert "model" in usage.groups
        quota = member.quota()
        assert quota.remaining["characters"] is None
        assert quota.resets_at.tzinfo is not None


def test_clones_voices(server: str, organization: Tenant) -> None:
    token = organization.user("developer").headers["Authorization"].removeprefix("Bearer ")
    with Speech(server, token) as member:
        consent: Consent = {"name": "Ann Example", "statement": "I consent."}
        begun = member.tts.clone("Ann", silence(8), consent=consent, language="en-GB")
        assert (begun.status, begun.kind, begun.language) == ("training", "cloned", "en-GB")
        voice = member.tts.wait_voice(begun.id, timeout=120)
        assert voice.error is not None
        assert (voice.status, voice.error.code) == ("failed", "sample_too_short")
        assert Voice.objects.get(id=begun.id).consent.name == "Ann Example"
        member.tts.delete_voice(begun.id)
        with pytest.raises(NotFound):
            member.tts.voice(begun.id)
        with pytest.raises(InvalidRequest) as refused:
            member.tts.clone("Ann", silence(8), consent="no")
        assert refused.value.param == "consent"


# ── Recognising ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_transcribes_and_exports(speech: Speech) -> None:
    result = speech.stt.transcribe(NUMBERS, language="en-US", word_timestamps=True, hotwords=["seven", "eight"])
    assert (result.text, result.filename, result.status) == (NUMBERS_TEXT, "numbers.wav", "succeeded")
    assert result.timestamps is not None
    assert result.timestamps[0].words is not None
    assert [word.word.lower() for word in result.timestamps[0].words][:2] == ["one", "two"]
    assert result.quality is not None
    assert SttJob.objects.get(id=result.job_id).options["hotwords"] == ["seven", "eight"]
    assert " --> " in speech.stt.export(result, "srt")
    assert speech.stt.export(result.job_id, "vtt").startswith("WEBVTT")
    assert speech.stt.document(result)[:2] == b"PK"
    corrected = speech.stt.correct(result, {0: "1 2 3."})
    assert corrected.text == "1 2 3."


def test_files_come_from_anywhere(speech: Speech) -> None:
    data = short_recording()
    batch = speech.stt.batch([data, io.BytesIO(data), b"no audio"])
    heard = [item for item in batch.items if isinstance(item, Transcription)]
    assert len(heard) == 2
    assert heard[0].text == heard[1].text != ""
    assert isinstance(batch.items[2], Refused)
    assert batch.items[2].error.code == "audio_undecodable"


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_waits_for_queued_jobs(speech: Speech) -> None:
    seen = []
    job = speech.stt.transcribe(short_recording(), filename="call.wav", queued=True)
    assert job.status == "queued"
    done = speech.jobs.wait(job, on_progress=lambda state: seen.append((state.status, state.progress)), timeout=120)
    assert isinstance(done, Transcription)
    assert done.text
    assert (done.filename, seen[-1]) == ("call.wav", ("succeeded", 1.0))
    batch = speech.tts.batch(["One.", "Two."], queued=True)
    assert speech.batches.wait(batch.batch_id, timeout=120).counts["succeeded"] == 2


def test_waits_by_asking_where_events_cannot_be_had(speech: Speech, settings: Settings) -> None:
    settings.JOB_EVENTS_MAX_LISTENERS = 0
    done = speech.jobs.wait(speech.tts.create("Later.", queued=True).job_id, timeout=120)
    assert (done.task, done.status) == ("tts", "succeeded")


def test_cancels_and_times_out(speech: Speech) -> None:
    job = speech.tts.create(LONG, queued=True, format="flac")
    with pytest.raises(TimedOut):
        speech.jobs.wait(job, timeout=0.05)
    with speech.jobs.events(job_id=job.job_id) as events:
        speech.jobs.cancel(job)
        told = next(state for event in events for state in event.jobs if state.ended)
    assert (told.status, told.task) == ("cancelled", "tts")
    with pytest.raises(JobCancelled) as cancelled:
        speech.jobs.wait(job)
    assert cancelled.value.job.job_id == job.job_id
    again = speech.jobs.retry(job)
    assert again.job_id != job.job_id
    speech.jobs.cancel(again)


def test_lists_page_by_page(server: str, other_tenant: Tenant) -> None:
    with Speech(server, other_tenant.new_key("tts")[1]) as speech:
        made = [speech.tts.create(f"Number {number}.").job_id for number in range(3)]
        listing = speech.jobs.list("tts", page_size=2)
        assert listing.page().count == 3
        assert [job.job_id for job in listing] == made[::-1]
        assert [job.text for job in speech.jobs.list("tts", status="succeeded", q="1")] == ["Number 1."]
        speech.jobs.cancel(made[0], task="tts")
        with pytest.raises(NotFound):
            speech.jobs.get(made[0])
        with pytest.raises(PermissionDenied, match="stt"):
            speech.jobs.list("stt").page()


# ── What goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_errors_have_the_contracts_type(server: str, speech: Speech) -> None:
    with pytest.raises(InvalidRequest) as invalid:
        speech.tts.synthesize("x", voice="robot")
    error = invalid.value
    assert (error.status, error.type, error.code, error.param) == (
        404 if isinstance(error, NotFound) else 400, "invalid_request_error", "voice_not_found", "voice",
    )  # fmt: skip
    assert error.request_id
    with pytest.raises(InvalidRequest) as unknown:
        speech.tts.synthesize("x", extra={"loudness": 11})
    assert unknown.value.param == "loudness"
    with pytest.raises(NotFound):
        speech.jobs.get(str(uuid.uuid4()))
    with pytest.raises(PermissionDenied) as refused:
        speech.usage()
    assert refused.value.code == "key_not_allowed"
    with pytest.raises(AuthenticationError), Speech(server, "sp_nonsense") as stranger:
        stranger.me()
    with pytest.raises(FileNotFoundError):
        speech.stt.transcribe("/nowhere/at/all.wav")


def test_nobody_answers(server: str) -> None:
    with Speech("http://127.0.0.1:9", "sp_x", retries=0) as speech:
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9"):
            speech.me()
        with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9"), speech.stt.stream():
            pass
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with Speech(url, timeout=0.2, retries=0) as speech, pytest.raises(TimedOut):
            speech.me()


def test_a_lost_answer_is_asked_for_again_and_billed_once(server: str, other_tenant: Tenant) -> None:
    network = Network(lose_the_answer)
    with Speech(server, other_tenant.new_key()[1], http_client=httpx.Client(transport=network)) as speech:
        job = speech.stt.transcribe(io.BytesIO(short_recording()))
    keys = {request.headers["Idempotency-Key"] for request in network.requests}
    assert (len(network.requests), len(keys)) == (2, 1)
    assert str(SttJob.objects.get(organization=other_tenant.organization).id) == job.job_id


def test_waits_as_long_as_a_busy_server_says(server: str, api_key: str) -> None:
    network = Network(busy("1"), busy("1000"))
    with Speech(server, api_key, http_client=httpx.Client(transport=network)) as speech:
        began = time.monotonic()
        with pytest.raises(ServerError) as refused:
            speech.me()
        assert time.monotonic() - began >= 1
        assert (refused.value.status, refused.value.retry_after, len(network.requests)) == (503, 1000, 2)
        network.failures[:] = [busy("0")]
        assert speech.tts.synthesize("Now.")


def test_what_cannot_be_repeated_is_not(server: str, api_key: str) -> None:
    network = Network(lose_the_answer)
    with Speech(server, api_key, http_client=httpx.Client(transport=network)) as speech:
        with pytest.raises(ConnectionFailed):
            speech.stt.client_token()
        assert len(network.requests) == 1


def test_options_are_the_servers(database: None) -> None:
    """One that the server would refuse is none."""
    assert set(SynthesisOptions.__annotations__) <= set(SynthesizeSerializer().fields)
    known = {*TranscribeSerializer().fields, "language"}  # sent as language_hint
    assert set(TranscriptionOptions.__annotations__) <= known
    assert set(SessionOptions.__annotations__) <= set(StartSerializer().fields)


# ── Live ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_hears_while_somebody_speaks(speech: Speech) -> None:
    with speech.stt.stream(sample_rate=16_000, language="en-US", hotwords=["seven"]) as session:
        session.feed(pieces(numbers(2.5)))
        events = list(session)
    assert isinstance(events[0], SpeechStarted)
    assert isinstance(events[-2], Billed)
    assert events[-2].audio_seconds == pytest.approx(2.5, abs=0.2)
    assert isinstance(events[-1], Closed)
    assert any(isinstance(event, Partial) and event.text.startswith(event.stable) for event in events)
    finals = [event.text for event in events if isinstance(event, Final) and event.text]
    job = speech.jobs.get(session.session_id, task="stt")
    assert (job.status, job.text) == ("succeeded", " ".join(finals))


def test_a_session_is_refused(server: str, speech: Speech) -> None:
    with pytest.raises(AuthenticationError) as refused, Speech(server, "sp_nonsense").stt.stream():
        pass
    assert refused.value.code == "api_key_invalid"
    with pytest.raises(InvalidRequest) as invalid, speech.stt.stream(sample_rate=4):
        pass
    assert invalid.value.param == "sample_rate"


def test_what_feeds_a_session_may_fail(speech: Speech) -> None:
    def broken() -> object:
        yield b"\0" * 3200
        raise OSError("the microphone is gone")

    with speech.stt.stream() as session:
        session.feed(broken())
        with pytest.raises(OSError, match="microphone"):
            list(session)


# ── Webhooks ────────────────────────────────────────────────────────────────────────────────────────────────────────

BODY = b'{"type": "job.succeeded", "timestamp": "2030-01-01T00:00:00+00:00", "data": {"job_id": "j"}}'


def delivery(*secrets: str, age: int = 0) -> dict[str, str]:
    return signing.headers(event_id="evt_1", timestamp=int(time.time()) - age, body=BODY, signing_secrets=secrets)


def test_verifies_webhooks() -> None:
    old, new = (signing.secret_of(signing.new_salt()) for _ in range(2))
    headers = delivery(old, new)
    for secret in (old, new):
        event = client_webhooks.verify(BODY, {name.upper(): value for name, value in headers.items()}, secret)
        assert (event.id, event.type, event.data) == (
            "evt_1",
            "job.succeeded",
            Webhook(secret).verify(BODY, headers)["data"],
        )
    for body, given, secret in (
        (BODY + b" ", headers, new),
        (BODY, headers, signing.secret_of(signing.new_salt())),
        (BODY, delivery(new, age=400), new),
        (BODY, delivery(new, age=-400), new),
        (BODY, {**headers, "webhook-id": "evt_2"}, new),
        (BODY, {**headers, "webhook-signature": "v1,?? v2,abc"}, new),
        (BODY, {}, new),
    ):
        with pytest.raises(InvalidSignature):
            client_webhooks.verify(body, given, secret)
