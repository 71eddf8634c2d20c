"""/dashboard/lexicons: made, edited and heard, imported, exported, deleted."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser import csrf_token, signed_in, text_of
from tests.conftest import Tenant, error_of
from tests.dashboard.kit import Chromium, check, get_page, toast, until
from tts.lexicons import services
from tts.lexicons.models import PronunciationLexicon
from tts.models import TtsJob

PAGE = "/dashboard/lexicons"


def test_a_lexicon_is_made_and_heard(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "developer")
    page.goto(PAGE)
    check(page, "lexicons-empty")
    page.get_by_role("button", name="New lexicon").first.click()
    page.get_by_label("Name").fill("Products")
    page.get_by_label("Holds for every text").check()
    page.get_by_role("button", name="Make", exact=True).click()
    assert toast(page) == "The lexicon was made."

    page.get_by_label("Written").fill("WHO")
    page.get_by_label("Said in other words").fill("World Health Organization")
    page.get_by_role("button", name="Hear").click()
    until(page, "document.querySelector('[data-heard]').duration > 1")
    expect(page.locator("[data-phonemes]")).to_contain_text("hˈɛlθ")
    page.get_by_role("button", name="Add an entry").click()
    page.get_by_label("Written").last.fill("Nguyen")
    page.get_by_label("or in the IPA").last.fill("wɪn")
    check(page, "lexicon")
    page.get_by_role("button", name="Save").click()
    assert toast(page) == "The lexicon was saved."
    row = PronunciationLexicon.objects.get(organization=tenant.organization)
    assert [(entry["grapheme"], entry["alias"], entry["ipa"]) for entry in row.entries] == [
        ("WHO", "World Health Organization", ""), ("Nguyen", "", "wɪn"),
    ]  # fmt: skip
    assert row.is_default
    page.get_by_role("button", name="Remove the entry").first.click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Written")).to_have_value("Nguyen")
    page.goto(PAGE)
    check(page, "lexicons")


def test_files_and_the_end(tenant: Tenant) -> None:
    row = services.create_lexicon(actor=tenant.actor(), name="Drugs")
    browser = signed_in(tenant, "developer")
    page = f"{PAGE}/{row.id}"
    url, headers = f"{tenant.server}{page}", {"Referer": f"{tenant.server}{page}"}
    fields = {"csrfmiddlewaretoken": csrf_token(browser.get(url))}
    csv = b"grapheme,alias,ipa,language,case_sensitive\nmg,milligrams,,,true\n"
    browser.post(f"{url}/import", data=fields, files={"file": ("d.csv", csv)}, headers=headers)
    row.refresh_from_db()
    assert [entry["alias"] for entry in row.entries] == ["milligrams"]
    assert "milligrams" in browser.get(f"{url}/export").text
    saved = {**fields, "name": "Drugs", "grapheme": "mg", "alias": "milligram", "ipa": ""}
    browser.post(url, data=saved, headers=headers)
    row.refresh_from_db()
    assert (row.entries[0]["alias"], row.entries[0]["case_sensitive"]) == ("milligram", True)  # what is not shown stays
    token = {**headers, "X-CSRFToken": fields["csrfmiddlewaretoken"]}
    error_of(browser.post(f"{url}/preview", data={"grapheme": "x", "ipa": "☃"}, headers=token), 400)
    error_of(browser.post(f"{url}/preview", data={}, headers=token), 400)
    assert not TtsJob.objects.filter(organization=tenant.organization, status="succeeded").exists()
    browser.post(f"{url}/delete", data=fields, headers=headers)
    assert not PronunciationLexicon.objects.filter(organization=tenant.organization).exists()


def test_others_see_nothing_and_viewers_only_look(tenant: Tenant, other_tenant: Tenant) -> None:
    row = services.create_lexicon(
        actor=tenant.actor(), name="Names", entries=[{"grapheme": "Siobhan", "alias": "Shivawn"}]
    )
    page = f"{PAGE}/{row.id}"
    viewer = signed_in(tenant, "viewer")
    shown = text_of(viewer.get(page))
    assert "Shivawn" in shown
    assert "Save" not in shown
    for action in ("", "/delete", "/preview", "/import"):
        assert viewer.submit(PAGE, {}, to=f"{page}{action}").status_code == 403
    stranger = signed_in(other_tenant, "owner")
    assert stranger.get(page).status_code == 404
    assert stranger.get(f"{page}/export").status_code == 404
    get_page(tenant, PAGE, "viewer")
    get_page(tenant, page, "viewer")
