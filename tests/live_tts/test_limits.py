"""WS /tts/stream: who may, how much, for how long, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

import sockets.consumer
from analytics import quota
from analytics.models import Reservation, UsageRecord
from jobs.monitor import monitor
from sockets.consumer import open_sockets
from tests.api.support import decode
from tests.conftest import Tenant
from tests.live.support import connect
from tests.live_tts.support import PATH, Speech, settled, speech
from tests.ml.stt_support import wait_for
from tts.live.session import places
from tts.models import TtsJob

DROPS = int(os.environ.get("SPEECH_DROPS", "24"))
"""Sessions that are dropped at random moments; 500 take half a minute."""

LONG = "This sentence is one of a great many that are spoken one after the other. "


def outcome(session: Speech) -> tuple[str, int]:
    """The code of the error, and how the socket was closed."""
    code = session.end()
    return session.error["code"], code


# ── Who ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "expected"),
    [({}, ("not_authenticated", 4401)), ({"x-api-key": "sk_unknown"}, ("not_authenticated", 4401))],
)
def test_strangers(tenant: Tenant, headers: dict[str, str], expected: tuple[str, int]) -> None:
    with connect(tenant.server + PATH, headers) as socket:
        code, closed = outcome(Speech(socket))
    assert (code in (expected[0], "api_key_invalid", "token_invalid"), closed) == (True, expected[1])


def test_scopes_and_roles(tenant: Tenant) -> None:
    with speech(tenant, key=tenant.new_key("stt")[1]) as session:
        assert outcome(session) == ("scope_missing", 4403)
    viewer = dict(tenant.user("viewer").headers)
    with connect(tenant.server + PATH, {"Authorization": viewer["authorization"]}) as socket:
        assert outcome(Speech(socket)) == ("permission_denied", 4403)
    developer = dict(tenant.user("developer").headers)
    with connect(tenant.server + PATH, {"Authorization": developer["authorization"]}) as socket:
        session = Speech(socket)
        session.start()
        assert session.stop() == 1000
    assert session.job.user == tenant.member("developer").user


# ── What is wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("no json", "malformed_message", None),
        ("[" * 100_000, "malformed_message", None),
        ('{"type": NaN}', "malformed_message", None),
        ("[]", "unknown_message", "type"),
        ('{"type": ["start"]}', "unknown_message", "type"),
        ('{"type": "sing"}', "unknown_message", "type"),
        ('{"type": "speak", "text": "too soon"}', "not_started", "type"),
        ('{"type": "keepalive"}', "not_started", "type"),
        ('{"type": "start", "voice": "espeak:nobody"}', "voice_not_found", "voice"),
        ('{"type": "start", "voice": "\\udfff"}', None, "voice"),
        ('{"type": "start", "format": "ogg"}', "parameter_invalid_choice", "format"),
        ('{"type": "start", "format": "opus", "sample_rate": 44100}', "invalid_parameter", "sample_rate"),
        ('{"type": "start", "speed": 9}', "parameter_max_value", "speed"),
        ('{"type": "start", "ssml": true}', "parameter_unknown", "ssml"),
        ('{"type": "start", "max_ahead_seconds": 0}', "parameter_min_value", "max_ahead_seconds"),
        ('{"type": "start", "language": "xx"}', "language_not_supported", "language"),
        (b"\0\1", "malformed_message", None),
    ],
)
def test_refuses_before_there_is_a_job(tenant: Tenant, message: str | bytes, code: str | None, param: str) -> None:
    with speech(tenant) as session:
        session.socket.send(message)
        assert session.end() == 4400
    assert (code is None or session.error["code"] == code, session.error["param"]) == (True, param)
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


@pytest.mark.parametrize(
    ("message", "code"),
    [({"type": "start"}, "already_started"), ({"type": "speak"}, "parameter_required"),
     ({"type": "speak", "text": 7}, "parameter_invalid"), ({"type": "speak", "text": None}, "parameter_null"),
     ({"type": "flush", "text": "x"}, "parameter_unknown")],
)  # fmt: skip
def test_a_wrong_message_ends_the_session_and_bills_what_was_spoken(tenant: Tenant, message: dict, code: str) -> None:
    with speech(tenant) as session:
        session.start()
        session.say("speak", text="This is said. ")
        session.say("flush")
        session.until("flushed")
        session.say(**{"kind": message.pop("type"), **message})
        assert outcome(session) == (code, 4400)
    job = settled(session.job)
    assert (job.status, job.error_code, job.characters) == ("failed", code, len("This is said. "))
    assert UsageRecord.objects.get(job_id=job.id).characters == len("This is said. ")


# ── How much ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_quota_is_reserved_as_the_text_grows(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_characters=600)
    first = LONG[:50]
    with speech(tenant) as session:
        session.start()
        session.say("speak", text=first)
        session.say("flush")
        session.until("flushed")
        period = quota.period_of(tenant.organization.id)
        assert (period.used_characters, period.reserved_characters) == (0, 500)
        session.say("speak", text="nine and " * 60)  # 590 in all: rounded up it would not fit
        session.say("speak", text="ten more...")
        assert outcome(session) == ("quota_exceeded", 4429)
    assert session.error["quota"]["limit"] == 600
    job = settled(session.job)
    assert (job.status, job.error_code) == ("failed", "quota_exceeded")
    period = quota.period_of(tenant.organization.id)
    assert (period.used_characters, period.reserved_characters) == (job.characters, 0)
    assert len(first) <= job.characters <= 590
    assert not Reservation.objects.filter(organization=tenant.organization).exists()


def test_nothing_starts_where_nothing_is_left(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_characters=0)
    with speech(tenant) as session:
        session.say("start")
        assert outcome(session) == ("quota_exceeded", 4429)
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


def test_a_session_is_one_of_the_jobs_that_may_run(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, max_concurrent_jobs=1)
    with speech(tenant) as session:
        session.start()
        with speech(tenant) as second:
            second.say("start")
            assert outcome(second) == ("concurrency_limit", 4429)
        assert session.stop() == 1000
    with speech(tenant) as third:
        third.start()
        assert third.stop() == 1000


@pytest.mark.parametrize("setting", ["TTS_LIVE_MAX_SESSIONS", "TTS_LIVE_MAX_SESSIONS_PER_ORGANIZATION"])
def test_sessions_are_limited(tenant: Tenant, settings, setting: str) -> None:
    wait_for(lambda: not places._taken.total())
    setattr(settings, setting, 1)
    with speech(tenant) as session:
        session.start()
        with speech(tenant) as second:
            second.say("start")
            assert outcome(second) == ("session_limit", 4429)
        assert second.error["retry_after_seconds"] > 0
        assert session.stop() == 1000
    with speech(tenant) as third:
        third.start()
        assert third.stop() == 1000


def test_texts_are_limited(tenant: Tenant, settings) -> None:
    settings.TTS_MAX_CHARACTERS, settings.TTS_LIVE_MAX_CHARACTERS = 100, 150
    with speech(tenant) as session:
        session.start()
        session.say("speak", text="x" * 101)
        assert outcome(session) == ("text_too_long", 4429)
    with speech(tenant) as session:
        session.start()
        for _ in range(2):
            session.say("speak", text=LONG)
            session.say("flush")
            session.until("flushed")
        session.say("speak", text="One too many.")
        assert outcome(session) == ("session_too_long", 4429)
    assert settled(session.job).characters == 2 * len(LONG)


# ── How long ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_silent_session_ends(tenant: Tenant, settings) -> None:
    settings.TTS_LIVE_IDLE_SECONDS = 0.6
    with speech(tenant) as session:
        assert outcome(session) == ("idle_timeout", 4429)  # it never started
    with speech(tenant) as session:
        session.start(speed=4)
        started = time.monotonic()
        session.write("Hi.")
        for _ in range(3):
            time.sleep(0.4)
            session.say("keepalive")
        assert outcome(session) == ("idle_timeout", 4429)
        assert time.monotonic() - started > 1.6
    assert session.of("closed") == [{"type": "closed", "reason": "idle_timeout"}]
    assert (session.job.status, session.job.characters) == ("succeeded", 3)


def test_a_listening_client_is_not_idle(tenant: Tenant, settings) -> None:
    settings.TTS_LIVE_IDLE_SECONDS = 0.3
    with speech(tenant) as session:
        session.start(speed=2)
        started = time.monotonic()
        session.say("speak", text="It takes some time to hear this. ")
        session.say("flush")
        heard = session.until("flushed")["position"]
        assert outcome(session) == ("idle_timeout", 4429)
        assert time.monotonic() - started > heard + 0.25


def test_a_session_does_not_last_for_ever(tenant: Tenant, settings) -> None:
    settings.TTS_LIVE_MAX_SECONDS = 0.8
    with speech(tenant) as session:
        session.start(max_ahead_seconds=0.5, format="pcm")
        session.say("speak", text=LONG * 10)
        assert outcome(session) == ("session_too_long", 4429)
    job = session.job
    assert job.status == "succeeded"
    assert 0 < job.characters < 10 * len(LONG)


# ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_leaving_cancels_and_bills_what_was_spoken(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_characters=100_000)
    with speech(tenant) as session:
        session.start(max_ahead_seconds=1)
        session.say("speak", text=LONG * 50)
        session.until_audio()
    job = settled(session.job)
    assert (job.status, job.error_code) == ("cancelled", "client_disconnected")
    assert 0 < job.characters < 50 * len(LONG)
    usage = UsageRecord.objects.get(job_id=job.id)
    assert (usage.status, usage.characters) == ("cancelled", job.characters)
    period = quota.period_of(tenant.organization.id)
    assert (period.used_characters, period.reserved_characters) == (job.characters, 0)


def test_deleting_the_job_ends_the_session(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start()
        session.say("speak", text="This is said. ")
        session.say("flush")
        session.until("flushed")
        assert tenant.key("tts").delete(f"/tts/jobs/{session.job.id}").status_code == 204
        assert outcome(session) == ("job_cancelled", 4400)
    assert session.job.status == "cancelled"
    wait_for(lambda: UsageRecord.objects.filter(job_id=session.job.id).exists())
    assert UsageRecord.objects.get(job_id=session.job.id).characters == len("This is said. ")


def test_a_server_that_stops_ends_sessions_in_an_orderly_way(tenant: Tenant) -> None:
    with speech(tenant) as session:
        session.start(max_ahead_seconds=0.5, format="mp3")
        session.say("speak", text=LONG * 20)
        session.until_audio()
        (socket,) = [socket for socket in sockets.consumer._open if socket.actor.organization == tenant.organization]
        asyncio.run_coroutine_threadsafe(socket.drain(), socket._speaking.get_loop()).result(timeout=10)
        assert session.end() == 1012
    assert session.of("closed") == [{"type": "closed", "reason": "the server restarts"}]
    job = session.job
    assert job.status == "succeeded"
    assert 0 < job.characters < 20 * len(LONG)
    assert decode(session.audio).seconds == pytest.approx(job.duration_seconds, abs=0.2)


def test_a_client_that_does_not_read_holds_the_speech_back(tenant: Tenant) -> None:
    def spoken() -> int:
        (watch,) = [watch for watch in monitor._watches if watch.job.organization_id == tenant.organization.id]
        return watch.job.metered.characters if watch.job.metered else 0

    with connect(tenant.server + PATH, {"x-api-key": tenant.new_key("tts")[1]}, max_queue=1) as socket:
        session = Speech(socket)
        session.start(format="wav", sample_rate=48_000)
        session.say("speak", text=(LONG * 600)[:90_000])
        counts = [-1, 0]
        deadline = time.monotonic() + 8
        while counts[-1] != counts[-2] or not counts[-1]:  # until nothing has been spoken for half a second
            assert time.monotonic() < deadline
            time.sleep(0.5)
            counts.append(spoken())
        assert counts[-1] < 45_000
        socket.socket.shutdown(2)
    assert settled(session.job).status == "cancelled"


def test_random_disconnects_leave_nothing_behind(tenant: Tenant, other_tenant: Tenant) -> None:
    owners = [(owner, owner.new_key("tts")[1]) for owner in (tenant, other_tenant)]
    process = psutil.Process()

    def drop(number: int) -> None:
        chance = random.Random(number)
        owner, key = chance.choice(owners)
        with connect(owner.server + PATH, {"x-api-key": key}) as socket:
            session = Speech(socket)
            actions: list[Any] = [
                lambda: session.say("start", format=chance.choice(["pcm", "mp3", "opus", "flac"])),
                lambda: session.say("speak", text=LONG * chance.randint(1, 20)),
                lambda: session.receive(timeout=1),
                lambda: session.say("flush"),
                lambda: session.receive(timeout=1),
                lambda: session.say("clear"),
                lambda: session.say("speak", text=LONG),
                lambda: session.say("stop"),
            ]
            for action in actions[: chance.randint(0, len(actions))]:
                try:
                    action()
                except TimeoutError:
                    continue
            if chance.random() < 0.5:  # without a close frame
                socket.socket.shutdown(2)

    def all_dropped(count: int, first: int) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(drop, range(first, first + count)))
        wait_for(lambda: not open_sockets() and not places._taken.total(), seconds=30)

    for owner, _ in owners:
        quota.set_quota(organization=owner.organization, monthly_characters=10_000_000)
    warm = max(8, DROPS // 4)
    all_dropped(warm, 0)  # starts what stays: threads, processes, connections, codecs
    files, threads, memory = process.num_fds(), threading.active_count(), process.memory_info().rss
    all_dropped(DROPS, warm)
    organizations = [owner.organization for owner, _ in owners]
    jobs = TtsJob.objects.filter(organization__in=organizations)
    wait_for(lambda: not jobs.filter(status="processing").exists(), seconds=30)
    assert not Reservation.objects.filter(organization__in=organizations).exists()
    assert UsageRecord.objects.filter(organization__in=organizations).count() == jobs.count() > 0
    assert not [watch for watch in monitor._watches if watch.job.organization in organizations]
    assert process.num_fds() <= files + 16
    assert threading.active_count() <= threads + 16
    grown = process.memory_info().rss - memory
    assert DROPS < 200 or grown < 48e6  # 500: 240 MB, and then 11 more
    for owner, _ in owners:
        period = quota.period_of(owner.organization.id)
        used = sum(jobs.filter(organization=owner.organization).values_list("characters", flat=True))
        assert (period.used_characters, period.reserved_characters) == (used, 0)
