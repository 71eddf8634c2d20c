"""Studio, text to speech, and the voices: written, heard, kept."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser import csrf_token, signed_in
from tests.conftest import Tenant, error_of
from tests.dashboard.kit import Chromium, check, get_page, until
from tts.models import TtsJob


def test_writes_and_hears(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto("/dashboard/studio/speak")
    page.get_by_role("textbox", name="Text").fill("Good morning to all of you. How are you?")
    page.get_by_role("button", name="Speak", exact=True).click()
    until(page, "document.querySelector('[data-audio]').duration > 1")
    page.get_by_role("link", name="Download").wait_for()
    page.get_by_role("link", name="Open the job").wait_for()
    job = TtsJob.objects.get(organization=tenant.organization)
    assert (job.status, job.text, job.format) == ("succeeded", "Good morning to all of you. How are you?", "mp3")
    page.get_by_role("link", name="Good morning to all of you. How are you?", exact=True).wait_for()
    check(page, "studio-speak")
    snippet = page.locator(".snippets pre").first.inner_text()
    assert '"text": "Good morning to all of you. How are you?"' in snippet
    assert f"{tenant.server}/api/v1/tts/synthesize" in snippet


def test_refuses_in_the_contracts_shape(tenant: Tenant) -> None:
    browser = signed_in(tenant, "developer")
    token = csrf_token(browser.get(f"{tenant.server}/dashboard/studio/speak"))
    fields = {"text": "Hi.", "voice": "espeak:nobody", "format": "mp3", "speed": "1", "pitch": "0"}
    url = f"{tenant.server}/dashboard/studio/speak/audio"
    headers = {"X-CSRFToken": token, "Referer": tenant.server}
    error_of(browser.post(url, data=fields, headers=headers), 400)
    error_of(browser.post(url, data={**fields, "speed": "99"}, headers=headers), 400)
    assert browser.post(url, data=fields).status_code == 403  # without the token
    assert not TtsJob.objects.filter(organization=tenant.organization).exists()


def test_viewer_may_not_speak(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    assert browser.get(f"{tenant.server}/dashboard/studio/speak").status_code == 403


def test_voices_are_found_and_heard(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto("/dashboard/voices?q=german")
    check(page, "voices")
    assert page.locator("tbody tr").count() >= 1
    page.get_by_role("button", name="Hear").first.click()
    until(page, "document.querySelector('[data-preview]').duration > 1")
    page.goto("/dashboard/voices?page=2")
    assert "51–" in page.locator(".datatable").inner_text()
    page.goto("/dashboard/voices?q=nosuchlanguage")
    assert page.get_by_text("No voice matches").is_visible()

    page.goto("/dashboard/studio/speak")
    page.get_by_label("Find a voice").fill("german")
    expect(page.locator("#id_voice option")).to_have_count(1)
    assert page.locator("#id_voice").input_value() == "espeak:de"
    page.get_by_role("button", name="Hear this voice").click()
    until(page, "document.querySelector('[data-preview]').duration > 1")
    assert TtsJob.objects.filter(organization=tenant.organization, voice="espeak:de", text__startswith="Franz").exists()
    page.get_by_label("Find a voice").fill("nosuchlanguage")
    expect(page.get_by_text("No voice matches.")).to_be_visible()
    assert page.locator("#id_voice option").count() > 100


def test_costs_few_queries(tenant: Tenant) -> None:
    get_page(tenant, "/dashboard/studio/speak", "developer")
    get_page(tenant, "/dashboard/voices", "viewer")
