"""What OpenAI clients do that the official Python SDK does not: curl, Node and browsers."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import httpx
import pytest

from tests.api.support import owned_clips, silence
from tests.conftest import Tenant

pytestmark = pytest.mark.usefixtures("whisper")

CLIP = owned_clips()["president.mp3"]
ORIGIN = "https://app.example.com"


def post(tenant: Tenant, body: bytes, boundary: str) -> httpx.Response:
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return tenant.key("stt").post("//v1/audio/transcriptions", content=body, headers=headers)


def part(boundary: str, disposition: str, content: bytes, *lines: str) -> bytes:
    head = "\r\n".join([f"--{boundary}", f"Content-Disposition: form-data; {disposition}", *lines])
    return head.encode() + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("format_name", ["json", "text", "verbose_json"])
def test_curl(tenant: Tenant, format_name: str) -> None:
    """The command of OpenAI's documentation."""
    command = [
        "curl", "-sS", "-i", f"{tenant.server}/v1/audio/transcriptions", "--noproxy", "*",
        "-H", f"Authorization: Bearer {tenant.new_key('stt')[1]}", "-H", "Content-Type: multipart/form-data",
        "-F", f"file=@{CLIP.path}", "-F", "model=whisper-1", "-F", f"response_format={format_name}",
    ]  # fmt: skip
    if format_name == "verbose_json":
        command += ["-F", "timestamp_granularities[]=word"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "market will be open again" in output
    content_type = re.search(r"content-type: (.*)", output, flags=re.I)
    assert content_type is not None
    assert content_type[1].strip() == ("text/plain; charset=utf-8" if format_name == "text" else "application/json")


def test_fields_before_the_file_and_node_names(tenant: Tenant) -> None:
    """Node's FormData: the fields in the order of the object, arrays with [], a Blob without a type."""
    boundary = "----formdata-undici-0123456789"
    body = (
        part(boundary, 'name="model"', b"whisper-1")
        + part(boundary, 'name="response_format"', b"verbose_json")
        + part(boundary, 'name="timestamp_granularities[]"', b"word")
        + part(boundary, 'name="timestamp_granularities[]"', b"segment")
        + part(boundary, 'name="chunking_strategy[type]"', b"server_vad")
        + part(boundary, 'name="chunking_strategy[threshold]"', b"0.5")
        + part(boundary, 'name="file"; filename="blob"', CLIP.path.read_bytes(), "Content-Type: audio/webm")
        + f"--{boundary}--\r\n".encode()
    )  # fmt: skip
    answer = post(tenant, body, boundary)
    assert answer.status_code == 200, answer.text
    assert {"words", "segments"} <= set(answer.json())


@pytest.mark.parametrize(
    "data",
    [
        {"timestamp_granularities": ["word", "segment"]},
        {"timestamp_granularities": '["word","segment"]'},
        {"timestamp_granularities[]": ["word", "segment"], "chunking_strategy": '{"type":"server_vad"}'},
        {"timestamp_granularities[]": ["word", "segment"], "language": "", "prompt": "", "temperature": ""},
    ],
    ids=["repeated", "as JSON", "strategy as JSON", "empty fields"],
)
def test_ways_to_write_the_same(tenant: Tenant, data: dict[str, Any]) -> None:
    answer = tenant.key("stt").post(
        "//v1/audio/transcriptions", files={"file": ("a.mp3", CLIP.path.read_bytes())},
        data={"model": "whisper-1", "response_format": "verbose_json", **data},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert {"words", "segments"} <= set(answer.json())


def test_a_file_without_a_name_is_no_file(tenant: Tenant) -> None:
    boundary = "b"
    body = part(boundary, 'name="model"', b"whisper-1") + part(boundary, 'name="file"', b"RIFF") + b"--b--\r\n"
    answer = post(tenant, body, boundary)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["type"]) == (400, "file", "invalid_request_error")


def test_a_form_that_ends_too_soon(tenant: Tenant) -> None:
    answer = post(tenant, part("b", 'name="file"; filename="a.wav"', silence(0.3))[:200], "b")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_recording_that_is_too_large_is_not_received(tenant: Tenant, settings: Any) -> None:
    settings.STT_MAX_UPLOAD_BYTES = 1000
    answer = tenant.key("stt").post(
        "//v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", bytes(20 * 1024 * 1024))}
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (413, "file_too_large", "file")
    assert error["message"].startswith("The request has ")


def test_an_organisation_that_keeps_nothing_is_answered(tenant: Tenant) -> None:
    tenant.user("owner").patch("/organization", json={"audio_retention_days": 0, "transcript_retention_days": 0})
    key = tenant.key()
    for data in ({"response_format": "text"}, {"stream": "true"}):
        answer = key.post(
            "//v1/audio/transcriptions", data={"model": "whisper-1", **data}, headers={"Idempotency-Key": str(data)},
            files={"file": ("a.mp3", CLIP.path.read_bytes())},
        )  # fmt: skip
        assert "market will be open again" in answer.text
    again = key.post(
        "//v1/audio/transcriptions", data={"model": "whisper-1", "stream": "true"},
        files={"file": ("a.mp3", CLIP.path.read_bytes())}, headers={"Idempotency-Key": str({"stream": "true"})},
    )  # fmt: skip
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_answer_not_kept")
    spoken = key.post("//v1/audio/speech", json={"model": "tts-1", "voice": "alloy", "input": "Hi."})
    assert (spoken.status_code, len(spoken.content) > 1000) == (200, True)


def test_head_and_options(tenant: Tenant) -> None:
    key = tenant.key()
    head = key.request("HEAD", "//v1/models")
    assert (head.status_code, head.content) == (200, b"")
    assert "POST" in key.request("OPTIONS", "//v1/audio/speech").headers["Allow"]


def test_browsers(tenant: Tenant, settings: Any) -> None:
    """The SDK with `dangerouslyAllowBrowser` sends headers that a preflight has to grant."""
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    sent = (
        "authorization, content-type, x-stainless-arch, x-stainless-lang, x-stainless-os, x-stainless-package-version, "
        "x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout, "
        "openai-organization, openai-project"
    )
    preflight = httpx.options(
        f"{tenant.server}/v1/audio/transcriptions", trust_env=False,
        headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": sent},
    )  # fmt: skip
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    granted = {name.strip() for name in preflight.headers["Access-Control-Allow-Headers"].split(",")}
    assert set(sent.split(", ")) <= granted
    answer = tenant.key("stt").get("//v1/models", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "x-request-id" in answer.headers["Access-Control-Expose-Headers"]
    refused = tenant.key("stt").get("//v1/nothing", headers={"Origin": ORIGIN})
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
