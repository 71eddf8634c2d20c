"""audio.transcriptions.create(stream=True): events while the recording is being heard."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from analytics.models import UsageRecord
from stt.models import SttJob
from tests.api.support import owned_clips, wav
from tests.conftest import Tenant
from tests.ml.stt_support import pcm_of
from tests.openai.support import sdk

pytestmark = pytest.mark.usefixtures("whisper")

CLIPS = owned_clips()
SLOW = "pocketsphinx-en-us"
SECONDS_BETWEEN = 1.0


def joined(*names: str) -> bytes:
    """The clips one after the other, with pauses."""
    pause = np.zeros(round(16_000 * SECONDS_BETWEEN))
    return wav(np.concatenate([part for name in names for part in (pcm_of(CLIPS[name]) / 32768, pause)]))


@pytest.fixture(scope="module")
def recording() -> bytes:
    return joined("numbers.wav", "weather.flac", "president.mp3")


def stream(client: openai.OpenAI, content: bytes, **parameters: Any) -> Any:
    return client.audio.transcriptions.create(
        **{"model": "gpt-4o-transcribe", "file": ("talk.wav", content), "stream": True, **parameters}
    )


def test_segments_come_before_the_end_and_make_the_text(tenant: Tenant, recording: bytes) -> None:
    statuses, events = [], []
    for event in stream(sdk(tenant, "stt"), recording, model=SLOW):
        events.append(event)
        statuses.append(SttJob.objects.get(organization=tenant.organization).status)
    *deltas, done = events
    assert len(deltas) >= 3
    assert all(isinstance(delta, TranscriptionTextDeltaEvent) for delta in deltas)
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert statuses[0] == "processing"
    assert statuses[-1] == "succeeded"
    assert done.text == "".join(delta.delta for delta in deltas)
    job = SttJob.objects.get(organization=tenant.organization)
    assert job.transcription.text == done.text
    usage = done.to_dict()["usage"]
    assert usage == {"type": "duration", "seconds": job.duration_seconds}
    assert UsageRecord.objects.get(organization=tenant.organization).audio_seconds == job.duration_seconds
    whole = sdk(tenant, "stt").audio.transcriptions.create(model=SLOW, file=("talk.wav", recording))
    assert whole.text == done.text


def test_logprobs(tenant: Tenant) -> None:
    *deltas, done = stream(sdk(tenant, "stt"), joined("numbers.wav", "president.mp3"), include=["logprobs"])
    assert len(deltas) == 2
    for event, text in [*((delta, delta.delta) for delta in deltas), (done, done.text)]:
        assert "".join(each.token for each in event.logprobs) == text


@pytest.mark.parametrize("model", ["whisper-1", "gpt-transcribe"])
def test_on_the_wire(tenant: Tenant, model: str) -> None:
    """As curl sees it: nothing but data lines, an empty line behind each, no [DONE]."""
    with tenant.key("stt").stream(
        "POST", "//v1/audio/transcriptions", data={"model": model, "stream": "true", "language": "en"},
        files={"file": ("a.mp3", CLIPS["president.mp3"].path.read_bytes())},
    ) as answer:  # fmt: skip
        lines = list(answer.iter_lines())
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert lines[1::2] == [""] * (len(lines) // 2)
    events = [json.loads(line.removeprefix("data: ")) for line in lines[::2]]
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert ("languages" in events[-1]) == (model == "gpt-transcribe")


def test_silence_has_an_empty_done(tenant: Tenant) -> None:
    (done,) = stream(sdk(tenant, "stt"), wav(np.zeros(16_000)))
    assert (done.type, done.text) == ("transcript.text.done", "")


def test_a_client_that_leaves_stops_the_work(tenant: Tenant, recording: bytes) -> None:
    events = stream(sdk(tenant, "stt"), recording, model=SLOW)
    assert next(events).type == "transcript.text.delta"
    events.close()
    deadline = time.monotonic() + 30
    job = SttJob.objects.get(organization=tenant.organization)
    while job.status == "processing":
        assert time.monotonic() < deadline
        time.sleep(0.05)
        job.refresh_from_db()
    assert (job.status, job.error_code) == ("cancelled", "client_disconnected")
    usage = UsageRecord.objects.get(organization=tenant.organization)
    assert 0 < usage.audio_seconds < len(recording) / 32_000


def test_what_breaks_later_is_an_event(tenant: Tenant, recording: bytes) -> None:
    """The job is deleted while it is being heard."""
    events = stream(sdk(tenant, "stt"), recording, model=SLOW)
    assert next(events).type == "transcript.text.delta"
    job = SttJob.objects.get(organization=tenant.organization)
    assert tenant.user("owner").delete(f"/stt/jobs/{job.id}").status_code == 204
    with pytest.raises(openai.APIError) as raised:
        list(events)
    assert raised.value.code == "job_cancelled"


def test_the_same_stream_again(tenant: Tenant) -> None:
    """By Idempotency-Key: the first answer's events, computed and billed once."""
    client, content = sdk(tenant, "stt"), joined("numbers.wav")
    first, again = (
        [event.to_dict() for event in stream(client, content, extra_headers={"Idempotency-Key": "one"})]
        for _ in range(2)
    )
    assert first == again
    assert SttJob.objects.filter(organization=tenant.organization).count() == 1


def test_many_at_once(tenant: Tenant) -> None:
    """Each gets its own text."""
    key = tenant.new_key("stt")[1]
    texts: dict[int, str] = {}

    def one(number: int, name: str) -> None:
        answer = httpx.post(
            f"{tenant.server}/v1/audio/transcriptions", headers={"Authorization": f"Bearer {key}"}, timeout=120,
            data={"model": "gpt-4o-transcribe", "stream": "true"}, trust_env=False,
            files={"file": ("a.wav", joined(name))},
        )  # fmt: skip
        texts[number] = json.loads(answer.text.strip().splitlines()[-1].removeprefix("data: "))["text"]

    names = ["numbers.wav", "president.mp3"] * 3
    threads = [threading.Thread(target=one, args=(number, name)) for number, name in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    for number, name in enumerate(names):
        assert texts[number] == texts[names.index(name)]
        assert texts[number].split()[0] == {"numbers.wav": "one", "president.mp3": "the"}[name]


def test_reads_a_path(tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "talk"
    path.write_bytes(joined("numbers.wav"))
    *_, done = stream(sdk(tenant, "stt"), b"", file=path)
    assert done.text.startswith("one two three")
