"""Studio, speech to text: recordings are dropped, and become transcripts."""

from __future__ import annotations

from stt.models import SttJob
from tests.api.support import owned_clips
from tests.browser import csrf_token, signed_in
from tests.conftest import Tenant, error_of
from tests.dashboard.kit import Chromium, check, get_page


def test_uploads_become_transcripts(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto("/dashboard/studio/listen")
    clips = owned_clips()
    page.locator("[data-files]").set_input_files([str(clips[name].path) for name in ("numbers.wav", "weather.flac")])
    page.locator("[data-note]", has_text="Done").nth(1).wait_for(timeout=60_000)
    check(page, "studio-listen")
    assert SttJob.objects.filter(organization=tenant.organization, status="succeeded").count() == 2
    page.get_by_role("link", name="Open").first.click()
    page.get_by_role("heading", name="Transcript").wait_for()


def test_what_is_no_audio_says_so(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto("/dashboard/studio/listen")
    files = {"name": "notes.mp3", "mimeType": "audio/mpeg", "buffer": b"not audio at all" * 100}
    page.locator("[data-files]").set_input_files(files)  # type: ignore[arg-type]
    page.locator("li.failed [data-note]").wait_for(timeout=60_000)
    assert "decode" in page.locator("li.failed [data-note]").inner_text()


def test_refuses_in_the_contracts_shape(tenant: Tenant) -> None:
    browser = signed_in(tenant, "developer")
    token = csrf_token(browser.get(f"{tenant.server}/dashboard/studio/listen"))
    url = f"{tenant.server}/dashboard/studio/listen/upload"
    headers = {"X-CSRFToken": token, "Referer": tenant.server}
    error_of(browser.post(url, data={"diarize": ""}, headers=headers), 400)
    error_of(browser.post(url, files={"audio_file": ("a.wav", b"")}, headers=headers), 422, "audio_empty")
    data, files = {"language_hint": "klingon"}, {"audio_file": ("a.wav", b"RIFF")}
    error_of(browser.post(url, data=data, files=files, headers=headers), 400)
    assert not SttJob.objects.filter(organization=tenant.organization).exists()


def test_viewer_may_not_upload(tenant: Tenant) -> None:
    assert signed_in(tenant, "viewer").get(f"{tenant.server}/dashboard/studio/listen").status_code == 403


def test_costs_few_queries(tenant: Tenant) -> None:
    get_page(tenant, "/dashboard/studio/listen", "developer")
