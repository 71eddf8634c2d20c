"""Recognition streams that are opened and dropped at random moments: nothing of them stays."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from analytics import quota
from analytics.models import Reservation, UsageRecord
from jobs.models import UNFINISHED
from jobs.monitor import monitor
from ml import runtime
from ml.audio.stream import decoding_processes
from ml.stt import live
from openai_api.realtime import consumer
from sockets.consumer import open_sockets
from stt.live.session import places
from stt.models import SttJob
from tests.api.support import owned_clips
from tests.conftest import Tenant
from tests.live.support import connect, encoded
from tests.ml.stt_support import pcm_of, wait_for

log = logging.getLogger(__name__)

DROPS = int(os.environ.get("SPEECH_DROPS", "40"))
"""500 take a minute."""

STREAM, REALTIME = "/api/v1/stt/stream", "/v1/realtime?intent=transcription"
AT_ONCE = 8


def messages(chance: random.Random) -> tuple[str, Iterator[str | bytes]]:
    """A path, and what a client says there: some of a recording, in one of the ways there are."""
    pcm = pcm_of(owned_clips()["weather.flac"])[: chance.randint(1, 6) * 16_000]
    if chance.random() < 0.25:
        return REALTIME, realtime(np.repeat(pcm, 3)[::2].tobytes(), chance)
    encoding = chance.choice(["pcm_s16le", "pcm_s16le", "opus/ogg", "opus/webm"])
    return STREAM, stream(encoding.partition("/")[0], encoded(pcm, encoding), chance)


def stream(encoding: str, sound: bytes, chance: random.Random) -> Iterator[str | bytes]:
    yield json.dumps({"type": "start", "encoding": encoding})
    for start in range(0, len(sound), 3200):
        yield sound[start : start + 3200]
        if chance.random() < 0.02:
            yield json.dumps({"type": "finalize"})
    yield json.dumps({"type": "stop"})


def realtime(sound: bytes, chance: random.Random) -> Iterator[str]:
    turns = chance.choice([None, {"type": "server_vad"}])
    session = {"type": "transcription", "audio": {"input": {"turn_detection": turns}}}
    yield json.dumps({"type": "session.update", "session": session})
    for start in range(0, len(sound), 9600):
        audio = base64.b64encode(sound[start : start + 9600]).decode()
        yield json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        if chance.random() < 0.1:
            yield json.dumps({"type": f"input_audio_buffer.{chance.choice(['commit', 'clear'])}"})


def leave(socket: ClientConnection, chance: random.Random) -> None:
    """With a close frame, without one, or after having waited for something."""
    if chance.random() < 0.3:
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            socket.recv(timeout=chance.random())
    if chance.random() < 0.5:
        socket.socket.shutdown(2)


def drop(owners: list[tuple[Tenant, str]], number: int) -> None:
    chance = random.Random(number)
    owner, key = chance.choice(owners)
    path, said = messages(chance)
    everything = list(said)
    with connect(owner.server + path, {"Authorization": f"Bearer {key}"}) as socket:
        with contextlib.suppress(ConnectionClosed):
            for message in everything[: chance.randint(0, len(everything))]:
                socket.send(message)
        leave(socket, chance)


def nothing_is_open() -> bool:
    counts = (open_sockets(), live.recognizer.sessions, decoding_processes())
    return not any(counts) and not places._taken.total() and not consumer.connections._taken.total()


def test_random_disconnects_leave_nothing_behind(tenant: Tenant, other_tenant: Tenant) -> None:
    owners = [(owner, owner.new_key("stt")[1]) for owner in (tenant, other_tenant)]
    process = psutil.Process()

    def all_dropped(first: int, count: int) -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda number: drop(owners, number), range(first, first + count)))
        wait_for(nothing_is_open, seconds=120)

    for owner, _ in owners:
        quota.set_quota(organization=owner.organization, monthly_audio_seconds=10_000_000)
    warm = max(AT_ONCE, DROPS // 4)
    all_dropped(0, warm)  # starts what stays: threads, processes, connections
    files, threads, memory = process.num_fds(), threading.active_count(), process.memory_info().rss
    children = len(process.children(recursive=True))
    all_dropped(warm, DROPS)

    organizations = [owner.organization for owner, _ in owners]
    jobs = SttJob.objects.filter(organization__in=organizations)
    wait_for(lambda: not jobs.filter(status__in=UNFINISHED).exists(), seconds=60)
    assert set(jobs.values_list("error_code", flat=True)) <= {"", "client_disconnected"}
    assert not Reservation.objects.filter(organization__in=organizations).exists()
    assert UsageRecord.objects.filter(organization__in=organizations).count() == jobs.count() > 0
    assert not [watch for watch in monitor._watches if watch.job.organization in organizations]
    model = jobs.exclude(model="").values_list("model", flat=True).first()
    wait_for(lambda: runtime.pool.state(f"stt/{model}").users == 0, seconds=30)
    assert process.num_fds() <= files + 16
    assert threading.active_count() <= threads + 16
    assert len(process.children(recursive=True)) <= children + 2  # connections of the database have processes too
    grown = process.memory_info().rss - memory
    log.info("%d dropped: %+.0f MB, %+d files", DROPS, grown / 1e6, process.num_fds() - files)
    assert DROPS < 200 or grown < 64e6
    for owner, _ in owners:
        period = quota.period_of(owner.organization.id)
        assert period.reserved_audio_seconds == 0
