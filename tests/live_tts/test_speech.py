"""WS /tts/stream: text in as it is written, sound out, on a real server and with the real engine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from django.core.files.storage import default_storage

import ml.tts
from analytics.models import UsageRecord
from ml.audio import CONTENT_TYPES
from ml.types import SynthesisOptions
from tests.api.support import decode
from tests.conftest import Tenant
from tests.live_tts.support import Speech, settled, speech

WRITTEN = "Well, this is Dr. Smith, who has a long story to tell. It costs 3.14 dollars, and no more! Is that so?"
SENTENCES = [
    "Well, this is Dr. Smith,",
    "who has a long story to tell.",
    "It costs 3.14 dollars, and no more!",
    "Is that so?",
]


def seconds_of(audio: bytes, format_name: str, rate: int) -> float:
    return len(audio) / 2 / rate if format_name == "pcm" else decode(audio).seconds


@pytest.mark.parametrize("letters", [1, 5, 1000])
def test_speaks_what_is_written_bit_by_bit(tenant: Tenant, letters: int) -> None:
    row, key = tenant.new_key("tts")
    with speech(tenant, key=key) as session:
        ready = session.start(format="pcm", voice="espeak:en-gb")
        assert (ready["voice"], ready["language"], ready["model"]) == ("espeak:en-gb", "en-GB", "espeak-ng")
        assert (ready["format"], ready["sample_rate"], ready["content_type"]) == ("pcm", 22_050, "audio/pcm")
        session.write(WRITTEN, letters=letters)
        assert session.stop() == 1000
    assert session.texts == SENTENCES
    assert [event["type"] for event in session.events[-2:]] == ["usage", "closed"]
    assert session.of("closed") == [{"type": "closed", "reason": "stopped"}]
    assert session.of("usage")[-1]["characters"] == len(WRITTEN)

    edges = [edge for event in session.of("sentence") for edge in (event["start"], event["end"])]
    assert edges == sorted(edges)
    assert edges[0] == 0.0
    assert edges[-1] == pytest.approx(seconds_of(session.audio, "pcm", 22_050), abs=0.002)
    alone = ml.tts.synthesize(WRITTEN, SynthesisOptions(voice="espeak:en-gb"), streaming=True)
    wanted = np.concatenate([chunk.samples for chunk in alone])
    assert np.array_equal(np.frombuffer(session.audio, "<i2")[: len(wanted)], wanted)

    job = session.job
    assert (job.status, job.organization, job.api_key) == ("succeeded", tenant.organization, row)
    assert (job.text, job.characters) == (" ".join(SENTENCES), len(WRITTEN))
    assert job.duration_seconds == pytest.approx(edges[-1], abs=0.002)
    usage = UsageRecord.objects.get(job_id=job.id)
    assert (usage.characters, usage.status, usage.model) == (len(WRITTEN), "succeeded", "espeak-ng")
    assert usage.audio_seconds == pytest.approx(edges[-1], abs=0.002)
    assert usage.compute_seconds > 0
    shown = tenant.key("tts").get(f"/tts/jobs/{job.id}").json()
    assert httpx.get(shown["audio_url"], trust_env=False).content == session.audio


def test_sounds_before_the_last_text_is_written(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start()
        session.say("speak", text="The first sentence is spoken at once. And")
        session.until_audio()
        assert session.texts == ["The first sentence is spoken at once."]
        assert session.job.status == "processing"
        session.say("speak", text=" this is the second.")
        assert session.stop() == 1000
    assert session.texts[1:] == ["And this is the second."]


@pytest.mark.parametrize("format_name", ["wav", "mp3", "opus", "aac", "flac", "pcm"])
def test_every_format_plays_and_a_flush_holds_nothing_back(tenant: Tenant, format_name: str) -> None:
    with speech(tenant) as session:
        ready = session.start(format=format_name, sample_rate=24_000, speed=1.5)
        assert ready["content_type"] == CONTENT_TYPES[format_name]
        session.say("speak", text="This is said without an end")
        session.say("flush")
        flushed = session.until("flushed")
        end = session.of("sentence")[-1]["end"]
        assert flushed["position"] >= end
        assert seconds_of(session.audio, format_name, 24_000) >= end
        so_far = session.audio
        session.say("speak", text="And so is this")
        assert session.stop() == 1000
    assert session.audio.startswith(so_far)
    whole = seconds_of(session.audio, format_name, 24_000)
    assert whole == pytest.approx(session.job.duration_seconds, abs=0.2)
    assert session.job.duration_seconds == pytest.approx(session.of("sentence")[-1]["end"], abs=0.1)


def test_says_when_sound_begins_after_silence(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start(speed=4)
        session.write("Hi. ")
        session.say("flush")
        session.until("flushed")
        session.write("And on. ")
        session.say("flush")
        session.until("flushed")
        assert len(session.of("audio_started")) == 1  # what was sent before is still being heard
        time.sleep(session.of("flushed")[-1]["position"])
        session.write("After silence. ")
        assert session.stop() == 1000
    kinds = [event["type"] for event in session.events]
    assert kinds.count("audio_started") == 2
    assert kinds[kinds.index("audio_started") + 1] == "sentence"


def test_a_text_that_stalls_is_spoken_as_far_as_it_came(tenant: Tenant, settings) -> None:
    settings.TTS_LIVE_FLUSH_SECONDS = 0.3
    with speech(tenant) as session:
        session.start()
        session.say("speak", text="Nobody ends this")
        session.until_audio()
        assert session.texts == ["Nobody ends this"]
        settings.TTS_LIVE_FLUSH_SECONDS = 0
        session.say("speak", text=" sentence either")
        time.sleep(0.6)
        session.say("clear")
        assert session.until("cleared")["characters"] == len(" sentence either")
        assert session.stop() == 1000
    assert session.texts == ["Nobody ends this"]


# ── Clearing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_clear_drops_what_was_not_spoken_yet(tenant: Tenant) -> None:
    long = "This is one of many sentences that somebody interrupts. "
    with speech(tenant) as session:
        session.start(format="pcm", max_ahead_seconds=1)
        session.say("speak", text=long * 20)
        session.until_audio()
        session.say("clear")
        cleared = session.until("cleared")
        heard = len(session.audio)
        assert cleared["characters"] > 10 * len(long)
        assert cleared["position"] == pytest.approx(heard / 2 / 22_050, abs=0.001)
        before = list(session.texts)
        session.say("speak", text="Something else.")
        assert session.stop() == 1000
    assert session.texts == [*before, "Something else."]
    assert session.of("sentence")[-1]["start"] == pytest.approx(cleared["position"], abs=0.001)
    spoken = session.of("usage")[-1]["characters"]
    assert spoken <= len(before) * len(long) + len("Something else.")
    assert spoken + cleared["characters"] == pytest.approx(20 * len(long) + len("Something else."), abs=len(long))
    job = session.job
    assert (job.status, job.characters) == ("succeeded", spoken)
    assert UsageRecord.objects.get(job_id=job.id).characters == spoken
    assert job.text.endswith("Something else.")


def test_audio_is_sent_no_further_ahead_than_asked(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start(format="pcm", max_ahead_seconds=0.5, speed=2)
        started = time.monotonic()
        session.say(
            "speak", text="A sentence that takes more than two seconds to say, I am quite sure of that, am I not?"
        )
        assert session.stop() == 1000
        seconds = len(session.audio) / 2 / 22_050
        assert time.monotonic() - started > seconds - 0.5 - 0.3
    assert seconds > 1.5


def test_clearing_nothing_is_no_error(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start()
        session.say("clear")
        assert session.until("cleared") == {"type": "cleared", "characters": 0, "position": 0.0}
        session.say("flush")
        assert session.until("flushed")["position"] == 0.0
        assert session.stop() == 1000
    job = session.job
    assert (job.status, job.characters, job.text, job.audio_key) == ("succeeded", 0, "", "")
    assert tenant.key("tts").get(f"/tts/jobs/{job.id}").json()["audio_url"] is None


# ── Odd texts ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fragments", "text"),
    [
        (["Hello \ud83d", "\ude00 you."], "Hello 😀 you."),
        (["A lone \ud800 half."], "A lone half."),
        (["Null\0 and\x1b control\x7f\u202e."], "Null and control."),
        (["", "   ", "\n\n", "Late."], "Late."),
        (["\x01\x02", "..."], "..."),
        (["नमस्ते दुनिया। ", "कैसे हो?"], "नमस्ते दुनिया। कैसे हो?"),
    ],
)
def test_any_text_is_taken(tenant: Tenant, fragments: list[str], text: str) -> None:
    with speech(tenant) as session:
        session.start(voice="espeak:hi" if "न" in text else "espeak:en-us")
        for fragment in fragments:
            session.say("speak", text=fragment)
        assert session.stop() == 1000
    assert " ".join(session.job.text.split()) == text


def test_nothing_is_kept_of_who_wants_nothing_kept(tenant: Tenant) -> None:
    tenant.organization.audio_retention_days = tenant.organization.transcript_retention_days = 0
    tenant.organization.save()
    with speech(tenant) as session:
        session.start()
        session.write("A secret that is said once.")
        assert session.stop() == 1000
    assert len(session.audio) > 10_000
    job = session.job
    assert (job.status, job.text, job.audio_key) == ("succeeded", "", "")
    assert UsageRecord.objects.get(job_id=job.id).characters == len("A secret that is said once.")


def test_the_stored_audio_is_that_of_the_session(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start(format="opus")
        session.write(WRITTEN)
        assert session.stop() == 1000
    with default_storage.open(settled(session.job).audio_key) as file:
        assert file.read() == session.audio


def test_two_organisations_hear_only_their_own(tenant: Tenant, other_tenant: Tenant) -> None:
    """Eight sessions at once, interleaved letter by letter: each hears what it would have heard alone."""
    plans = [
        (owner, f"This is session {number} of the {name} organisation, and it counts to {number * 7}. Goodbye!", voice)
        for number, (owner, name, voice) in enumerate(
            [(tenant, "first", "espeak:en-gb"), (other_tenant, "second", "espeak:en-us+f2")] * 4
        )
    ]
    with ExitStack() as stack:
        sessions: list[Speech] = [stack.enter_context(speech(owner)) for owner, _, _ in plans]
        for session, (_, _, voice) in zip(sessions, plans, strict=True):
            session.start(format="pcm", voice=voice)
        for at in range(max(len(text) for _, text, _ in plans)):
            for session, (_, text, _) in zip(sessions, plans, strict=True):
                if at < len(text):
                    session.say("speak", text=text[at])
        assert [session.stop() for session in sessions] == [1000] * 8
    for session, (owner, text, voice) in zip(sessions, plans, strict=True):
        alone = ml.tts.synthesize(text, SynthesisOptions(voice=voice), streaming=True)
        wanted = np.concatenate([chunk.samples for chunk in alone])
        assert np.array_equal(np.frombuffer(session.audio, "<i2")[: len(wanted)], wanted)
        assert session.job.organization == owner.organization
        assert " ".join(session.texts) == text


def test_a_storage_that_is_away_costs_the_copy_only(tenant: Tenant) -> None:
    in_the_way = Path(default_storage.path(str(tenant.organization.id)))
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("a file where the organisation's folder should be")
    try:
        with speech(tenant) as session:
            session.start()
            session.write("Heard all the same.")
            assert session.stop() == 1000
    finally:
        in_the_way.unlink()
    assert len(session.audio) > 10_000
    job = session.job
    assert (job.status, job.audio_key) == ("succeeded", "")
    assert UsageRecord.objects.get(job_id=job.id).characters == len("Heard all the same.")
