"""GET /media/<token>/<name>: what `audio_url` points to."""

from __future__ import annotations

import re

import pytest
from django.core import signing
from django.core.files.storage import default_storage
from pytest_django.fixtures import Settings

from tests.api.support import wav
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob


@pytest.fixture
def url(tenant: Tenant) -> str:
    return tenant.key("tts").post("/tts/synthesize", json={"text": "Hello there."}).json()["audio_url"]


@pytest.fixture
def content(url: str, anonymous: Client) -> bytes:
    return anonymous.get(url).content


def test_is_absolute_and_needs_no_credential(tenant: Tenant, url: str, anonymous: Client) -> None:
    assert url.startswith(f"{tenant.server}/api/v1/media/")
    answer = anonymous.get(url)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]


def test_key_is_unguessable_and_not_in_the_open(tenant: Tenant, url: str) -> None:
    key = TtsJob.objects.get(organization=tenant.organization).audio_key
    assert re.fullmatch(rf"{tenant.organization.id}/tts/\d{{4}}/\d\d/[\w-]{{32}}\.wav", key)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, None),
        ("bytes=-50", -50, None),
        ("bytes=10-999999999", 10, None),
        ("bytes=-999999999", 0, None),
    ],
)
def test_range(url: str, content: bytes, anonymous: Client, header: str, first: int, last: int | None) -> None:
    answer = anonymous.get(url, headers={"Range": header})
    assert answer.status_code == 206
    expected = content[first:last]
    assert answer.content == expected
    start = first % len(content)
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{len(content)}"
    assert int(answer.headers["Content-Length"]) == len(expected)


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
def test_range_outside(url: str, content: bytes, anonymous: Client, header: str) -> None:
    answer = anonymous.get(url, headers={"Range": header})
    error_of(answer, 416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


@pytest.mark.parametrize(
    "header", ["bytes=-", "bytes=a-b", "seconds=0-1", "bytes=0-1,5-6", "x", "bytes=0-" + "9" * 5000]
)
def test_other_ranges_are_ignored(url: str, content: bytes, anonymous: Client, header: str) -> None:
    answer = anonymous.get(url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, content)


def test_head(url: str, content: bytes, anonymous: Client) -> None:
    answer = anonymous.head(url)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) == len(content)
    partial = anonymous.head(url, headers={"Range": "bytes=0-9"})
    assert (partial.status_code, partial.headers["Content-Length"]) == (206, "10")


def test_changed_token_does_not_exist(url: str, anonymous: Client) -> None:
    head, token, name = url.rsplit("/", 2)
    other = signing.dumps("secret", salt="another purpose")
    for wrong in (token[:-1], token + "x", token.replace(":", "."), token[1:], other, "x", "%00", "..%2f" * 9):
        error_of(anonymous.get(f"{head}/{wrong}/{name}"), 404, "not_found")


def test_expires(url: str, anonymous: Client, settings: Settings) -> None:
    settings.AUDIO_URL_TTL_SECONDS = 0
    error_of(anonymous.get(url), 404, "link_expired")


def test_deleted_audio(tenant: Tenant, url: str, anonymous: Client) -> None:
    default_storage.delete(TtsJob.objects.get(organization=tenant.organization).audio_key)
    for headers in ({}, {"Range": "bytes=0-9"}):
        error_of(anonymous.get(url, headers=headers), 404, "audio_deleted")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_is_read_only(url: str, anonymous: Client, method: str) -> None:
    error_of(anonymous.request(method, url), 405, "method_not_allowed")


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "script.js", "style.xml", "x.php"])
def test_upload_never_becomes_a_page(tenant: Tenant, anonymous: Client, name: str) -> None:
    """A recording may hold any bytes; a browser must not run them as a page of this site."""
    import numpy as np

    tone = np.sin(np.arange(16_000) / 10) * 0.1
    job = tenant.key("stt").post("/stt/transcribe", files={"audio_file": (name, wav(tone), "text/html")}).json()
    answer = anonymous.get(job["audio_url"])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
