"""audio.transcriptions.create and audio.translations.create, by the official SDK, field by field."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionSegment,
    TranscriptionVerbose,
    TranscriptionWord,
    Translation,
    TranslationVerbose,
)

from analytics.models import UsageRecord
from stt.models import SttJob
from tests.api.support import owned_clips, silence
from tests.conftest import Client, Tenant
from tests.openai.support import async_sdk, sdk

pytestmark = pytest.mark.usefixtures("whisper")

CLIP = owned_clips()["president.mp3"]
CONTENT = CLIP.path.read_bytes()
GERMAN = owned_clips()["family.opus"]  # as the tiny Whisper was taught
SEGMENT_FIELDS = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
    "no_speech_prob",
}  # fmt: skip


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


@pytest.fixture
def hear(tenant: Tenant) -> Callable[..., Any]:
    client = sdk(tenant, "stt")

    def create(**parameters: Any) -> Any:
        return client.audio.transcriptions.create(**{"model": "whisper-1", "file": CLIP.path, **parameters})

    return create


def refused(call: Callable[[], Any], error: type[openai.APIStatusError], code: str, param: str | None) -> str:
    """What the SDK raises; the message."""
    with pytest.raises(error) as raised:
        call()
    assert (raised.value.code, raised.value.param) == (code, param), raised.value
    return str(raised.value.body["message"])  # type: ignore[index]


# ── Formats ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json(tenant: Tenant, hear: Callable[..., Any]) -> None:
    answer = hear()
    assert isinstance(answer, Transcription)
    assert words_of(answer.text) == words_of(CLIP.text)
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == pytest.approx(CLIP.seconds, abs=0.1)
    assert set(answer.to_dict()) == {"text", "usage"}
    job = SttJob.objects.get(organization=tenant.organization)
    assert (job.status, job.request_id) == ("succeeded", answer._request_id)
    record = UsageRecord.objects.get(organization=tenant.organization)
    assert record.audio_seconds == pytest.approx(answer.usage.seconds)


def test_text_is_a_string(hear: Callable[..., Any]) -> None:
    answer = hear(response_format="text")
    assert isinstance(answer, str)
    assert answer.endswith("\n")
    assert words_of(answer) == words_of(CLIP.text)


def test_subtitles(hear: Callable[..., Any]) -> None:
    srt, vtt = hear(response_format="srt"), hear(response_format="vtt")
    assert re.match(r"1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n", srt)
    assert re.match(r"WEBVTT\n\n00:00:00\.\d{3} --> 00:00:0\d\.\d{3}\n", vtt)
    for cues in (srt, vtt):
        assert words_of(CLIP.text) == words_of(re.sub(r"WEBVTT|^\d+$|.* --> .*", "", cues, flags=re.M))


def test_verbose_json_has_segments(hear: Callable[..., Any]) -> None:
    answer = hear(response_format="verbose_json", temperature=0.2)
    assert isinstance(answer, TranscriptionVerbose)
    body = answer.to_dict()
    assert set(body) == {"task", "language", "duration", "text", "segments", "usage"}
    assert (body["task"], answer.language) == ("transcribe", "english")
    assert answer.duration == pytest.approx(CLIP.seconds, abs=0.1)
    assert answer.segments
    before = 0.0
    for number, segment in enumerate(answer.segments):
        assert isinstance(segment, TranscriptionSegment)
        assert set(segment.to_dict()) == SEGMENT_FIELDS
        assert (segment.id, segment.temperature, segment.tokens) == (number, 0.2, [])
        assert before <= segment.start < segment.end <= answer.duration
        assert segment.seek == round(segment.start * 100)
        assert math.exp(segment.avg_logprob) <= 1
        assert 0 < segment.compression_ratio < 2.4
        assert segment.no_speech_prob == 0
        before = segment.end
    assert "".join(segment.text for segment in answer.segments) == f" {answer.text}"


@pytest.mark.parametrize("granularities", [["word"], ["segment"], ["word", "segment"]])
def test_granularities(hear: Callable[..., Any], granularities: list[str]) -> None:
    answer = hear(response_format="verbose_json", timestamp_granularities=granularities)
    assert (answer.words is not None, answer.segments is not None) == (
        "word" in granularities,
        "segment" in granularities,
    )
    if answer.words is not None:
        for word in answer.words:
            assert isinstance(word, TranscriptionWord)
            assert set(word.to_dict()) == {"word", "start", "end"}
            assert 0 <= word.start <= word.end <= answer.duration
        assert [word.word.lower() for word in answer.words] == words_of(answer.text)
        starts = [word.start for word in answer.words]
        assert starts == sorted(starts)


def test_logprobs(hear: Callable[..., Any]) -> None:
    answer = hear(model="gpt-4o-transcribe", include=["logprobs"])
    assert answer.logprobs
    assert "".join(each.token for each in answer.logprobs) == answer.text
    for each in answer.logprobs:
        assert bytes(map(int, each.bytes)).decode() == each.token
        assert each.logprob <= 0


def test_gpt_transcribe_says_the_languages(tenant: Tenant, hear: Callable[..., Any]) -> None:
    answer = hear(model="gpt-transcribe", languages=["en"], keywords=["market", "September"])
    assert [language.code for language in answer.languages] == ["en"]
    options = SttJob.objects.get(organization=tenant.organization).options
    assert (options["language_hint"], options["hotwords"]) == ("en", ["market", "September"])


def test_silence_is_an_empty_text(hear: Callable[..., Any]) -> None:
    answer = hear(file=("nothing.wav", silence(1.0)), response_format="verbose_json", timestamp_granularities=["word"])
    assert (answer.text, answer.words) == ("", [])


# ── Options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_language_and_prompt(tenant: Tenant, hear: Callable[..., Any]) -> None:
    answer = hear(file=GERMAN.path, language="de", prompt="Rivver", response_format="verbose_json")
    assert answer.language == "german"
    options = SttJob.objects.get(organization=tenant.organization).options
    assert (options["language_hint"], options["prompt"]) == ("de", "Rivver")


def test_language_is_detected(hear: Callable[..., Any]) -> None:
    assert hear(file=GERMAN.path, response_format="verbose_json").language == "german"


@pytest.mark.parametrize(
    "chunking", ["auto", {"type": "server_vad", "threshold": 0.4, "silence_duration_ms": 500}], ids=["auto", "vad"]
)
def test_chunking_strategy_is_accepted(hear: Callable[..., Any], chunking: Any) -> None:
    assert words_of(hear(chunking_strategy=chunking).text) == words_of(CLIP.text)


def test_own_options_in_extra_body(tenant: Tenant, hear: Callable[..., Any]) -> None:
    own = {"hotwords": ["market", "September"], "itn": False, "punctuate": False, "redact": True, "disable": "truecase"}
    hear(extra_body=own)
    options = SttJob.objects.get(organization=tenant.organization).options
    assert options["hotwords"] == ["market", "September"]
    assert (options["itn"], options["punctuate"], options["redact"]) == (False, False, True)
    assert options["disable"] == ["truecase"]


def test_organizations_defaults_hold_here_too(tenant: Tenant, hear: Callable[..., Any]) -> None:
    tenant.user("owner").patch("/stt/defaults", json={"profanity_filter": True})
    hear(file=("nothing.wav", silence(0.3)))
    assert SttJob.objects.get(organization=tenant.organization).options["profanity_filter"] is True


@pytest.mark.parametrize(
    "file",
    [io.BytesIO(CONTENT), ("audio", CONTENT), ("blob", CONTENT, "audio/webm")],
    ids=["no name", "no extension", "wrong type"],
)  # fmt: skip
def test_the_content_counts_not_the_name(hear: Callable[..., Any], file: Any) -> None:
    assert words_of(hear(file=file).text) == words_of(CLIP.text)


async def _both(client: openai.AsyncOpenAI) -> tuple[Any, Any]:
    async with client:
        whole = await client.audio.transcriptions.create(
            model="whisper-1", file=CLIP.path, response_format="verbose_json"
        )
        stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=CLIP.path, stream=True)
        return whole, [event async for event in stream]


def test_async_client(tenant: Tenant) -> None:
    import asyncio

    whole, events = asyncio.run(_both(async_sdk(tenant, "stt")))
    assert words_of(whole.text) == words_of(CLIP.text)
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", whole.text)


# ── What is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("parameters", "code", "param"),
    [
        ({"response_format": "xml"}, "invalid_value", "response_format"),
        ({"temperature": 1.5}, "decimal_above_max_value", "temperature"),
        ({"temperature": -1}, "decimal_below_min_value", "temperature"),
        ({"timestamp_granularities": ["word"]}, "invalid_value", "timestamp_granularities"),
        (
            {"timestamp_granularities": ["letter"], "response_format": "verbose_json"},
            "invalid_value",
            "timestamp_granularities.0",
        ),
        ({"include": ["logprobs"], "response_format": "text"}, "invalid_value", "include"),
        ({"stream": True, "response_format": "srt"}, "invalid_value", "stream"),
        ({"chunking_strategy": {"type": "client_vad"}}, "invalid_value", "chunking_strategy"),
        ({"language": "klingon!"}, "invalid_parameter", "language"),
        ({"language": "sw", "model": "pocketsphinx-en-us"}, "language_not_supported", "language"),
        ({"extra_body": {"colour": "blue"}}, "unknown_parameter", "colour"),
        ({"extra_body": {"disable": "decode"}}, "invalid_parameter", "disable"),
    ],
)
def test_wrong_parameters(
    tenant: Tenant, hear: Callable[..., Any], parameters: dict[str, Any], code: str, param: str
) -> None:
    refused(lambda: hear(**parameters), openai.BadRequestError, code, param)
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


@pytest.mark.parametrize("model", ["nope", "tts-1", "espeak-ng"])
def test_unknown_model(hear: Callable[..., Any], model: str) -> None:
    message = refused(lambda: hear(model=model), openai.NotFoundError, "model_not_found", "model")
    assert f"'{model}'" in message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("content", "code"), [(b"no audio" * 40, "audio_undecodable"), (b"", "audio_empty")])
def test_what_is_no_audio(tenant: Tenant, hear: Callable[..., Any], content: bytes, code: str, stream: bool) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        hear(file=("a.wav", content), stream=stream)
    assert raised.value.code == code
    assert not UsageRecord.objects.filter(organization=tenant.organization, audio_seconds__gt=0).exists()


def test_missing_parameters(tenant: Tenant) -> None:
    client = tenant.key("stt")
    for files, data, param in (
        ({}, {"model": "whisper-1"}, "file"),
        ({"file": ("a.wav", silence(0.3))}, {}, "model"),
        ({"file": ("a.wav", silence(0.3))}, {"model": ""}, "model"),
    ):
        answer = client.post("//v1/audio/transcriptions", files=files or {"x": b""}, data=data)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
        assert files == {} or error["param"] == param


def test_too_large_a_file_says_where_else_to_send_it(tenant: Tenant, settings: Any) -> None:
    settings.STT_MAX_UPLOAD_BYTES = 1000
    with pytest.raises(openai.APIStatusError) as raised:
        sdk(tenant, "stt").audio.transcriptions.create(model="whisper-1", file=("a.wav", silence(0.3)))
    assert (raised.value.status_code, raised.value.code, raised.value.param) == (413, "file_too_large", "file")
    assert "/api/v1/stt/transcribe" in raised.value.message


# ── Translations ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
class TestTranslations:
    def create(self, client: openai.OpenAI, **parameters: Any) -> Any:
        return client.audio.translations.create(**{"model": "whisper-1", "file": GERMAN.path, **parameters})

    def test_every_format(self, tenant: Tenant) -> None:
        client = sdk(tenant, "stt")
        plain = self.create(client)
        assert isinstance(plain, Translation)
        assert set(plain.to_dict()) == {"text"}
        verbose = self.create(client, response_format="verbose_json", temperature=0, prompt="Family")
        assert isinstance(verbose, TranslationVerbose)
        assert verbose.language == "english"
        assert verbose.to_dict()["task"] == "translate"
        assert verbose.segments is not None
        assert all(set(segment.to_dict()) == SEGMENT_FIELDS for segment in verbose.segments)
        for text_format in ("text", "srt", "vtt"):
            assert isinstance(self.create(client, response_format=text_format), str)
        jobs = SttJob.objects.filter(organization=tenant.organization)
        assert {job.options["task"] for job in jobs} == {"translate"}

    def test_a_model_that_does_not_translate(self, tenant: Tenant) -> None:
        call = lambda: self.create(sdk(tenant, "stt"), model="pocketsphinx-en-us")  # noqa: E731
        assert "translates" in refused(call, openai.BadRequestError, "invalid_parameter", "model")

    def test_a_format_for_transcriptions_only(self, tenant: Tenant) -> None:
        call = lambda: self.create(sdk(tenant, "stt"), response_format="diarized_json")  # noqa: E731
        refused(call, openai.BadRequestError, "invalid_value", "response_format")


def test_readers_may_not_transcribe(tenant: Tenant) -> None:
    answer = Client(tenant.server, tenant.user("viewer").headers).post(
        "//v1/audio/transcriptions", files={"file": ("a.wav", silence(0.3))}, data={"model": "whisper-1"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
