"""/admin/ of lexicons, defaults, invitations and service accounts: services write, and so leave their trail."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest
from django.utils import timezone

from accounts import invitations, service_accounts
from accounts.models import Invitation, ServiceAccount
from audit.models import AuditEntry
from tests.admin.test_accounts import act
from tests.browser import Browser, signed_in, text_of
from tests.conftest import Tenant, make_tenant
from tts.models import PronunciationLexicon, SpeechDefaults, VoiceDefaults

LEXICONS, VOICES, SPEECH = (
    f"/admin/tts/{name}/" for name in ("pronunciationlexicon", "voicedefaults", "speechdefaults")
)
INVITATIONS, ROBOTS = "/admin/accounts/invitation/", "/admin/accounts/serviceaccount/"


@pytest.fixture(scope="module")
def shop(server: str) -> Tenant:
    return make_tenant(server)


@pytest.fixture(scope="module")
def browser(shop: Tenant) -> Browser:
    return signed_in(shop, "owner")


def add(browser: Browser, shop: Tenant, page: str, **fields: Any) -> httpx.Response:
    return browser.submit(f"{page}add/", {"organization": str(shop.organization.id), **fields})


def trail(shop: Tenant, action: str) -> int:
    return AuditEntry.objects.filter(organization=shop.organization, action=action).count()


def test_lexicons_are_made_changed_found_applied_and_deleted(shop: Tenant, browser: Browser) -> None:
    assert add(browser, shop, LEXICONS, name="Products", language="en").status_code == 302
    row = PronunciationLexicon.objects.get(organization=shop.organization)
    row.entries, row.entry_count = [{"grapheme": "nginx<b>", "alias": "engine x"}], 1
    row.save()
    assert "Enter a valid value" in text_of(add(browser, shop, LEXICONS, name="Other", language="no tag"))

    page = f"{LEXICONS}{row.pk}/change/"
    shown = browser.get(page)
    assert "engine x" in text_of(shown)
    assert "nginx&lt;b&gt;" in shown.text
    assert browser.submit(page, {"name": "Goods", "language": "en"}).status_code == 302
    assert [str(row.pk) in browser.get(f"{LEXICONS}?q={word}").text for word in ("nginx", "apache")] == [True, False]
    for action, applies in (("apply_always", True), ("apply_when_named", False)):
        assert "were changed" in text_of(act(browser, LEXICONS, action, row))
        row.refresh_from_db()
        assert (row.name, row.is_default, row.entry_count) == ("Goods", applies, 1)
    assert trail(shop, "tts_lexicon.updated") == 3
    assert "is default" in text_of(browser.get(f"{LEXICONS}{row.pk}/history/")).lower()

    act(browser, LEXICONS, "delete_selected", row, post="yes")
    assert not PronunciationLexicon.objects.filter(pk=row.pk).exists()
    assert trail(shop, "tts_lexicon.deleted") == 1


def test_voices_have_defaults_that_they_can_speak_with(shop: Tenant, browser: Browser) -> None:
    for fields in ({"voice": "nobody"}, {"voice": "espeak:en-gb", "style": "nobody"}):
        refused = add(browser, shop, VOICES, **fields)
        assert refused.status_code == 302
        assert "nobody" in text_of(browser.get(refused.headers["location"]))
    assert "less than or equal to 4" in text_of(add(browser, shop, VOICES, voice="espeak:en-gb", speed="9"))
    assert not VoiceDefaults.objects.filter(organization=shop.organization).exists()

    assert add(browser, shop, VOICES, voice="espeak:en-gb", speed="1.5", style="f2").status_code == 302
    row = VoiceDefaults.objects.get(organization=shop.organization)
    assert (row.voice, row.speed, row.pitch, row.style) == ("espeak:en-gb", 1.5, None, "f2")
    assert "already exists" in text_of(add(browser, shop, VOICES, voice="espeak:en-gb"))
    assert browser.submit(f"{VOICES}{row.pk}/change/", {"pitch": "0", "voice": "espeak:de"}).status_code == 302
    row.refresh_from_db()
    assert (row.voice, row.speed, row.pitch, row.style) == ("espeak:en-gb", None, 0.0, "")
    assert browser.submit(f"{VOICES}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert [trail(shop, f"tts_voice_defaults.{what}") for what in ("changed", "deleted")] == [2, 1]


def test_the_organisations_defaults_are_checked(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    refused = add(browser, tenant, SPEECH, voice="nobody")
    assert "There is no voice" in text_of(browser.get(refused.headers["location"]))
    assert add(browser, tenant, SPEECH, voice="espeak:de", format="mp3").status_code == 302
    row = SpeechDefaults.objects.get(organization=tenant.organization)
    assert (row.voice, row.language, row.format) == ("espeak:de", "", "mp3")
    job = tenant.key("tts").post("/tts/synthesize", json={"text": "Hallo."}).json()
    assert (job["voice"], job["format"]) == ("espeak:de", "mp3")
    assert browser.submit(f"{SPEECH}{row.pk}/change/", {"voice": "", "format": ""}).status_code == 302
    assert tenant.key("tts").post("/tts/synthesize", json={"text": "Hello."}).json()["format"] == "wav"


def test_invitations_are_sent_again_and_withdrawn(shop: Tenant, browser: Browser) -> None:
    email = f"guest-{uuid.uuid4().hex[:8]}@example.com"
    row = invitations.invite(actor=shop.actor(), email=email, role="viewer", base_url=shop.server)
    link = invitations.link_of(row, shop.server)
    assert "gets a new link" in text_of(act(browser, INVITATIONS, "send_again", row))
    row.refresh_from_db()
    assert invitations.link_of(row, shop.server) != link
    assert row.salt not in browser.get(f"{INVITATIONS}{row.pk}/change/").text
    accepted = Invitation.objects.create(
        organization=shop.organization, email=f"new-{email}", role="viewer", salt="x", expires_at=timezone.now(),
        accepted_at=timezone.now(),
    )  # fmt: skip
    assert browser.get(f"{INVITATIONS}{accepted.pk}/delete/").status_code == 403
    both = {"action": "delete_selected", "_selected_action": [str(accepted.pk), str(row.pk)], "post": "yes"}
    assert browser.submit(INVITATIONS, both).status_code == 403
    assert Invitation.objects.filter(pk=accepted.pk).exists(), "who joined by it, joined"
    act(browser, INVITATIONS, "delete_selected", row, post="yes")
    assert not Invitation.objects.filter(pk=row.pk).exists()
    assert trail(shop, "invitation.withdrawn") == 1


def test_service_accounts_are_disabled_enabled_and_deleted(shop: Tenant, browser: Browser) -> None:
    assert add(browser, shop, ROBOTS, name="Robot", role="developer").status_code == 302
    row = ServiceAccount.objects.get(organization=shop.organization)
    assert row.created_by == shop.member("owner").user
    assert "exists" in text_of(add(browser, shop, ROBOTS, name="Robot", role="viewer"))
    assert "Select a valid choice" in text_of(add(browser, shop, ROBOTS, name="Boss", role="owner"))
    for action, disabled in (("disable", True), ("enable", False)):
        act(browser, ROBOTS, action, row)
        row.refresh_from_db()
        assert bool(row.disabled_at) is disabled
    assert browser.submit(f"{ROBOTS}{row.pk}/change/", {"name": "Machine", "role": "viewer"}).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.role) == ("Machine", "viewer")
    assert browser.submit(f"{ROBOTS}{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not ServiceAccount.objects.filter(pk=row.pk).exists()
    assert trail(shop, "service_account.deleted") == 1


def test_owner_changes_nothing_elsewhere(shop: Tenant, browser: Browser, tenant: Tenant) -> None:
    foreign = service_accounts.create(actor=tenant.actor(), name="Theirs")
    act(browser, ROBOTS, "disable", foreign, select_across="1")
    foreign.refresh_from_db()
    assert foreign.disabled_at is None
    assert "Select a valid choice" in text_of(add(browser, tenant, LEXICONS, name="Mine"))
    assert not PronunciationLexicon.objects.filter(organization=tenant.organization).exists()
