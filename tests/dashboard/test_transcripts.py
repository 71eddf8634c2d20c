"""Long transcripts: the page carries a part and fetches the rest when it is needed; all that it does works anywhere."""

from __future__ import annotations

import io
import re
from html import unescape

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from common import storage
from dashboard import transcripts
from ml.audio.encode import encode_to_file
from ml.types import AudioChunk
from stt import editing
from stt.models import AudioFile, SttJob, Transcription
from tests.browser import signed_in
from tests.conftest import Tenant
from tests.dashboard.kit import MOST_BYTES, Chromium, check, few_queries, screenshot, toast, until

WORDS = 27_000
SECONDS_A_WORD = 0.1  # of somebody in a hurry: their recording is made sooner
IN_SEGMENT = 12
SAYINGS = ("perhaps", "we", "should", "listen", "to", "the", "harbour", "before", "it", "rains", "again", "tomorrow")


def _segment(first: int, count: int = IN_SEGMENT) -> dict:
    words = [
        {
            "text": SAYINGS[number % len(SAYINGS)] if number % 100 else f"mark{number}",
            "start": number * SECONDS_A_WORD, "end": (number + 0.9) * SECONDS_A_WORD,
            "confidence": 0.3 if number % 17 == 0 else 0.6 if number % 11 == 0 else 0.95,
        }
        for number in range(first, first + count)
    ]  # fmt: skip
    return {
        "start": words[0]["start"], "end": words[-1]["end"], "text": " ".join(word["text"] for word in words),
        "confidence": 0.9, "speaker": f"Speaker {first // 120 % 2 + 1}", "words": words,
    }  # fmt: skip


SEGMENTS = [_segment(first) for first in range(0, WORDS, IN_SEGMENT)]
FEWER = SEGMENTS[:300]  # where parts are counted: each is a request
FEWER_TEXT = " ".join(segment["text"] for segment in FEWER)


@pytest.fixture(scope="module")
def silence() -> bytes:
    """As long as the transcript; the recognisers are not asked, and a browser plays it as any recording."""
    minute = AudioChunk(samples=np.zeros(60 * 8000, np.int16), sample_rate=8000, text="")
    content = io.BytesIO()
    encode_to_file([minute] * round(WORDS * SECONDS_A_WORD / 60), "flac", content, sample_rate=8000)
    return content.getvalue()


def _transcribed(tenant: Tenant, silence: bytes, segments: list[dict]) -> SttJob:
    key = storage.new_key(tenant.organization.id, "stt", "flac")
    storage.save(key, io.BytesIO(silence))
    audio = AudioFile.objects.create(
        organization=tenant.organization, filename="meeting.flac", content_type="audio/flac",
        size_bytes=len(silence), key=key,
    )  # fmt: skip
    job = SttJob.objects.create(
        organization=tenant.organization, status="succeeded", audio=audio, duration_seconds=WORDS * SECONDS_A_WORD
    )
    Transcription.objects.create(
        organization=tenant.organization, job=job, text=" ".join(each["text"] for each in segments), language="en",
        language_confidence=1, confidence=0.9, segments=segments, model_used="pocketsphinx-en-us", quality={},
        stages=[],
    )  # fmt: skip
    return job


@pytest.fixture
def long(tenant: Tenant, silence: bytes) -> SttJob:
    return _transcribed(tenant, silence, SEGMENTS)


@pytest.fixture
def shorter(tenant: Tenant, silence: bytes) -> SttJob:
    return _transcribed(tenant, silence, FEWER)


def _address(job: SttJob, part: int | None = None) -> str:
    return f"/dashboard/jobs/stt/{job.id}" + (f"/transcript/{part}" if part else "")


def _said(html: str) -> str:
    """What a part says, without times and speakers."""
    passages = re.findall(r"<p>(.*?)</p>", html, flags=re.DOTALL)
    bare = (re.sub(r"<strong.*?</strong>|<[^>]+>", "", passage) for passage in passages)
    return " ".join(unescape(" ".join(bare)).split())


def _carried(page: str) -> str:
    """What the part says that a page came with."""
    return _said(page[page.index("data-parts=") :].split("</ol>", 1)[0])


def test_parts_give_the_whole_transcript() -> None:
    """Whatever segments are like: short, huge, without words, in a script without spaces."""
    wordless = {**_segment(0, 1), "words": [], "text": "Somebody wrote this anew, at length. " * 200}
    unspaced = {**wordless, "text": "好" * 9000}
    for segments in (
        SEGMENTS,
        [_segment(0, 27_000)],
        [_segment(0), wordless, unspaced, _segment(24, 900), _segment(924)],
        [],
    ):
        found = transcripts.parts(segments)
        shown = [transcripts.pieces(segments, found, part.number) for part in found]
        texts = ["".join([*(f"{word.text} " for word in piece.words), piece.text]) for each in shown for piece in each]
        assert "".join("".join(texts).split()) == "".join("".join(each["text"] for each in segments).split())
        assert all(len(each) <= transcripts.PART_WORDS // transcripts.SEGMENT_WEIGHS for each in shown)
        assert all(sum(len(piece.words) for piece in each) <= transcripts.PART_WORDS for each in shown)
        assert all(sum(len(piece.text) for piece in each) <= 21 * transcripts.PART_WORDS for each in shown)
        starts = [part.start for part in found]
        assert starts == sorted(starts)
        found = transcripts.parts(segments, whole=True)
        edited = [piece.place for part in found for piece in transcripts.editable(segments, found, part.number)]
        assert edited == list(range(len(segments)))


def test_pages_follow_each_other_without_scripts(tenant: Tenant, shorter: SttJob) -> None:
    browser = signed_in(tenant, "viewer")
    said, following = [], ""
    for _ in range(3):  # the others are of the same kind: `test_fetches` has all of them
        page = browser.get(_address(shorter) + following).text
        assert len(page.encode()) <= 60_000  # scripts and styles beside it are 127 kB where waves are drawn
        said.append(_carried(page))
        link = re.search(r'rel="next" href="([^"#]+)', page)
        assert link
        following = unescape(link[1])
    assert FEWER_TEXT.startswith(" ".join(said))
    last = browser.get(f"{_address(shorter)}?part=999999").text
    assert FEWER_TEXT.endswith(_carried(last))
    assert 'rel="next"' not in last
    assert 'rel="prev"' in last


def test_fetches(tenant: Tenant, other_tenant: Tenant, shorter: SttJob) -> None:
    browser = signed_in(tenant, "viewer")
    count = len(transcripts.parts(FEWER))
    answers = [browser.get(_address(shorter, number)) for number in range(1, count + 1)]
    assert " ".join(_said(answer.text) for answer in answers) == FEWER_TEXT
    assert max(len(answer.content) for answer in answers) < 60_000
    assert answers[0].headers["cache-control"] == "private, no-cache"
    etag = answers[0].headers["etag"]
    again = browser.get(_address(shorter, 1), headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")

    for number in (0, count + 1):
        assert browser.get(f"{_address(shorter)}/transcript/{number}").status_code == 404
    stranger = signed_in(other_tenant, "owner")
    assert stranger.get(_address(shorter, 1)).status_code == 404
    assert stranger.get(_address(shorter, 1), headers={"If-None-Match": etag}).status_code == 404

    version = {"version": "0"}
    assert browser.get(_address(shorter, 1), params=version).status_code == 200
    editing.edit_transcription(actor=tenant.actor(), job=shorter, texts={0: "Quite another beginning."})
    assert browser.get(_address(shorter, 1), params=version).status_code == 409
    anew = browser.get(_address(shorter, 1), headers={"If-None-Match": etag})
    assert anew.status_code == 200
    assert "Quite another beginning." in anew.text


def test_a_part_costs_few_queries(tenant: Tenant, long: SttJob) -> None:
    from django.test import Client

    client = Client()
    client.force_login(tenant.member("viewer").user)
    with few_queries(8):
        etag = client.get(_address(long, 30))["ETag"]
    with few_queries(7):
        assert client.get(_address(long, 30), headers={"If-None-Match": etag}).status_code == 304


def test_seeks_to_the_end_and_corrects_there(tenant: Tenant, chromium: Chromium, long: SttJob) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto(_address(long))
    until(page, "document.querySelector('[data-audio]').duration > 2600")
    until(page, "document.querySelectorAll('.part:not([data-pending])').length > 1")  # what lies near
    assert page.locator(".part[data-pending]").count() > 60
    height = page.evaluate("document.documentElement.scrollHeight")
    check(page, "job-stt-long", most_bytes=MOST_BYTES)

    page.evaluate("document.querySelector('[data-audio]').currentTime = 2699.95")
    last = page.locator(".word.playing")
    expect(last).to_have_text(SAYINGS[(WORDS - 1) % len(SAYINGS)])
    assert float(last.get_attribute("data-from") or 0) == pytest.approx((WORDS - 1) * SECONDS_A_WORD)
    expect(last).to_be_in_viewport()
    screenshot(page, "job-stt-long-end")
    assert page.locator(".part[data-pending]").count() > 50  # what lies between is not fetched
    assert page.evaluate("document.documentElement.scrollHeight") == pytest.approx(height, rel=0.1)  # room was kept

    _plays_on(page)
    page.get_by_role("link", name="Correct").click()
    field = page.get_by_label(f"Segment {WORDS // IN_SEGMENT}", exact=True)
    expect(field).to_be_in_viewport()
    check(page, "job-stt-long-edit")
    field.fill("These are the last words.")
    page.get_by_role("button", name="Save").click()
    assert toast(page) == "The transcript was saved."
    expect(page.get_by_text("These are the last words.")).to_be_in_viewport()  # it leads back to where one was
    saved = Transcription.objects.get(job=long)
    assert saved.segments[:-1] == SEGMENTS[:-1]
    assert saved.text.endswith("These are the last words.")


def _plays_on(page: Page) -> None:
    """Into a part that is not here yet; then back to the end."""
    edge = transcripts.parts(SEGMENTS)[50].start
    page.evaluate(f"document.querySelector('[data-audio]').currentTime = {edge - 0.2}")
    page.evaluate("document.querySelector('[data-audio]').play()")
    until(page, f"Number(document.querySelector('.word.playing')?.dataset.from) > {edge}")
    expect(page.locator(".segment.playing")).to_be_in_viewport()
    page.evaluate("document.querySelector('[data-audio]').pause()")
    page.evaluate("document.querySelector('[data-audio]').currentTime = 2699.95")
    expect(page.locator(".segment").last).to_contain_class("playing")


def test_reaches_any_place(tenant: Tenant, chromium: Chromium, shorter: SttJob) -> None:
    """By scrolling, by a link to a moment, from a search, with the keyboard; and where a part does not come."""
    page = chromium.sign_in(tenant, "viewer")
    page.goto(f"{_address(shorter)}#t=180.03")
    expect(page.get_by_text("mark1800", exact=True)).to_be_in_viewport()
    page.goto(f"/dashboard/jobs?q={SAYINGS[0]}+mark2500")
    page.locator("tbody a").click()
    expect(page.locator(".word-found", has_text="mark2500")).to_be_in_viewport()

    page.goto(_address(shorter))
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 3)")
    seen = (
        "[...document.querySelectorAll('.part:not([data-pending])')].some(part => part.getBoundingClientRect().top > 0)"
    )
    until(page, seen)
    _refuse_and_try_again(page)
    page.keyboard.press("Control+f")
    until(page, "document.querySelectorAll('.part[data-pending]').length === 0")
    assert page.locator("[data-parts] .word").count() == len(FEWER) * IN_SEGMENT


def test_says_that_somebody_corrected_it(tenant: Tenant, chromium: Chromium, shorter: SttJob) -> None:
    page = chromium.sign_in(tenant, "viewer")
    page.goto(_address(shorter))
    editing.edit_transcription(actor=tenant.actor(), job=shorter, texts={0: "Quite another beginning."})
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert "has been corrected meanwhile" in toast(page)


def _refuse_and_try_again(page: Page) -> None:
    page.route("**/transcript/*", lambda route: route.abort())
    last = page.locator(".part").last
    link = last.locator("a")
    link.focus()
    page.keyboard.press("Enter")
    expect(link).to_contain_text("did not load")
    expect(page.locator("[data-parts-status]")).to_contain_text("did not load")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight * 2 / 3)")  # others are refused too
    until(
        page, "[...document.querySelectorAll('.part a')].filter(a => a.textContent.includes('did not load')).length > 1"
    )
    page.unroute("**/transcript/*")
    link.focus()
    page.keyboard.press("Enter")
    expect(last.locator(".word").last).to_have_text(FEWER[-1]["words"][-1]["text"])
    expect(page.locator("[data-parts-status]")).to_contain_text("is here")
    assert page.evaluate("document.activeElement.matches('.time')")
