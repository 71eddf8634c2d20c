"""Times of words, loudness, telephony and the recogniser's opinion, over HTTP."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from ml.audio import loudness
from tests.conftest import Client, Tenant, error_of, make_tenant

TEXT = "The boy was there when the sun rose. It costs five dollars, and that is all."


@pytest.fixture(scope="module")
def client(server: str) -> Client:
    return make_tenant(server).key("tts")


def job_of(client: Client, **fields: object) -> dict:
    answer = client.post("/tts/synthesize", json={"text": TEXT, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    return np.concatenate([frame.reshape(-1) for frame in frames]), rate


def test_tells_when_each_word_is_heard(client: Client) -> None:
    job = job_of(client, timestamps=True)
    times = job["timestamps"]
    assert [word["word"] for word in times["words"]] == [word.strip(".,") for word in TEXT.split()]
    assert times["source"] == "engine"
    moments = [moment for word in times["words"] for moment in (word["start"], word["end"])]
    assert moments == sorted(moments)
    assert moments[0] >= 0
    assert moments[-1] <= job["duration_seconds"] + 0.01
    assert [sentence["text"] for sentence in times["sentences"]] == [
        "The boy was there when the sun rose.", "It costs five dollars, and that is all.",
    ]  # fmt: skip
    url = f"/tts/jobs/{job['job_id']}"
    assert client.get(f"{url}/timestamps").json() == times == client.get(url).json()["timestamps"]
    assert "timestamps" not in client.get("/tts/jobs").json()["results"][0]
    assert client.get(f"{url}/timestamps?format=srt").text.startswith("1\n00:00:00,000 --> 00:00:0")
    assert "The boy was there when the sun rose." in client.get(f"{url}/timestamps?format=vtt").text
    error_of(client.get(f"{url}/timestamps?format=ass"), 400)
    error_of(client.get(f"/tts/jobs/{job_of(client)['job_id']}/timestamps"), 404, "no_timestamps")


def test_tells_of_marks_in_a_stream_too(client: Client) -> None:
    ssml = '<speak>One <mark name="here"/>two.<break time="1s"/><mark name="there"/>Three.</speak>'
    marks = job_of(client, text=ssml, ssml=True)["timestamps"]["marks"]
    assert [mark["name"] for mark in marks] == ["here", "there"]
    assert marks[1]["time"] - marks[0]["time"] > 1
    with client.stream("POST", "/tts/synthesize", json={"text": ssml, "ssml": True, "stream": True}) as answer:
        answer.read()
    newest = client.get("/tts/jobs").json()["results"][0]["job_id"]
    assert client.get(f"/tts/jobs/{newest}").json()["timestamps"]["marks"] == marks


@pytest.mark.parametrize("target", [-16, -23])
def test_is_as_loud_as_asked_for(client: Client, target: float) -> None:
    samples, rate = decoded(client.get(job_of(client, loudness=target, trim_silence=True)["audio_url"]).content)
    loud, peak = loudness.measure(samples, rate)
    assert loud == pytest.approx(target, abs=1)
    assert peak <= -0.9
    quiet = job_of(client, loudness=target, volume=0.2)
    samples, rate = decoded(client.get(quiet["audio_url"]).content)
    assert loudness.measure(samples, rate)[0] == pytest.approx(target, abs=1)


def test_a_stream_has_one_gain_by_its_voice(client: Client) -> None:
    body = {"text": TEXT, "loudness": -23, "stream": True, "format": "pcm"}
    with client.stream("POST", "/tts/synthesize", json=body) as answer:
        samples = np.frombuffer(answer.read(), dtype=np.int16)
    assert loudness.measure(samples, int(answer.headers["X-Sample-Rate"]))[0] == pytest.approx(-23, abs=2)


@pytest.mark.parametrize("name", ["mulaw", "alaw", "wav_mulaw", "wav_alaw"])
def test_telephony(client: Client, name: str) -> None:
    job = job_of(client, format=name)
    assert job["sample_rate"] == 8000
    data = client.get(job["audio_url"]).content
    if name.startswith("wav"):
        samples, rate = decoded(data)
        assert (len(samples), rate) == (round(job["duration_seconds"] * 8000), 8000)
        assert np.abs(samples).max() > 3000
    else:
        assert len(data) == round(job["duration_seconds"] * 8000)
    error_of(client.post("/tts/synthesize", json={"text": "a", "format": name, "sample_rate": 16000}), 400)


def test_a_recogniser_hears_whether_it_is_right(client: Client) -> None:
    body = {"text": "one two three four five", "voice": "espeak:en-us+f2", "verify": True}
    verification = job_of(client, **body)["verification"]
    assert verification["model"] == "pocketsphinx-en-us"
    assert verification["wer"] == 0
    wrong = job_of(client, **body, lexicon=[{"grapheme": "three", "alias": "beautiful mountains"}])["verification"]
    assert wrong["wer"] > 0.3
    error_of(client.post("/tts/synthesize", json={"text": "a", "verify": True, "stream": True}), 400)


def test_numbers_are_written_out_where_it_is_asked_for(client: Client) -> None:
    assert (
        job_of(client, text="$5.20")["duration_seconds"]
        != job_of(client, text="$5.20", normalize=True)["duration_seconds"]
    )


def test_deleting_the_text_deletes_its_times(tenant: Tenant) -> None:
    from retention import services as retention
    from tts.models import TtsJob

    entry = {"grapheme": "boy", "alias": "girl"}
    job = TtsJob.objects.get(id=job_of(tenant.key("tts"), timestamps=True, lexicon=[entry])["job_id"])
    assert job.options["lexicon"]["entries"][0]["alias"] == "girl"
    retention.delete_text(job=job, reason="retention")
    job.refresh_from_db()
    assert (job.text, job.timestamps, "lexicon" in job.options) == ("", None, False)
