"""clients/javascript: in Node, and its example page in Chromium with a recording for a microphone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from stt.models import SttJob
from tests.api.support import owned_clips, wav
from tests.clients.support import numbers, short_recording
from tests.conftest import ROOT, Tenant
from tests.dashboard.kit import ARGUMENTS, CHROMIUM
from tests.ml.stt_support import pcm_of
from tts.models import TtsJob

CLIENT = ROOT / "clients" / "javascript"
CLIP = owned_clips()["president.mp3"]


def node() -> list[str]:
    """A Node of the system's, or the one that Playwright brings along."""
    from playwright._impl._driver import compute_driver_executable

    found = shutil.which("node") or compute_driver_executable()[0]
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.lstrip("v").split(".")[0])
    if major < 20:
        pytest.skip(f"Node {version.strip()} is too old")
    return [found, *(["--experimental-websocket"] if major < 22 else [])]


@pytest.fixture
def environment(server: str, api_key: str) -> dict[str, str]:
    return {**os.environ, "SPEECH_URL": server, "SPEECH_API_KEY": api_key, "PORT": "0", "NODE_NO_WARNINGS": "1"}


def test_in_node(organization: Tenant, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "short.wav").write_bytes(short_recording())
    (tmp_path / "sound.wav").write_bytes(wav(numbers(1.2) / 32768))
    command = [
        *node(),
        str(Path(__file__).with_name("node_journey.mjs")),
        tmp_path / "short.wav",
        tmp_path / "sound.wav",
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)

    types = "".join(path.read_text() for path in (CLIENT / "types").glob("*.d.ts"))
    missing = [name for name in told["names"] if not re.search(rf"\b{name}\b", types)]
    assert not missing, "not in types/: npm run types"
    assert (told["spoken"]["rate"], told["flac"]) == (16_000, "fLaC")
    job = TtsJob.objects.get(id=told["spoken"]["jobId"], organization=organization.organization)
    assert job.status == "succeeded"
    assert told["spoken"]["bytes"] == pytest.approx(job.duration_seconds * 32_000, rel=0.05)
    assert told["transcription"]["text"] == told["waited"]["text"] != ""
    assert (told["transcription"]["filename"], " --> " in told["srt"]) == ("a.wav", True)
    assert told["transcription"]["timestamps"][0]["words"]
    assert (told["states"], told["gone"][0]) == (["queued", "succeeded"], 404)
    assert "espeak:en-gb" in told["voices"]

    assert told["session"][0] == told["session"][1]
    kinds = [event["type"] for event in told["events"]]
    assert (kinds[0], kinds[-2:]) == ("speech_started", ["usage", "closed"])
    assert SttJob.objects.get(id=told["session"][0]).status == "succeeded"

    assert told["usedToken"][1:3] == ["permission_error", "client_token_used"]
    assert told["wrongRate"][1:] == ["invalid_request_error", "parameter_min_value", "sample_rate", True]
    assert told["wrongVoice"][1:] == ["invalid_request_error", "voice_not_found", "voice", True]
    assert told["stranger"][:3] == [401, "authentication_error", "api_key_invalid"]
    assert (told["nobody"], told["aborted"]) == ("ConnectionFailed", "AbortError")
    assert (len(told["repeated"]["keys"]), len(set(told["repeated"]["keys"])), told["repeated"]["replayed"]) == (
        2,
        1,
        "true",
    )


@pytest.fixture
def example(environment: dict[str, str]) -> Iterator[str]:
    """The URL of the example's own server, in which the key stays."""
    command = [node()[0], str(CLIENT / "example" / "server.mjs")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.fixture
def page(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no Chromium here: apt install chromium-headless-shell, or set CHROMIUM")
    (tmp_path / "voice.wav").write_bytes(wav(pcm_of(CLIP) / 32768))
    microphone = f"--use-file-for-fake-audio-capture={tmp_path / 'voice.wav'}%noloop"
    problems: list[str] = []
    # Playwright's synchronous API keeps an event loop in this thread, where Django would refuse to query.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, microphone])
        page = browser.new_page(base_url=example)
        page.set_default_timeout(60_000)
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert not problems


def test_page_listens_and_speaks(organization: Tenant, page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Listen").click()
    expect(page.locator("#heard")).to_contain_text("market", timeout=60_000)
    expect(page.locator("#final")).not_to_be_empty(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Listen")).to_be_visible(timeout=60_000)
    heard = page.locator("#final").inner_text()
    found = set(re.findall(r"[a-z]+", heard.lower())) & set(CLIP.text.split())
    assert len(found) >= 6, heard  # a busy machine's sound card loses some at the beginning

    page.get_by_label("Text").fill("This is heard while it is made.")
    page.get_by_role("button", name="Speak").click()
    page.locator("body[data-spoken-seconds]").wait_for(timeout=60_000)
    spoken = float(page.locator("body").get_attribute("data-spoken-seconds") or 0)
    assert not page.locator("#problem").inner_text()

    jobs = {"organization": organization.organization, "status": "succeeded"}
    session = SttJob.objects.filter(**jobs).latest("created_at")
    assert session.transcription.text == heard.strip()
    job = TtsJob.objects.filter(**jobs).latest("created_at")
    assert (job.text, job.duration_seconds) == ("This is heard while it is made.", pytest.approx(spoken, abs=0.1))
