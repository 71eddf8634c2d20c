"""Two organisations' requests and streams mixed: no byte of one in the other's answers, and nothing stays behind.

OPENAI_REQUESTS=1000 makes the proof of 1,000 requests; by default it is a small one.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from analytics import quota
from analytics.models import Reservation, UsageRecord
from stt.models import SttJob
from tests.api.support import owned_clips
from tests.conftest import Tenant
from tests.openai.support import sdk
from tts.models import TtsJob

pytestmark = pytest.mark.usefixtures("whisper")

REQUESTS = int(os.environ.get("OPENAI_REQUESTS", "36"))
THREADS = 12
CLIPS = owned_clips()
CLIP_OF = ("president.mp3", "weather.flac")


def hear(client: openai.OpenAI, name: str) -> str:
    return client.audio.transcriptions.create(model="whisper-1", file=CLIPS[name].path, response_format="text").strip()


def hear_stream(client: openai.OpenAI, name: str) -> str:
    *_, done = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=CLIPS[name].path, stream=True)
    return done.text


def speak(client: openai.OpenAI, text: str) -> bytes:
    return client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format="pcm").content


def test_two_organisations_interleaved(tenant: Tenant, other_tenant: Tenant) -> None:
    tenants = (tenant, other_tenant)
    clients = [sdk(each) for each in tenants]
    texts = [[f"This is the {name} organisation, sentence {n}." for n in range(5)] for name in ("first", "second")]
    sounds = [[speak(clients[who], text) for text in texts[who]] for who in (0, 1)]
    words = [hear(clients[who], CLIP_OF[who]) for who in (0, 1)]
    assert len({*sounds[0], *sounds[1]}) == 10
    assert words[0] != words[1]

    def one(number: int) -> None:
        who, kind = number % 2, number // 2 % 3
        if kind == 0:
            which = number % 5
            assert speak(clients[who], texts[who][which]) == sounds[who][which]
        else:
            assert (hear, hear_stream)[kind - 1](clients[who], CLIP_OF[who]) == words[who]

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(one, range(REQUESTS)))
    for who, each in enumerate(tenants):
        own = {"organization": each.organization}
        jobs = itertools.chain(TtsJob.objects.filter(**own), SttJob.objects.filter(**own))
        assert {job.status for job in jobs} == {"succeeded"}
        assert set(TtsJob.objects.filter(**own).values_list("text", flat=True)) == set(texts[who])
        heard = SttJob.objects.filter(**own).values_list("transcription__text", "audio__filename")
        assert set(heard) == {(words[who], CLIP_OF[who])}
        # A request that the SDK sends again may be told the answer of its twin, which another thread sent.
        assert REQUESTS // 2 + 3 <= UsageRecord.objects.filter(**own).count() <= REQUESTS // 2 + 6


def test_dropped_streams_leave_nothing(tenant: Tenant) -> None:
    quota.set_quota(organization=tenant.organization, monthly_characters=10**9, monthly_audio_seconds=10**9)
    key = tenant.new_key()[1]
    content = CLIPS["president.mp3"].path.read_bytes()
    rng = random.Random(7)
    patience = [rng.uniform(0, 0.4) for _ in range(REQUESTS // 2)]

    def drop(number: int) -> None:
        speech = {"json": {"model": "tts-1", "voice": "nova", "input": "A long text. " * 500}}
        recording = {"data": {"model": "whisper-1", "stream": "true"}, "files": {"file": ("a.mp3", content)}}
        path, body = ("speech", speech) if number % 2 else ("transcriptions", recording)
        with httpx.Client(trust_env=False, timeout=60) as http, http.stream(
            "POST", f"{tenant.server}/v1/audio/{path}", headers={"Authorization": f"Bearer {key}"}, **body
        ) as answer:  # fmt: skip
            assert answer.status_code == 200
            next(answer.iter_raw(), None)
            time.sleep(patience[number])

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(drop, range(len(patience))))
    running = {"organization": tenant.organization, "status": "processing"}
    _until(lambda: not TtsJob.objects.filter(**running).exists() and not SttJob.objects.filter(**running).exists())
    _until(lambda: not Reservation.objects.filter(organization=tenant.organization).exists())
    own = {"organization": tenant.organization}
    statuses = {*TtsJob.objects.filter(**own).values_list("status", flat=True)}
    assert "cancelled" in statuses
    assert statuses <= {"cancelled", "succeeded"}
    assert sdk(tenant).models.list().data  # and the server goes on
    assert sum(thread.name.startswith("transcribe") for thread in threading.enumerate()) <= THREADS


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
