"""Jobs: lists, search, a transcript in step with its recording, correcting, exports, cancelling, retrying."""

from __future__ import annotations

import pytest

from stt.models import SttJob, Transcription
from tests.api.support import own_voice, owned_clips
from tests.browser import signed_in
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, settled, toast, until
from tts.models import TtsJob


@pytest.fixture
def transcribed(tenant: Tenant) -> dict:
    clip = owned_clips()["weather.flac"].path
    answer = tenant.key("stt").post("/stt/transcribe", files={"audio_file": (clip.name, clip.read_bytes())})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _many(tenant: Tenant, count: int = 60) -> None:
    rows = [
        SttJob(organization=tenant.organization, status="succeeded" if number % 5 else "failed", duration_seconds=4.2)
        for number in range(count)
    ]
    SttJob.objects.bulk_create(rows)
    Transcription.objects.bulk_create(
        Transcription(
            organization=tenant.organization, job=row, text=f"Sentence number {number}", language="en-US",
            language_confidence=1, confidence=0.8, segments=[], model_used="pocketsphinx-en-us", quality={}, stages=[],
        )
        for number, row in enumerate(rows)
        if row.status == "succeeded"
    )  # fmt: skip


def test_lists_search_and_pages(tenant: Tenant, chromium: Chromium) -> None:
    _many(tenant)
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard/jobs")
    check(page, "jobs")
    assert page.locator("tbody tr").count() == 50
    page.get_by_role("searchbox").fill('"number 57"')
    settled(page)
    until(page, "document.querySelectorAll('tbody tr').length === 1")
    assert "Sentence number 57" in page.locator("tbody").inner_text()
    page.goto("/dashboard/jobs?status=failed")
    assert page.locator("tbody tr").count() == 12
    page.goto("/dashboard/jobs?q=nothingofthis")
    assert page.get_by_text("Nothing matches").is_visible()
    page.goto("/dashboard/jobs/tts")
    check(page, "jobs-empty")
    assert page.get_by_text("No jobs yet").is_visible()


def test_transcript_plays_and_is_corrected(tenant: Tenant, chromium: Chromium, transcribed: dict) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto(f"/dashboard/jobs/stt/{transcribed['job_id']}")
    until(page, "document.querySelector('[data-audio]').duration > 1")
    check(page, "job-stt")
    word = page.locator(".segment .word").nth(3)
    word.click()
    until(page, "document.querySelector('[data-audio]').currentTime > 0")
    until(page, "document.querySelector('.word.playing') !== null")
    assert float(page.evaluate("document.querySelector('[data-audio]').currentTime")) >= float(
        word.get_attribute("data-from") or 0
    )

    page.get_by_role("link", name="Correct").click()
    check(page, "job-stt-edit")
    page.get_by_label("Segment 1", exact=True).fill("It will rain tomorrow.")
    page.get_by_role("button", name="Save").click()
    assert toast(page) == "The transcript was saved."
    assert page.get_by_text("It will rain tomorrow.").is_visible()
    assert Transcription.objects.get(job_id=transcribed["job_id"]).text.startswith("It will rain tomorrow.")

    for name, expected in (("txt", "It will rain"), ("srt", "-->"), ("vtt", "WEBVTT"), ("json", '"job_id"')):
        answer = page.request.get(f"/dashboard/jobs/stt/{transcribed['job_id']}/transcript.{name}")
        assert answer.status == 200
        assert expected in answer.text()
        assert answer.headers["content-disposition"].startswith('attachment; filename="weather.')
    docx = page.request.get(f"/dashboard/jobs/stt/{transcribed['job_id']}/transcript.docx")
    assert docx.body().startswith(b"PK")


def test_what_is_no_segments_number_is_ignored(tenant: Tenant, transcribed: dict) -> None:
    before = Transcription.objects.get(job_id=transcribed["job_id"]).text
    answer = signed_in(tenant, "developer").submit(
        f"/dashboard/jobs/stt/{transcribed['job_id']}", {f"segment-{'9' * 5000}": "never", "segment-": "said"}
    )
    assert answer.status_code == 302
    assert Transcription.objects.get(job_id=transcribed["job_id"]).text == before


def test_failed_job_says_why_and_is_tried_again(tenant: Tenant, chromium: Chromium, transcribed: dict) -> None:
    Transcription.objects.filter(job_id=transcribed["job_id"]).delete()
    SttJob.objects.filter(id=transcribed["job_id"]).update(
        status="failed", error_code="engine_failed", error_message="The engine stopped."
    )
    viewer = chromium.sign_in(tenant, "viewer")
    viewer.goto(f"/dashboard/jobs/stt/{transcribed['job_id']}")
    assert viewer.get_by_role("button", name="Try again").count() == 0
    page = chromium.sign_in(tenant, "developer")
    page.goto(f"/dashboard/jobs/stt/{transcribed['job_id']}")
    check(page, "job-failed")
    assert page.get_by_text("The engine stopped.").is_visible()
    page.get_by_role("button", name="Try again").click()
    assert toast(page) == "It was queued again."
    page.get_by_role("heading", name="Transcript").wait_for(timeout=60_000)  # the page shows the result by itself


def test_a_phone_shows_the_whole_menu_of_formats(tenant: Tenant, chromium: Chromium, transcribed: dict) -> None:
    page = chromium.sign_in(tenant, "viewer", width=390)
    page.goto(f"/dashboard/jobs/stt/{transcribed['job_id']}")
    page.locator("summary", has_text="Export").click()
    until(page, "document.querySelector('main .menu[open] .menu-panel').getBoundingClientRect().left >= 0")


def test_cancels_and_deletes(tenant: Tenant, chromium: Chromium) -> None:
    waiting = TtsJob.objects.create(
        organization=tenant.organization, text="Wait for me.", characters=12, language="en-US", voice="espeak:en-us",
        model="espeak-ng", format="wav", sample_rate=22050,
    )  # fmt: skip
    page = chromium.sign_in(tenant, "developer")
    page.goto(f"/dashboard/jobs/tts/{waiting.id}")
    check(page, "job-queued")
    page.get_by_role("button", name="Cancel").click()
    assert toast(page) == "The job was cancelled."
    waiting.refresh_from_db()
    assert waiting.status == "cancelled"
    page.get_by_role("button", name="Delete").click()
    page.locator("dialog[open]").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/dashboard/jobs/tts")
    assert not TtsJob.objects.filter(id=waiting.id).exists()


def test_spoken_job_plays(tenant: Tenant, chromium: Chromium) -> None:
    job = tenant.key("tts").post("/tts/synthesize", json={"text": "Good morning to all of you."}).json()
    page = chromium.sign_in(tenant, "viewer")
    page.goto(f"/dashboard/jobs/tts/{job['job_id']}")
    until(page, "document.querySelector('[data-audio]').duration > 0.5")
    check(page, "job-tts")


def test_names_what_it_can(tenant: Tenant, other_tenant: Tenant) -> None:
    """An own voice by its name, one that is not theirs by the id; a recording that is not kept by its file's name."""
    mine, theirs = own_voice(tenant), own_voice(other_tenant)
    for voice in (mine, theirs):
        TtsJob.objects.create(
            organization=tenant.organization, text="Hello.", characters=6, language="en-US", voice=str(voice.id),
            model="espeak-ng", format="wav", sample_rate=22050, status="succeeded",
        )  # fmt: skip
    for page in ("/dashboard/jobs/tts", "/dashboard"):
        spoken = get_page(tenant, page, "viewer")
        assert (mine.name in spoken, str(mine.id) in spoken, str(theirs.id) in spoken) == (True, False, True), page
    job = TtsJob.objects.get(organization=tenant.organization, voice=str(mine.id))
    assert f"<dd>{mine.name}</dd>" in get_page(tenant, f"/dashboard/jobs/tts/{job.id}", "viewer")
    SttJob.objects.create(organization=tenant.organization, status="failed", filename="call.mp3")
    SttJob.objects.create(organization=tenant.organization, status="cancelled")
    heard = get_page(tenant, "/dashboard/jobs", "viewer")
    assert "call.mp3" in heard
    assert "(recording not kept)" in heard


def test_words_are_offered_to_be_heard_where_there_is_sound(tenant: Tenant, transcribed: dict) -> None:
    page = f"/dashboard/jobs/stt/{transcribed['job_id']}"
    assert "Click a word to hear it." in get_page(tenant, page, "viewer")
    SttJob.objects.filter(pk=transcribed["job_id"]).update(audio=None)
    assert "Click a word to hear it." not in get_page(tenant, page, "viewer")


def test_another_organisations_job_does_not_exist(tenant: Tenant, other_tenant: Tenant, transcribed: dict) -> None:
    browser = signed_in(other_tenant, "owner")
    url = f"{tenant.server}/dashboard/jobs/stt/{transcribed['job_id']}"
    assert browser.get(url).status_code == 404
    assert browser.get(f"{url}/transcript.txt").status_code == 404


def test_costs_few_queries(tenant: Tenant, transcribed: dict) -> None:
    _many(tenant)
    get_page(tenant, "/dashboard/jobs", "viewer")
    get_page(tenant, f"/dashboard/jobs/stt/{transcribed['job_id']}", "viewer")
