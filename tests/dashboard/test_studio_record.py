"""Studio, speech to text from the microphone: a browser whose microphone plays a recording."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from common import storage
from stt.models import SttJob
from tests.api.support import owned_clips, wav, word_error_rate
from tests.conftest import Tenant
from tests.dashboard.kit import ARGUMENTS, CHROMIUM, Chromium, check, toast, until
from tests.ml.stt_support import pcm_of

QUIET = [argument for argument in ARGUMENTS if "media-stream" not in argument]
SAID = owned_clips()["president.mp3"]
PAGE = "/dashboard/studio/listen"


@pytest.fixture
def speaking(browser_process: Browser, server: str, tmp_path: Path) -> Iterator[Chromium]:
    """A browser into whose microphone somebody says `SAID`, once, three seconds after it is opened."""
    spoken = tmp_path / "spoken.wav"
    spoken.write_bytes(wav(np.concatenate([np.zeros(48_000), pcm_of(SAID) / 32768, np.zeros(16_000)])))
    yield from _started(browser_process, server, *ARGUMENTS, f"--use-file-for-fake-audio-capture={spoken}%noloop")


def _started(browser: Browser, server: str, *arguments: str) -> Iterator[Chromium]:
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=list(arguments))
    opened = Chromium(other, server)
    yield opened
    opened.close()
    other.close()
    assert not opened.problems, opened.problems


def test_words_appear_while_somebody_speaks(tenant: Tenant, speaking: Chromium) -> None:
    page = speaking.sign_in(tenant, "developer")
    page.goto(PAGE)
    page.get_by_label("Language").select_option("en")
    page.get_by_role("button", name="Record").click()
    expect(page.locator("[data-partial]")).not_to_be_empty(timeout=60_000)
    until(page, "document.querySelector('[data-level]').value > 0.2")
    check(page, "studio-record")
    expect(page.locator("[data-finals]")).not_to_be_empty(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("[data-record] [role=status]")).to_have_text("Saved as a job.", timeout=60_000)
    said = page.locator("[data-finals]").inner_text().split()

    job = SttJob.objects.select_related("transcription", "audio").get(organization=tenant.organization)
    assert job.status == "succeeded"
    assert job.transcription.text.split() == said
    # Live, the embedded recogniser may mishear a voice's first sentence; the recording says what came in.
    with storage.local_copy(job.audio.key) as path:
        files = {"audio_file": ("kept.wav", path.read_bytes())}
    again = tenant.key("stt").post("/stt/transcribe", files=files).json()
    assert word_error_rate([SAID.text], [again["text"]]) <= 0.4, again["text"]
    assert job.options["language_hint"] == "en"
    expect(page.locator("#latest li").first).to_be_visible()
    page.get_by_role("link", name="Open the transcript").click()
    _hear_a_word(page)


def _hear_a_word(page: Page) -> None:
    """The words are in step with the recording."""
    until(page, "document.querySelector('[data-audio]')?.readyState >= 1")
    word = page.locator(".segment .word").nth(1)
    at, end = (float(word.get_attribute(name) or 0) for name in ("data-from", "data-to"))
    word.click()
    until(page, f"document.querySelector('[data-audio]').currentTime > {at}")  # it plays from there on
    assert page.evaluate("document.querySelector('[data-audio]').currentTime") < end + 5
    assert page.evaluate("document.querySelector('[data-audio]').duration") >= end


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream=deny"], "may not use the microphone"),
        (["--use-fake-ui-for-media-stream"], "No microphone was found"),
    ],
)
def test_says_what_is_wrong_with_the_microphone(
    tenant: Tenant, browser_process: Browser, server: str, arguments: list[str], message: str
) -> None:
    for opened in _started(browser_process, server, *QUIET, *arguments):
        page = opened.sign_in(tenant, "developer")
        page.goto(PAGE)
        page.get_by_role("button", name="Record").click()
        assert message in toast(page)
        expect(page.get_by_role("button", name="Record")).to_be_visible()
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


def test_says_what_is_wrong_with_the_request(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto(PAGE)
    page.get_by_label("Words to favour").fill(",".join(f"word{number}" for number in range(300)))
    page.get_by_role("button", name="Record").click()
    assert "200 phrases" in toast(page)
    expect(page.get_by_role("button", name="Record")).to_be_visible()
