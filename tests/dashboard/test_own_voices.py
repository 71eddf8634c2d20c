"""/dashboard/voices/own: a voice is made from a recording with a consent, heard, and ended."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from audit.models import AuditEntry
from dashboard.selectors import name_voices
from tests.api.test_voice_clone import spoken
from tests.browser import signed_in, text_of
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, toast, until
from tts.models import TtsJob
from tts.voices.models import Voice

PAGE = "/dashboard/voices/own"


def test_a_voice_is_made_heard_and_revoked(tenant: Tenant, chromium: Chromium, tmp_path: Path) -> None:
    sample = tmp_path / "ann.wav"
    sample.write_bytes(spoken(tenant))
    page = chromium.sign_in(tenant, "developer")
    page.goto(PAGE)
    check(page, "own-voices-empty")
    _fill(page, "Ann")
    check(page, "own-voices-new")
    page.locator("#id_audio_sample").set_input_files(str(sample))
    page.get_by_role("button", name="Make", exact=True).click()
    assert "is being made" in toast(page)
    row = page.get_by_role("row", name="Ann")
    expect(row.locator(".badge")).to_have_text("Ready", timeout=60_000)  # the page follows by itself
    check(page, "own-voices")
    voice = Voice.objects.select_related("consent").get(organization=tenant.organization)
    assert (voice.name, voice.language, voice.consent.name) == ("Ann", "en-US", "Ann Example")
    assert voice.consent.recorded_by == tenant.member("developer").user.email
    row.get_by_role("link", name="Hear").click()
    until(page, "[...document.querySelectorAll('audio')].some(audio => audio.duration > 0)")

    row.locator("summary").click()
    page.get_by_role("button", name="Revoke the consent").click()
    page.locator("#confirm").get_by_role("button", name="Revoke").click()
    assert "nobody speaks with Ann any more" in toast(page)
    expect(row.locator(".badge")).to_have_text("Revoked")
    row.locator("summary").click()
    page.get_by_role("button", name="Delete").click()
    page.locator("#confirm").get_by_role("button", name="Delete").click()
    assert toast(page).startswith("Ann is deleted")
    assert not Voice.objects.filter(organization=tenant.organization).exists()
    done = AuditEntry.objects.filter(organization=tenant.organization, action__startswith="voice.")
    assert {"voice.consent_revoked", "voice.deleted"} <= set(done.values_list("action", flat=True))


def test_a_sample_is_recorded_here(tenant: Tenant, chromium: Chromium) -> None:
    """Chromium's fake microphone beeps: a recording, and no voice, which the page says."""
    page = chromium.sign_in(tenant, "developer")
    page.goto(PAGE)
    _fill(page, "Beep")
    record = page.get_by_role("button", name="Record: Sample")
    record.click()
    page.wait_for_timeout(6500)
    record.click()
    until(page, "document.querySelector('#id_audio_sample').files[0]?.size > 100000")
    until(page, "document.querySelector('.recorder audio').duration > 5")
    page.get_by_role("button", name="Make", exact=True).click()
    row = page.get_by_role("row", name="Beep")
    expect(row.locator(".badge")).to_have_text("Failed", timeout=60_000)
    assert Voice.objects.get(organization=tenant.organization).error_code.startswith("sample")


def _fill(page: Page, name: str) -> None:
    page.get_by_role("button", name="Make a voice").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Whose voice it is").fill(f"{name} Example")
    page.get_by_label("The person has consented").check()


def test_says_what_is_missing(tenant: Tenant) -> None:
    browser = signed_in(tenant, "developer")
    answer = browser.submit(PAGE, {"name": "Ann", "language": "en-US", "person": "Ann", "statement": "I consent."})
    assert answer.status_code == 400
    assert "required" in text_of(answer)
    assert not Voice.objects.filter(organization=tenant.organization).exists()


def test_viewers_only_look(tenant: Tenant) -> None:
    browser = signed_in(tenant, "viewer")
    assert "Make a voice" not in text_of(browser.get(PAGE))
    assert browser.submit(PAGE, {"name": "Ann"}).status_code == 403
    assert browser.submit(PAGE, {}, to=f"{PAGE}/00000000-0000-0000-0000-000000000000/delete").status_code == 403
    get_page(tenant, PAGE, "viewer")


def test_a_mix_is_named_by_its_voices(tenant: Tenant, other_tenant: Tenant) -> None:
    def made(of: Tenant, name: str) -> str:
        return str(Voice.objects.create(organization=of.organization, name=name, language="en-US", status="ready").id)

    ann, ben, strange = made(tenant, "Ann"), made(tenant, "Ben"), made(other_tenant, "Strange")
    names = {
        ann: "Ann",
        f"{ann}(2)+{ben}": "Ann (2) + Ben",
        f"{ann}@de(0.5)+{strange}": f"Ann (0.5) + {strange}",
        "espeak:en-us+f2": "English (America) + f2",
        "espeak:en-us+de(3)": "English (America) + German (3)",
    }
    jobs = [TtsJob(voice=voice) for voice in names]
    name_voices(actor=tenant.actor("viewer"), jobs=jobs)
    assert [job.voice_name for job in jobs] == list(names.values())  # type: ignore[attr-defined]
