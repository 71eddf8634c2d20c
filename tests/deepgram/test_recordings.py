"""POST /v1/listen with Deepgram's SDK: recordings as the body, and by their address."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import ipaddress
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from deepgram.core.api_error import ApiError
from deepgram.errors import BadRequestError
from django.test import override_settings

from analytics.models import Quota, UsageRecord
from openai_api.models import OpenAIAlias
from stt.models import SttJob
from tests.api.support import assert_nothing_was_kept, owned_clips, silence, wav
from tests.conftest import Tenant
from tests.deepgram.support import NO_RETRY, async_sdk, sdk
from tests.ml.stt_support import pcm_of

CLIP = owned_clips()["numbers.wav"]
CONTENT = CLIP.path.read_bytes()
SHORT = pcm_of(CLIP)[:25_600]
SHORT_TEXT = "one two three four"
LOCAL = {"WEBHOOK_ALLOWED_NETWORKS": [ipaddress.ip_network("127.0.0.0/8")]}


def transcribe(tenant: Tenant, request: bytes = CONTENT, **options: Any) -> Any:
    media = sdk(tenant).listen.v1.media
    return media.transcribe_file(request=request, **{"model": "nova-3", **options}, request_options=NO_RETRY)


def refusal(raised: pytest.ExceptionInfo[ApiError]) -> tuple[int | None, str]:
    body = raised.value.body
    assert body["err_msg"]
    assert body["request_id"]
    return raised.value.status_code, body["err_code"]


def test_recording(tenant: Tenant) -> None:
    answer = transcribe(
        tenant, smart_format=True, utterances=True, paragraphs=True, detect_language=True, tag=["night", "lab"],
        extra=["case:7"], keyterm=["ten"],
    )  # fmt: skip
    job = SttJob.objects.select_related("transcription").get(organization=tenant.organization)
    assert answer.metadata.request_id == str(job.id)
    assert answer.metadata.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (answer.metadata.channels, answer.metadata.tags) == (1, ["night", "lab"])
    assert answer.metadata.extra == {"case": "7"}
    assert answer.metadata.model_info[answer.metadata.models[0]]["name"] == job.model
    (channel,) = answer.results.channels
    (best,) = channel.alternatives
    assert best.transcript == job.transcription.text == "One two three four five six seven eight nine ten."
    assert best.confidence == pytest.approx(job.transcription.confidence, abs=0.001)
    assert channel.detected_language == "en"
    assert [word.word for word in best.words] == CLIP.text.split()
    assert best.words[0].punctuated_word == "One"
    starts = [word.start for word in best.words]
    assert starts == sorted(starts)
    assert [utterance.transcript for utterance in answer.results.utterances] == [best.transcript]
    assert best.paragraphs.paragraphs[0].num_words == 10
    usage = UsageRecord.objects.get(job_id=job.id)
    assert float(usage.audio_seconds) == pytest.approx(CLIP.seconds, abs=0.05)


def test_async_with_deepgrams_defaults(tenant: Tenant) -> None:
    client = async_sdk(tenant)
    answer = asyncio.run(client.listen.v1.media.transcribe_file(request=wav(SHORT / 32768), model="nova-3"))
    (best,) = answer.results.channels[0].alternatives
    assert best.transcript == SHORT_TEXT
    assert not any(hasattr(word, "punctuated_word") for word in best.words)
    assert answer.results.utterances is None


@pytest.mark.parametrize("encoding", ["linear16", "linear32"])
def test_raw_samples(tenant: Tenant, encoding: str) -> None:
    data = SHORT.tobytes() if encoding == "linear16" else (SHORT / 32768).astype("<f4").tobytes()
    raw = {"additional_query_parameters": {"sample_rate": 16_000}, **NO_RETRY}
    media = sdk(tenant).listen.v1.media
    answer = media.transcribe_file(request=data, model="nova-3", encoding=encoding, request_options=raw)
    assert answer.results.channels[0].alternatives[0].transcript == SHORT_TEXT


def test_channels_one_by_one(tenant: Tenant) -> None:
    left = SHORT / 32768
    answer = transcribe(tenant, wav(np.stack([left, np.zeros_like(left)], axis=1)), multichannel=True, utterances=True)
    texts = [channel.alternatives[0].transcript for channel in answer.results.channels]
    assert texts == [SHORT_TEXT, ""]
    assert answer.metadata.channels == 2
    assert [(utterance.channel, utterance.speaker) for utterance in answer.results.utterances] == [(0, None)]


def test_names_of_models(tenant: Tenant) -> None:
    OpenAIAlias.objects.create(organization=tenant.organization, kind="stt", name="ours", target="pocketsphinx-en-us")
    quiet = silence(0.3)
    for name in ("ours", "pocketsphinx-en-us", "nova-2-phonecall", "2-general-nova", "whisper-large"):
        assert transcribe(tenant, quiet, model=name).results.channels[0].alternatives[0].transcript == ""
    with override_settings(DEEPGRAM_MODELS={"nova-3": "nowhere"}), pytest.raises(BadRequestError) as raised:
        transcribe(tenant, quiet)
    assert refusal(raised) == (400, "INVALID_QUERY_PARAMETER")


# ── By address ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a web server that has a recording, redirects to it, and more."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            places = {
                "/moved": "/clip.wav", "/round": "/round", "/inside": "http://10.0.0.1/clip.wav", "/torn": "http://[",
            }  # fmt: skip
            if self.path in places:
                self.send_response(302)
                self.send_header("Location", places[self.path])
            elif self.path == "/clip.wav":
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
            else:
                self.send_response(404)
            self.end_headers()
            if self.path == "/clip.wav":
                self.wfile.write(wav(SHORT / 32768))

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def by_address(tenant: Tenant, url: str) -> Any:
    media = sdk(tenant).listen.v1.media
    return media.transcribe_url(url=url, model="nova-3", request_options=NO_RETRY)


def test_address(tenant: Tenant, address: str) -> None:
    with override_settings(**LOCAL):
        answer = by_address(tenant, f"{address}/moved")
    assert answer.results.channels[0].alternatives[0].transcript == SHORT_TEXT
    assert answer.metadata.sha256 == hashlib.sha256(wav(SHORT / 32768)).hexdigest()


def test_addresses_that_are_refused(tenant: Tenant, address: str) -> None:
    """The guard of webhooks holds, also behind a redirection."""
    with pytest.raises(BadRequestError) as raised:
        by_address(tenant, f"{address}/clip.wav")
    assert refusal(raised) == (400, "REMOTE_CONTENT_ERROR")
    assert "may not reach" in raised.value.body["err_msg"]
    for path in ("/inside", "/round", "/torn", "/nothing"):
        with override_settings(**LOCAL), pytest.raises(BadRequestError) as raised:
            by_address(tenant, address + path)
        assert refusal(raised) == (400, "REMOTE_CONTENT_ERROR")
    with override_settings(**LOCAL, STT_MAX_UPLOAD_BYTES=1000), pytest.raises(ApiError) as raised:
        by_address(tenant, f"{address}/clip.wav")
    assert refusal(raised) == (413, "PAYLOAD_TOO_LARGE")
    for url in ("file:///etc/passwd", "ftp://example.com/a.wav", "nonsense"):
        with pytest.raises(BadRequestError) as raised:
            by_address(tenant, url)
        assert refusal(raised) == (400, "REMOTE_CONTENT_ERROR")
    assert_nothing_was_kept(tenant)


# ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("request_", "options", "code"),
    [
        (b"", {}, "Bad Request"),
        (b"no sound at all", {}, "Bad Request"),
        (CONTENT, {"model": "nobody"}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"language": "klingon"}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"redact": "ssn"}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"summarize": "v2"}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"callback": "https://example.com"}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"diarize": True}, "INVALID_QUERY_PARAMETER"),
        (CONTENT, {"multichannel": True}, "INVALID_QUERY_PARAMETER"),
    ],
)
def test_bad_requests(tenant: Tenant, request_: bytes, options: dict[str, Any], code: str) -> None:
    with pytest.raises(BadRequestError) as raised:
        transcribe(tenant, request_, **options)
    assert refusal(raised) == (400, code)
    assert not UsageRecord.objects.filter(organization=tenant.organization, audio_seconds__gt=0).exists()


def test_who_may_not(tenant: Tenant) -> None:
    def status(client: Any) -> tuple[int | None, str]:
        with pytest.raises(ApiError) as raised:
            client.listen.v1.media.transcribe_file(request=silence(0.3), model="nova", request_options=NO_RETRY)
        return refusal(raised)

    assert status(sdk(tenant, api_key="sp_wrong")) == (401, "INVALID_AUTH")
    assert status(sdk(tenant, "tts")) == (403, "INSUFFICIENT_PERMISSIONS")
    key = tenant.new_key("stt")[1]
    with override_settings(STT_MAX_UPLOAD_BYTES=1000):
        assert status(sdk(tenant, access_token=key)) == (413, "PAYLOAD_TOO_LARGE")
    Quota.objects.create(organization=tenant.organization, monthly_audio_seconds=0)
    assert status(sdk(tenant, access_token=key)) == (402, "ASR_PAYMENT_REQUIRED")
    form = tenant.key("stt").post("//v1/listen", files={"audio": ("a.wav", CONTENT)})
    assert (form.status_code, form.json()["err_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_repeated_requests_are_billed_once(tenant: Tenant) -> None:
    client = tenant.key("stt")
    answers = [
        client.post("//v1/listen?model=nova-3", content=silence(0.3), headers={"Idempotency-Key": "one"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert UsageRecord.objects.filter(organization=tenant.organization).count() == 1
