"""The SDK tries again by itself when an answer does not come in time, without an idempotency key: billed once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from django.db import connection, transaction

from analytics.models import UsageRecord
from jobs.models import IdempotencyRecord
from stt.models import SttJob
from tests.api.support import decode, silence
from tests.conftest import OWNED_AUDIO, Tenant
from tests.openai.support import sdk
from tts.models import TtsJob

TEXT = "This is to be spoken once, however often it is asked for."
PATIENCE = {"timeout": 2.0, "max_retries": 5}


@contextmanager
def slow(table: str, until: Callable[[], Any]) -> Iterator[None]:
    """Nobody can write jobs until the condition holds: as in a database that is busy with something large."""
    locked = threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
                locked.set()
                deadline = time.monotonic() + 60
                while not until() and time.monotonic() < deadline:
                    time.sleep(0.05)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads:
        holding = threads.submit(hold)
        assert locked.wait(20)
        yield
        holding.result()


def retried(tenant: Tenant) -> Callable[[], bool]:
    """Whether a repetition waits for the first request's answer."""
    rows = IdempotencyRecord.objects.filter(organization=tenant.organization, awaited_at__isnull=False)
    return rows.exists


def the_record(tenant: Tenant) -> UsageRecord:
    return UsageRecord.objects.get(organization=tenant.organization)  # there is one


def test_speech(tenant: Tenant) -> None:
    impatient = sdk(tenant, **PATIENCE)
    with slow("tts_ttsjob", retried(tenant)):
        answer = impatient.audio.speech.with_raw_response.create(
            model="tts-1", voice="alloy", input=TEXT, response_format="wav"
        )
    assert answer.retries_taken >= 1
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert decode(answer.content).seconds > 1
    assert (the_record(tenant).status, the_record(tenant).characters) == ("succeeded", len(TEXT))
    assert TtsJob.objects.get(organization=tenant.organization).status == "succeeded"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("operation", ["transcriptions", "translations"])
def test_recordings(tenant: Tenant, operation: str, whisper: str) -> None:
    impatient = sdk(tenant, **PATIENCE)
    with slow("stt_sttjob", retried(tenant)):
        answer = getattr(impatient.audio, operation).create(model=whisper, file=("s.wav", silence(1.0)))
    assert retried(tenant)()
    assert answer.text == ""
    assert (the_record(tenant).status, the_record(tenant).audio_seconds) == ("succeeded", 1.0)
    assert SttJob.objects.filter(organization=tenant.organization).count() == 1


def test_a_new_call_is_a_new_request(tenant: Tenant) -> None:
    """Whoever asks for the same twice wants it twice."""
    patient = sdk(tenant)
    clip = OWNED_AUDIO / "numbers.wav"
    texts = {patient.audio.transcriptions.create(model="whisper-1", file=clip).text for _ in range(2)}
    assert len(texts) == 1
    assert UsageRecord.objects.filter(organization=tenant.organization).count() == 2


def test_whoever_gives_up_is_billed_at_most_once(tenant: Tenant) -> None:
    """All tries pass in vain; what is computed after all is one job."""
    hasty = sdk(tenant, timeout=0.3, max_retries=2)
    given_up = threading.Event()
    with slow("tts_ttsjob", given_up.is_set):
        with pytest.raises(openai.APITimeoutError):
            hasty.audio.speech.create(model="tts-1", voice="alloy", input=TEXT)
        given_up.set()
    deadline = time.monotonic() + 40
    while IdempotencyRecord.objects.filter(organization=tenant.organization, status=None).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert UsageRecord.objects.filter(organization=tenant.organization).count() <= 1
    assert TtsJob.objects.filter(organization=tenant.organization).count() <= 1
