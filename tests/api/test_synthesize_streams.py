"""Streamed speech: each format is decoded again and played by a browser, and freed when nobody listens any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from analytics import quota
from analytics.models import Reservation
from jobs.monitor import monitor
from ml.audio import CONTENT_TYPES
from tests.api.support import decode
from tests.api.test_synthesize import LONG, _settled
from tests.conftest import Client, Tenant
from tts.models import TtsJob

SPOKEN = "Streams are played while they are made, and so this one is. It has a second sentence too."
CONTAINERS = ["wav", "mp3", "opus", "aac", "flac"]


def _request(format_name: str, text: str = SPOKEN, **fields: Any) -> dict[str, Any]:
    return {"text": text, "format": format_name, "stream": True, **fields}


# ── The bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format_name", CONTAINERS)
def test_sounds_before_the_text_is_spoken(tenant: Tenant, format_name: str) -> None:
    with tenant.key("tts").stream("POST", "/tts/synthesize", json=_request(format_name, LONG)) as answer:
        assert answer.headers["Content-Type"] == CONTENT_TYPES[format_name]
        assert "Content-Length" not in answer.headers
        received = b""
        for piece in answer.iter_raw():
            received += piece
            if len(received) > 4_000:
                break
        assert TtsJob.objects.get(id=answer.headers["X-Job-ID"]).status == "processing"
        sound = decode(received)
    assert sound.seconds > 0.1
    assert sound.loudness > 0.001
    assert _settled(answer.headers["X-Job-ID"]).status == "cancelled"


@pytest.mark.parametrize("format_name", CONTAINERS)
def test_the_stream_says_what_the_file_says(tenant: Tenant, format_name: str) -> None:
    client = tenant.key("tts")
    rate = 24_000
    with client.stream("POST", "/tts/synthesize", json=_request(format_name, sample_rate=rate)) as answer:
        streamed = decode(answer.read())
    job = client.post("/tts/synthesize", json={"text": SPOKEN, "format": "wav", "sample_rate": rate}).json()
    whole = decode(client.get(job["audio_url"]).content)
    assert streamed.seconds == pytest.approx(whole.seconds, abs=0.3)
    assert streamed.loudness == pytest.approx(whole.loudness, rel=0.1)


# ── A browser ───────────────────────────────────────────────────────────────────────────────────────────────────────

_PLAY = """async (address) => {
    const audio = new Audio(address);
    const told = name => new Promise((done, failed) => {
        audio.addEventListener(name, done, {once: true});
        audio.addEventListener('error', () => failed(audio.error.message), {once: true});
    });
    const [playing, ended] = [told('playing'), told('ended')];
    await audio.play();
    await playing;
    audio.playbackRate = 4;
    await ended;
    return {duration: audio.duration, position: audio.currentTime};
}"""


@contextmanager
def _relay(client: Client) -> Iterator[str]:
    """A page and, at /<format>, a stream of that format, passed on byte by byte: `<audio>` can only GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            self.send_response(200)
            if name not in CONTENT_TYPES:
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>player</title>")
                return
            with client.stream("POST", "/tts/synthesize", json=_request(name)) as answer:
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                for piece in answer.iter_raw():
                    self.wfile.write(piece)

        def log_message(self, format: str, *values: Any) -> None:
            """Nothing: a browser asks for icons too."""

    relay = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{relay.server_address[1]}"
    finally:
        relay.shutdown()
        relay.server_close()


def test_a_browser_plays_every_container(tenant: Tenant) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    from tests.dashboard.kit import CHROMIUM

    seconds = decode(tenant.key("tts").post("/tts/synthesize", json=_request("wav")).content).seconds
    options = ["--no-sandbox", "--disable-background-networking", "--autoplay-policy=no-user-gesture-required"]
    with _relay(tenant.key("tts")) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.goto(address)
        played = {name: page.evaluate(_PLAY, f"{address}/{name}") for name in CONTAINERS}
        browser.close()
    for name, heard in played.items():
        assert heard["position"] == pytest.approx(seconds, abs=0.4), name
        assert heard["duration"] > 1, name


# ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format_name", ["pcm", "opus"])
def test_leaving_frees_everything_and_bills_what_was_spoken(tenant: Tenant, format_name: str) -> None:
    quota.set_quota(organization=tenant.organization, monthly_characters=1_000_000)
    client = tenant.key("tts")
    threads = threading.active_count()
    for _ in range(3):
        with client.stream("POST", "/tts/synthesize", json=_request(format_name, LONG)) as answer:
            assert next(answer.iter_raw())
        job = _settled(answer.headers["X-Job-ID"])
        assert (job.status, job.error_code) == ("cancelled", "client_disconnected")
    period = quota.period_of(tenant.organization.id)
    assert period is not None
    assert period.reserved_characters == 0
    assert 0 < period.used_characters < 3 * len(LONG)
    assert not Reservation.objects.filter(organization=tenant.organization).exists()
    assert not [watch for watch in monitor._watches if watch.job.organization_id == tenant.organization.id]
    assert threading.active_count() <= threads + 4  # pools' threads, which stay


def test_a_stream_is_not_cut_short_by_another_tenants_leaving(tenant: Tenant, other_tenant: Tenant) -> None:
    with tenant.key("tts").stream("POST", "/tts/synthesize", json=_request("pcm", LONG[:4_000])) as mine:
        pieces = mine.iter_raw()
        received = next(pieces)
        with other_tenant.key("tts").stream("POST", "/tts/synthesize", json=_request("pcm", LONG)) as theirs:
            assert next(theirs.iter_raw())
        received += b"".join(pieces)
    job = TtsJob.objects.get(id=mine.headers["X-Job-ID"])
    assert job.status == "succeeded"
    assert len(received) / 2 / job.sample_rate == pytest.approx(job.duration_seconds, abs=0.001)
    assert np.frombuffer(received, "<i2").any()
