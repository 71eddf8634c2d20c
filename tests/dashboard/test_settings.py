"""/dashboard/settings: name, transcription defaults, quota, retention, export, the end."""

from __future__ import annotations

import io
import zipfile

import pytest
from playwright.sync_api import expect

from accounts.models import ApiKey, Organization, SecurityPolicy, SsoProvider
from analytics.quota import set_quota
from audit.models import AuditEntry
from stt.models import TranscriptionDefaults
from tests.browser import Browser, signed_in, text_of
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, toast
from tts.defaults.models import SpeechDefaults

PATHS = ["", "/speech", "/transcription", "/quota", "/data"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("role", ["owner", "viewer"])
def test_pages(tenant: Tenant, chromium: Chromium, path: str, role: str) -> None:
    set_quota(organization=tenant.organization, monthly_characters=1000, monthly_audio_seconds=3600)
    get_page(tenant, f"/dashboard/settings{path}", role)
    page = chromium.sign_in(tenant, role)
    page.goto(f"/dashboard/settings{path}")
    check(page, f"settings{path.replace('/', '-')}-{role}")
    expect(page.locator("main").get_by_role("button", name="Save")).to_have_count(
        0 if role == "viewer" or path == "/quota" else 1
    )


def test_transcription_defaults(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/settings/transcription")
    expect(page.get_by_label("Redaction").locator("option:checked")).to_have_text("Default: off")
    page.get_by_label("Redaction").select_option("On")
    page.get_by_label("Numbers as digits").select_option("Off")
    page.get_by_label("Noise suppression").uncheck()
    page.get_by_role("button", name="Save").click()
    assert "Saved" in toast(page)
    row = TranscriptionDefaults.objects.get(organization=tenant.organization)
    assert (row.redact, row.itn, row.punctuate, row.disable) == (True, False, None, ["noise_suppression"])
    expect(page.get_by_label("Redaction")).to_have_value("true")
    expect(page.get_by_label("Noise suppression")).not_to_be_checked()
    entry = AuditEntry.objects.get(organization=tenant.organization, action="stt_defaults.changed")
    assert entry.details["changes"]["redact"] is True


def test_stage_that_the_api_left_out_by_name_is_shown_as_off(tenant: Tenant) -> None:
    TranscriptionDefaults.objects.create(organization=tenant.organization, disable=["itn", "truecase"])
    page = get_page(tenant, "/dashboard/settings/transcription", "viewer")
    assert page.count('<option value="false" selected') == 1
    assert page.count(" checked") - page.count("data-shortcuts checked") == 5


def test_retention_asks_first(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "owner")
    page.goto("/dashboard/settings/data")
    page.get_by_label("Audio is kept for").fill("30")
    page.get_by_role("button", name="Save").click()
    page.locator("#confirm").get_by_role("button", name="Save").click()
    assert "Saved" in toast(page)
    organization = Organization.objects.get(id=tenant.organization.id)
    assert (organization.audio_retention_days, organization.transcript_retention_days) == (30, None)


def test_roles_decide(tenant: Tenant) -> None:
    admin, developer = signed_in(tenant, "admin"), signed_in(tenant, "developer")
    for browser, path in ((admin, ""), (admin, "/data"), (developer, "/transcription")):
        page = f"/dashboard/settings{path}"
        assert browser.submit(page, {"name": "Taken over", "audio_retention_days": "0"}).status_code == 403
    for path in ("export", "end"):
        answer = admin.submit(
            "/dashboard", {"confirm": tenant.organization.slug}, to=f"/dashboard/settings/data/{path}"
        )
        assert answer.status_code == 403
    organization = Organization.objects.get(id=tenant.organization.id)
    assert (organization.name, organization.audio_retention_days) == (tenant.organization.name, None)
    assert not TranscriptionDefaults.objects.filter(organization=organization).exists()


def test_renames(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    assert browser.submit("/dashboard/settings", {"name": "New name"}).status_code == 302
    assert "New name" in text_of(browser.get("/dashboard"))


def test_exports_everything(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    answer = browser.submit("/dashboard/settings/data", {}, to="/dashboard/settings/data/export")
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist()
    assert AuditEntry.objects.filter(organization=tenant.organization, action="organization.exported").exists()


def test_ends_the_organisation(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    page, end = "/dashboard/settings/data", "/dashboard/settings/data/end"
    assert browser.submit(page, {"confirm": "something else"}, to=end).headers["location"] == page
    assert "nothing was deleted" in browser.get(page).text
    assert browser.submit(page, {"confirm": tenant.organization.slug}, to=end).status_code == 302
    assert not Organization.objects.filter(id=tenant.organization.id).exists()
    assert browser.get("/dashboard").status_code == 403
    assert Browser(tenant.server).get("/dashboard/login").status_code == 200


def test_speech_defaults_are_chosen(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/settings/speech")
    page.get_by_label("Voice").select_option("espeak:de")
    page.get_by_label("Format").select_option("flac")
    page.get_by_role("button", name="Save").click()
    assert toast(page).startswith("Saved")
    check(page, "settings-speech")
    page.goto("/dashboard/studio/speak")
    assert page.locator("#id_voice").input_value() == "espeak:de"
    assert page.locator("#id_format").input_value() == "flac"
    row = SpeechDefaults.objects.get(organization=tenant.organization)
    assert (row.voice, row.language, row.format) == ("espeak:de", "", "flac")
    assert signed_in(tenant, "developer").submit("/dashboard/settings/speech", {"format": "mp3"}).status_code == 403


def test_security_policy(tenant: Tenant, chromium: Chromium) -> None:
    assert signed_in(tenant, "viewer").get("/dashboard/settings/security").status_code == 403
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/settings/security")
    page.get_by_label("Allowed networks").fill("203.0.113.0/24")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("you would be locked out")).to_be_visible()
    page.get_by_label("Allowed networks").fill("203.0.113.0/24, 127.0.0.1\n::1")
    page.get_by_label("API keys live for at most").fill("90")
    check(page, "settings-security")
    page.get_by_role("button", name="Save").click()
    assert "Saved" in toast(page)
    row = SecurityPolicy.objects.get(organization=tenant.organization)
    assert (row.networks, row.key_max_days) == (["203.0.113.0/24", "127.0.0.1/32", "::1/128"], 90)
    expect(page.get_by_label("Allowed networks")).to_have_value("203.0.113.0/24\n127.0.0.1/32\n::1/128")
    page.goto("/dashboard/api-keys?new=1")
    page.get_by_label("Name").fill("till")
    page.get_by_label("Expires", exact=True).select_option("Never")
    page.get_by_label("Only from").fill("127.0.0.1")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("keys must expire")).to_be_visible()
    page.get_by_label("Expires", exact=True).select_option("In 90 days")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_text("Your new key")).to_be_visible()
    assert ApiKey.objects.get(organization=tenant.organization).networks == ["127.0.0.1/32"]


def test_single_sign_on(tenant: Tenant, chromium: Chromium) -> None:
    assert signed_in(tenant, "viewer").get("/dashboard/settings/sso").status_code == 403
    page = chromium.sign_in(tenant, "owner")
    page.goto("/dashboard/settings/sso")
    expect(page.get_by_label("Role of new members")).to_have_value("viewer")
    page.get_by_label("Issuer").fill("https://127.0.0.1/realms/all")
    page.get_by_label("Client id").fill("speech")
    page.get_by_label("Domains of e-mail addresses").fill("example.com")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field-error")).to_contain_text("The client secret is missing")
    check(page, "settings-sso-refused")
    issuer = f"https://login.{tenant.organization.slug}.example.com/realms/all"
    SsoProvider.objects.create(
        organization=tenant.organization, issuer=issuer, client_id="speech", sealed_secret="x",
        domains=["example.com"], role_claim="groups", roles={"speech-admins": "admin"},
    )  # fmt: skip
    page.goto("/dashboard/settings/sso")
    expect(page.get_by_label("What its values stand for")).to_have_value("speech-admins = admin")
    expect(page.get_by_role("button", name="Remove single sign-on")).to_be_visible()
    check(page, "settings-sso")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/dashboard/settings/data")
    expect(page.locator("nav.tabs [aria-current]")).to_be_in_viewport()  # though more tabs stand there than fit
    entry = chromium.page()
    entry.goto("/dashboard/login/sso?who=nobody-knows-it")
    expect(entry.locator(".field-error")).to_be_visible()
    check(entry, "entry-sso-unknown")
    entry.get_by_label("short name").fill(tenant.organization.slug)
    entry.get_by_role("button", name="Go on").click()
    expect(entry.locator("main")).to_contain_text(issuer)
    check(entry, "entry-sso")
