"""clients/python, asynchronous: the same flows, driven by asyncio."""

from __future__ import annotations

import asyncio

import pytest
from speech_client import AsyncSpeech, AuthenticationError, InvalidRequest, JobCancelled, Speech, TimedOut
from speech_client.types import Closed, Final, SpeechJob

from tests.api.support import decode
from tests.clients.support import numbers, pieces, short_recording
from tests.clients.test_python import LONG


def test_does_what_the_synchronous_one_does(server: str, api_key: str) -> None:
    asyncio.run(asyncio.wait_for(_journey(server, api_key), 120))


async def _journey(server: str, api_key: str) -> None:
    async with AsyncSpeech(server, api_key) as speech:
        audio, job, heard = await asyncio.gather(
            speech.tts.synthesize("Good morning.", format="flac"),
            speech.tts.create("Later.", queued=True),
            speech.stt.transcribe(short_recording()),
        )
        assert decode(audio).codec == "flac"
        assert heard.text
        done = await speech.jobs.wait(job)
        assert isinstance(done, SpeechJob)
        assert decode(await speech.tts.download(done)).seconds > 0.2
        async with speech.tts.stream("Piece by piece.", format="wav") as stream:
            assert len(b"".join([chunk async for chunk in stream])) > 1000
        listed = [listed.job_id async for listed in speech.jobs.list("tts", page_size=1)]
        assert {job.job_id, stream.job_id} <= set(listed)
        with pytest.raises(InvalidRequest):
            await speech.tts.synthesize("x", voice="robot")


def test_follows_and_cancels(server: str, api_key: str) -> None:
    async def follow() -> None:
        async with AsyncSpeech(server, api_key) as speech:
            job = await speech.tts.create(LONG, queued=True)
            with pytest.raises(TimedOut):
                await speech.jobs.wait(job, timeout=0.05)
            waiting = asyncio.create_task(speech.jobs.wait(job))
            async with speech.jobs.events(job_id=job.job_id) as events:
                await speech.jobs.cancel(job)
                async for event in events:
                    if any(state.ended for state in event.jobs):
                        break
            with pytest.raises(JobCancelled):
                await waiting

    asyncio.run(asyncio.wait_for(follow(), 120))


def test_hears_while_somebody_speaks(server: str, api_key: str) -> None:
    async def hear() -> None:
        async with AsyncSpeech(server, api_key) as speech, speech.stt.stream(sample_rate=16_000) as session:
            session.feed(pieces(numbers(1.6)))
            events = [event async for event in session]
            assert isinstance(events[-1], Closed)
            assert any(isinstance(event, Final) for event in events)
        with pytest.raises(AuthenticationError):
            async with AsyncSpeech(server, "sp_nonsense") as stranger, stranger.stt.stream():
                pass

    asyncio.run(asyncio.wait_for(hear(), 120))


def test_both_have_the_same_methods() -> None:
    synchronous, other = Speech("http://localhost"), AsyncSpeech("http://localhost")
    for part in ("tts", "stt", "jobs", "batches"):
        names = [{name for name in dir(getattr(client, part)) if name[0] != "_"} for client in (synchronous, other)]
        assert names[0] == names[1] != set()
    synchronous.close()
    asyncio.run(other.close())
