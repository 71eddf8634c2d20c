"""audio.speech.create, by the official SDK."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from analytics.models import UsageRecord
from ml.types import Voice
from openai_api import names
from tests.api.support import decode
from tests.conftest import Tenant
from tests.openai.support import async_sdk, sdk
from tts.models import TtsJob

TEXT = "Good morning. The train leaves at ten."
CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le"}
CONTENT_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg; codecs=opus", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip


@pytest.fixture
def speak(tenant: Tenant) -> Callable[..., Any]:
    client = sdk(tenant, "tts")

    def create(**parameters: Any) -> Any:
        return client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": TEXT, **parameters})

    return create


def events_of(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.splitlines() if line]


# ── Formats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format_name", CODECS)
def test_every_format_can_be_decoded(tenant: Tenant, speak: Callable[..., Any], format_name: str) -> None:
    answer = speak(response_format=format_name)
    sound = decode(answer.content)
    assert sound.codec.removesuffix("float") == CODECS[format_name]
    assert answer.response.headers["Content-Type"] == CONTENT_TYPES[format_name]
    assert sound.loudness > 0.01
    job = TtsJob.objects.get(organization=tenant.organization)
    assert sound.seconds == pytest.approx(job.duration_seconds, abs=0.15)
    assert (job.status, job.format, job.text) == ("succeeded", format_name, TEXT)
    assert UsageRecord.objects.get(organization=tenant.organization).characters == len(TEXT)


def test_pcm_is_24_kilohertz(tenant: Tenant, speak: Callable[..., Any]) -> None:
    answer = speak(response_format="pcm")
    samples = np.frombuffer(answer.content, "<i2")
    job = TtsJob.objects.get(organization=tenant.organization)
    assert len(samples) / 24_000 == pytest.approx(job.duration_seconds, abs=0.05)
    assert (job.sample_rate, answer.response.headers["X-Sample-Rate"]) == (24_000, "24000")


def test_mp3_is_the_default_and_goes_into_files(speak: Callable[..., Any], tmp_path: Path) -> None:
    speak().write_to_file(tmp_path / "speech.mp3")
    assert decode((tmp_path / "speech.mp3").read_bytes()).codec.startswith("mp3")


def test_wav_can_be_read_by_the_standard_library(speak: Callable[..., Any]) -> None:
    with wave.open(io.BytesIO(speak(response_format="wav").content)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert len(file.readframes(10**9)) > 20_000


# ── Streaming ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_streaming_response(tenant: Tenant, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    with sdk(tenant, "tts").audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input=TEXT * 20, response_format="wav", instructions="Cheerfully."
    ) as answer:
        pieces = iter(answer.iter_bytes(4096))
        first = next(pieces)
        status = TtsJob.objects.get(organization=tenant.organization).status
        path.write_bytes(b"".join([first, *pieces]))
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert status == "processing"
    assert decode(path.read_bytes()).seconds > 20


def test_events(tenant: Tenant, speak: Callable[..., Any]) -> None:
    answer = speak(model="gpt-4o-mini-tts", stream_format="sse", response_format="flac")
    assert answer.response.headers["Content-Type"] == "text/event-stream"
    *deltas, done = events_of(answer)
    assert {frozenset(delta) for delta in deltas} == {frozenset({"type", "audio"})}
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert len(deltas) >= 2
    sound = decode(b"".join(base64.b64decode(delta["audio"]) for delta in deltas))
    assert sound.codec == "flac"
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": len(TEXT), "output_tokens": 0, "total_tokens": len(TEXT)},
    }
    job = TtsJob.objects.get(organization=tenant.organization)
    assert sound.seconds == pytest.approx(job.duration_seconds, abs=0.05)


async def _spoken(client: openai.AsyncOpenAI) -> tuple[bytes, bytes]:
    async with client:
        whole = await client.audio.speech.create(model="tts-1", voice="nova", input=TEXT, response_format="pcm")
        async with client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="nova", input=TEXT, response_format="pcm"
        ) as answer:
            return whole.content, b"".join([piece async for piece in answer.iter_bytes()])


def test_async_client(tenant: Tenant) -> None:
    whole, streamed = asyncio.run(_spoken(async_sdk(tenant, "tts")))
    assert whole == streamed


def test_what_breaks_in_the_middle_is_an_event(tenant: Tenant) -> None:
    """The job is cancelled while it is being spoken."""
    with sdk(tenant, "tts").audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEXT * 2000, stream_format="sse"
    ) as answer:
        lines = answer.iter_lines()
        assert "speech.audio.delta" in next(lines)
        job = TtsJob.objects.get(organization=tenant.organization)
        assert tenant.user("owner").delete(f"/tts/jobs/{job.id}").status_code == 204
        last = [line for line in lines if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "job_cancelled"


def test_the_same_request_again(tenant: Tenant, speak: Callable[..., Any]) -> None:
    headers = {"Idempotency-Key": "once"}
    for stream_format in ("audio", "sse"):
        own = {"Idempotency-Key": f"{headers['Idempotency-Key']}-{stream_format}"}
        first, again = (speak(stream_format=stream_format, extra_headers=own) for _ in range(2))
        assert again.response.headers["Idempotent-Replayed"] == "true"
        if stream_format == "audio":
            assert first.content == again.content
            continue
        sounds = [
            b"".join(base64.b64decode(event.get("audio", "")) for event in events_of(answer))
            for answer in (first, again)
        ]
        assert sounds[0] == sounds[1]
        assert events_of(first)[-1] == events_of(again)[-1]
    assert TtsJob.objects.filter(organization=tenant.organization).count() == 2


# ── Voices, models and options ──────────────────────────────────────────────────────────────────────────────────────


def test_every_openai_voice_speaks_and_sounds_its_own(tenant: Tenant, speak: Callable[..., Any]) -> None:
    sounds = {voice: speak(voice=voice, input="Hello.", response_format="pcm").content for voice in names.VOICES}
    assert len(set(sounds.values())) == len(names.VOICES) == 13
    voices = set(TtsJob.objects.filter(organization=tenant.organization).values_list("voice", flat=True))
    assert len(voices) == 13


@pytest.mark.parametrize("voice", ["espeak:de", {"id": "espeak:de"}])
def test_own_voices_by_id(tenant: Tenant, speak: Callable[..., Any], voice: Any) -> None:
    speak(voice=voice, input="Guten Morgen.")
    assert TtsJob.objects.get(organization=tenant.organization).voice == "espeak:de"


def test_speed_and_own_options(tenant: Tenant, speak: Callable[..., Any]) -> None:
    normal, fast = (len(speak(response_format="pcm", speed=speed).content) for speed in (1.0, 2.0))
    assert fast < 0.7 * normal
    speak(extra_body={"language": "de-DE", "sample_rate": 16_000, "pitch": 2, "volume": 0.5}, response_format="pcm")
    speak(input="<speak>Hello <break time='1s'/> there.</speak>", extra_body={"ssml": True})
    ssml, own, *_ = TtsJob.objects.filter(organization=tenant.organization).order_by("-created_at")
    assert (own.voice, own.language, own.sample_rate) == ("espeak:de", "de", 16_000)
    assert (own.options["pitch"], own.options["volume"]) == (2.0, 0.5)
    assert ssml.options["ssml"] is True


def test_null_is_nothing(tenant: Tenant) -> None:
    answer = tenant.key("tts").post(
        "//v1/audio/speech",
        json={"model": "tts-1", "voice": "alloy", "input": "Hi.", "speed": None, "stream": True},
    )
    assert answer.status_code == 200


def _voice(speaker: str, gender: Any = None) -> Voice:
    return Voice(f"kokoro:{speaker}", speaker, "en-US", gender, "sherpa", "kokoro")


def test_voices_of_a_neural_model_are_found_by_name_and_gender() -> None:
    """What `alike` does with a model's own voices, whose names are real: Kokoro's."""
    voices = (_voice("af_nova", "female"), _voice("af_bella", "female"), _voice("am_adam", "male"))
    found = {name: names.alike(name, voices[1], lambda: voices) for name in names.VOICES}
    assert found["nova"] == "kokoro:af_nova"
    assert {found[name] for name in ("ash", "onyx")} == {"kokoro:am_adam"}
    assert {found[name] for name in ("coral", "marin", "sage", "shimmer")} == {"kokoro:af_nova", "kokoro:af_bella"}
    assert found["alloy"] == "kokoro:af_bella"  # neutral: the default


# ── What is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parameters", "code", "param", "words"),
    [
        ({"voice": "robot"}, "invalid_value", "voice", "robot"),
        ({"voice": ""}, "invalid_value", "voice", "voice"),
        ({"voice": {"name": "alloy"}}, "invalid_value", "voice", "id"),
        ({"response_format": "midi"}, "invalid_value", "response_format", "'mp3', 'opus'"),
        ({"stream_format": "carrier pigeon"}, "invalid_value", "stream_format", "'audio', 'sse'"),
        ({"speed": 5}, "decimal_above_max_value", "speed", "4"),
        ({"speed": 0.1}, "decimal_below_min_value", "speed", "0.25"),
        ({"input": ""}, "invalid_value", "input", "blank"),
        ({"input": "…"}, "invalid_parameter", "input", "nothing to speak"),
        ({"input": "x" * 100_001}, "string_above_max_length", "input", "100,000"),
        ({"extra_body": {"colour": "blue"}}, "unknown_parameter", "colour", "Unknown parameter: 'colour'."),
        ({"extra_body": {"language": "xx-QQ"}}, "language_not_supported", "language", "xx-QQ"),
    ],
)
def test_wrong_parameters(
    tenant: Tenant, speak: Callable[..., Any], parameters: dict[str, Any], code: str, param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        speak(**parameters)
    error = raised.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error"), error
    assert words in error.message
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


@pytest.mark.parametrize("missing", ["model", "input", "voice"])
def test_missing_parameters(tenant: Tenant, missing: str) -> None:
    body = {"model": "tts-1", "voice": "alloy", "input": "Hi."}
    del body[missing]
    answer = tenant.key("tts").post("//v1/audio/speech", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "missing_required_parameter", missing)
    assert error["message"] == f"Missing required parameter: '{missing}'."


@pytest.mark.parametrize("model", ["nope", "whisper-1", "pocketsphinx-en-us"])
def test_unknown_model(speak: Callable[..., Any], model: str) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        speak(model=model)
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
