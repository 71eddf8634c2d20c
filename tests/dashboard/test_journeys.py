"""Journeys through the pages, in a real browser: an owner's from signing in to signing out, and who may do what."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from accounts.models import ApiKey
from stt.models import SttJob
from tests.api.support import owned_clips
from tests.browser import Browser, signed_in
from tests.conftest import PASSWORD, Client, Tenant, error_of
from tests.dashboard.kit import Chromium, toast, until
from tts.models import TtsJob

SAID = "Good morning to all of you. How are you today?"

# What the side bar shows; each role sees what those before it see.
FOR_ALL = {"Home", "Jobs", "Voices", "Settings"}
FOR_DEVELOPERS = {"Text to speech", "Speech to text"}
FOR_ADMINS = {"API keys", "Webhooks", "Members", "Audit"}
PAGES = {
    "Text to speech": "/dashboard/studio/speak",
    "Speech to text": "/dashboard/studio/listen",
    "API keys": "/dashboard/api-keys",
}


def test_owner_from_sign_in_to_sign_out(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.page()
    _sign_in(page, tenant.member("owner").user.email)
    secret = _make_a_key(page)
    client = Client(tenant.server, {"x-api-key": secret})
    assert client.get("/stt/jobs").status_code == 200
    _speak_and_hear(page)
    _upload_and_read(page)
    _cancel(page, _waiting_job(tenant))
    _revoke(page)
    error_of(client.get("/stt/jobs"), 401)
    _sign_out(page)
    assert list(ApiKey.objects.filter(organization=tenant.organization).values_list("name", flat=True)) == ["Journey"]
    assert _statuses(TtsJob, tenant) == {"succeeded", "cancelled"}
    assert _statuses(SttJob, tenant) == {"succeeded"}


@pytest.mark.parametrize(
    ("role", "shown", "hidden"),
    [
        ("owner", FOR_ALL | FOR_DEVELOPERS | FOR_ADMINS, set()),
        ("developer", FOR_ALL | FOR_DEVELOPERS, FOR_ADMINS),
        ("viewer", FOR_ALL, FOR_DEVELOPERS | FOR_ADMINS),
    ],
)
def test_roles_see_what_they_may_use(
    tenant: Tenant, chromium: Chromium, role: str, shown: set[str], hidden: set[str]
) -> None:
    page = chromium.page()
    _sign_in(page, tenant.member(role).user.email)
    offered = {link.strip() for link in page.get_by_role("navigation", name="Main").locator("a").all_inner_texts()}
    assert shown <= offered
    assert not hidden & offered
    page.wait_for_load_state()  # the scripts have run
    page.keyboard.press("Control+k")  # the palette offers no more than the side bar
    for name in hidden & PAGES.keys():
        page.get_by_role("combobox").fill(name)
        expect(page.get_by_role("option", name=name, exact=True)).to_have_count(0)
    for name, path in PAGES.items():
        assert page.request.get(path).status == (403 if name in hidden else 200), name


def test_developer_uses_the_studio_and_no_keys(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.page()
    _sign_in(page, tenant.member("developer").user.email)
    _speak_and_hear(page)
    _cancel(page, _waiting_job(tenant))
    row, _ = tenant.new_key("tts")
    browser = signed_in(tenant, "developer")
    assert _refused(browser, "/dashboard/api-keys", {"name": "Mine", "scopes": "tts"})
    assert _refused(browser, f"/dashboard/api-keys/{row.id}/revoke")
    row.refresh_from_db()
    assert row.usable
    assert ApiKey.objects.filter(organization=tenant.organization).count() == 1


def test_viewer_reads_and_changes_nothing(tenant: Tenant, chromium: Chromium) -> None:
    job = _waiting_job(tenant)
    page = chromium.page()
    _sign_in(page, tenant.member("viewer").user.email)
    _go(page, "Jobs")
    page.get_by_role("main").get_by_role("link", name="Text to speech").click()
    page.get_by_role("link", name=job.text).click()
    expect(page.get_by_role("heading", name=job.text)).to_be_visible()
    for name in ("Cancel", "Delete", "Try again"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)

    browser = signed_in(tenant, "viewer")
    assert _refused(browser, f"/dashboard/jobs/tts/{job.id}/delete")
    assert _refused(browser, f"/dashboard/jobs/tts/{job.id}/retry")
    assert _refused(browser, "/dashboard/studio/speak/audio", {"text": "Hi.", "voice": "espeak:en-us", "format": "mp3"})
    assert _refused(browser, "/dashboard/studio/listen/upload")
    assert _refused(browser, "/dashboard/api-keys", {"name": "Mine", "scopes": "tts"})
    job.refresh_from_db()
    assert job.status == "queued"
    assert TtsJob.objects.filter(organization=tenant.organization).count() == 1
    assert not ApiKey.objects.filter(organization=tenant.organization).exists()


def _sign_in(page: Page, email: str) -> None:
    page.goto("/dashboard")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Main").wait_for()


def _go(page: Page, name: str) -> None:
    """By the side bar."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()


def _make_a_key(page: Page) -> str:
    """The secret, as it is shown once."""
    _go(page, "API keys")
    page.get_by_role("button", name="New key").first.click()
    page.locator("#new-key").get_by_label("Name").fill("Journey")
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator("#made .secret code").inner_text()
    page.get_by_role("button", name="I have copied it").click()
    return secret


def _speak_and_hear(page: Page) -> None:
    _go(page, "Text to speech")
    page.get_by_role("textbox", name="Text").fill(SAID)
    page.get_by_role("button", name="Speak", exact=True).click()
    until(page, "document.querySelector('[data-audio]')?.duration > 1")
    page.get_by_role("link", name="Download").wait_for()
    until(page, "!document.querySelector('[data-audio]').paused || document.querySelector('[data-audio]').ended")
    until(page, "document.querySelector('[data-audio]').currentTime > 0.2")  # it plays


def _upload_and_read(page: Page) -> None:
    clip = owned_clips()["numbers.wav"]
    _go(page, "Speech to text")
    page.locator("[data-files]").set_input_files(str(clip.path))
    page.locator("[data-note]", has_text="Done").wait_for(timeout=60_000)
    page.get_by_role("link", name="Open", exact=True).click()
    page.get_by_role("heading", name="Transcript").wait_for()
    said = " ".join(page.locator(".segments .word").all_inner_texts()).lower()
    assert set(clip.text.lower().split()) & set(said.split()), said


def _waiting_job(tenant: Tenant) -> TtsJob:
    """As a queue's that no worker has come to."""
    return TtsJob.objects.create(
        organization=tenant.organization, text="Wait for me.", characters=12, language="en-US", voice="espeak:en-us",
        model="espeak-ng", format="wav", sample_rate=22050, is_async=True,
    )  # fmt: skip


def _cancel(page: Page, job: TtsJob) -> None:
    _go(page, "Jobs")
    page.get_by_role("main").get_by_role("link", name="Text to speech").click()
    page.get_by_role("link", name=job.text).click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    assert toast(page) == "The job was cancelled."
    job.refresh_from_db()
    assert job.status == "cancelled"


def _revoke(page: Page) -> None:
    _go(page, "API keys")
    page.locator("tbody summary").click()
    page.get_by_role("button", name="Revoke").click()
    page.locator("#confirm").get_by_role("button", name="Revoke").click()
    assert "is revoked" in toast(page)


def _sign_out(page: Page) -> None:
    page.locator(".sidebar-foot summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in").wait_for()
    page.goto("/dashboard")
    assert "/dashboard/login" in page.url


def _refused(browser: Browser, path: str, fields: dict[str, str] | None = None) -> bool:
    """Whether the POST, with a good CSRF token, is one that the role does not allow."""
    return browser.submit("/dashboard", fields or {}, to=path).status_code == 403


def _statuses(model: type[TtsJob] | type[SttJob], tenant: Tenant) -> set[str]:
    return set(model.objects.filter(organization=tenant.organization).values_list("status", flat=True))
