"""/dashboard: what it shows, to whom, and at what cost."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import ApiKey, Membership
from analytics import quota
from analytics.models import UsageRecord
from audit.models import AuditEntry
from stt.models import SttJob
from tests.browser import Browser, signed_in, text_of
from tests.conftest import OWNED_AUDIO, Client, Tenant
from tests.dashboard.kit import Chromium, check, get_page
from tts.models import TtsJob

MOST_QUERIES = 20


def speak(tenant: Tenant, text: str) -> str:
    answer = tenant.key("tts").post("/tts/synthesize", json={"text": text})
    assert answer.status_code == 200, answer.text
    return answer.json()["job_id"]


def test_empty_home_says_what_to_do_first(tenant: Tenant) -> None:
    page = signed_in(tenant, "owner").get("/dashboard")
    text = text_of(page)
    assert "No jobs yet" in text
    assert f"curl -s {tenant.server}/api/v1/tts/synthesize" in text
    assert "requests.post(" in text
    assert 'href="/api/v1/docs"' in page.text
    assert "All systems work" in text
    assert "espeak-ng · 1" in text


def test_roles_decide_what_is_offered(tenant: Tenant) -> None:
    for role, offer in (
        ("admin", "Make a key"),
        ("developer", "ask an owner or admin"),
        ("viewer", "ask an owner or admin"),
    ):
        page = signed_in(tenant, role).get("/dashboard")
        assert offer in text_of(page)
        assert "/admin/" not in page.text


def test_first_key_is_shown_once_and_works(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard")
    check(page, "home-empty")
    page.get_by_role("button", name="Make a key").click()
    secret = page.locator(".secret code").inner_text()
    check(page, "home-key")
    page.get_by_role("button", name="Copy", exact=True).first.click()
    assert f'-H "x-api-key: {secret}"' in page.evaluate("navigator.clipboard.readText()")
    client = Client(tenant.server, {"x-api-key": secret})
    assert client.post("/tts/synthesize", json={"text": "Hello."}).status_code == 200
    row = ApiKey.objects.get(organization=tenant.organization)
    assert (row.name, row.expires_at is not None) == ("First steps", True)
    assert AuditEntry.objects.filter(organization=tenant.organization, action="api_key.created").count() == 1
    page.goto("/dashboard")
    assert secret not in page.content()
    assert signed_in(tenant, "developer").submit("/dashboard", {}, to="/dashboard").status_code == 403


def test_home_shows_how_jobs_do(tenant: Tenant, other_tenant: Tenant, chromium: Chromium) -> None:
    now = timezone.now()
    fields = {
        "organization": tenant.organization, "text": "x", "characters": 1, "language": "en-US", "voice": "v",
        "model": "espeak-ng", "format": "wav", "sample_rate": 22050,
    }  # fmt: skip
    spoken = [
        TtsJob(**fields, status="succeeded", timings={"first_audio": number / 100}, is_async=True,
               started_at=now + timedelta(seconds=5), finished_at=now + timedelta(seconds=6))
        for number in range(1, 102)
    ]  # fmt: skip
    TtsJob.objects.bulk_create(spoken)
    TtsJob.objects.filter(organization=tenant.organization).update(created_at=now)
    heard = [
        SttJob(
            organization=tenant.organization, status="succeeded", started_at=now,
            finished_at=now + timedelta(seconds=2), timings={"decode": 0.1, "recognise": 1.9},
        ),
        SttJob(  # live
            organization=tenant.organization, status="succeeded", started_at=now,
            finished_at=now + timedelta(seconds=60),
        ),
        *[SttJob(organization=tenant.organization, status="failed", error_code="audio_invalid") for _ in range(3)],
        *[SttJob(organization=tenant.organization, status="queued") for _ in range(2)],
        SttJob(organization=other_tenant.organization, status="failed", error_code="engine_failed"),
    ]  # fmt: skip
    SttJob.objects.bulk_create(heard)
    quota.set_quota(organization=tenant.organization, monthly_characters=1000)
    text = text_of(signed_in(tenant, "viewer").get("/dashboard"))
    assert "First audio 0.51 s 0.96 s 1.00 s" in text
    assert "Wait in the queue, speech out 5.00 s 5.00 s 5.00 s" in text
    assert "Transcript 2.00 s 2.00 s 2.00 s" in text
    assert "Waiting 2 the oldest" in text
    assert "audio_invalid 3" in text
    assert "engine_failed" not in text
    assert "0 / 1,000" in text
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard")
    check(page, "home")


def test_home_shows_jobs_usage_and_health(tenant: Tenant, other_tenant: Tenant) -> None:
    spoken = speak(tenant, "The quick brown fox.")
    speak(other_tenant, "A secret of somebody else.")
    tenant.key("stt").post("/stt/transcribe", files={"audio_file": (OWNED_AUDIO / "weather.flac").open("rb")})
    tenant.key("stt").post("/stt/transcribe", files={"audio_file": ("broken.wav", b"RIFF not audio at all")})

    browser = signed_in(tenant, "viewer")
    page = browser.get("/dashboard")
    text = text_of(page)
    assert "The quick brown fox." in text
    assert "weather" in text
    assert "A secret" not in text
    assert "Succeeded" in text
    assert "First steps" not in text
    assert "Characters spoken 20 20 today" in text
    assert f'href="/dashboard/jobs/tts/{spoken}/audio"' in page.text
    assert page.text.count('class="fill-tts_jobs"') == 1
    by_day = page.text.partition('aria-label="Usage by day"')[2].partition("</table>")[0]
    assert by_day.count('<tr><th scope="row">') == 30
    rows = UsageRecord.objects.filter(organization=tenant.organization).count()
    assert f"Jobs {rows} {rows} today" in text


def test_plays_a_job_of_ones_own_only(tenant: Tenant, other_tenant: Tenant) -> None:
    job = speak(tenant, "Listen to me.")
    answer = signed_in(tenant, "viewer").get(f"/dashboard/jobs/tts/{job}/audio")
    assert answer.status_code == 302
    audio = Browser(tenant.server).get(answer.headers["location"])
    assert audio.content.startswith(b"RIFF")

    outsider = signed_in(other_tenant, "owner")
    for path in (f"tts/{job}", f"stt/{job}", f"other/{job}", f"tts/{uuid.uuid4()}"):
        answer = outsider.get(f"/dashboard/jobs/{path}/audio")
        assert answer.status_code == 404
        assert "<h1>" in answer.text
    assert Browser(tenant.server).get(f"/dashboard/jobs/tts/{job}/audio").status_code == 302  # to the sign-in


def test_escapes_what_people_wrote(tenant: Tenant) -> None:
    speak(tenant, "<script>alert('x')</script> \"quoted\"")
    page = signed_in(tenant, "viewer").get("/dashboard").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_switches_between_organisations(tenant: Tenant, other_tenant: Tenant) -> None:
    speak(other_tenant, "Only over there.")
    user = tenant.member("owner").user
    Membership.objects.create(organization=other_tenant.organization, user=user, role="viewer")
    browser = signed_in(tenant, "owner")

    def switch(organization_id: object) -> int:
        data = {"organization": str(organization_id)}
        return browser.submit("/dashboard", data, to="/dashboard/organization").status_code

    assert switch(tenant.organization.id) == 302
    assert "Only over there." not in browser.get("/dashboard").text
    assert 'href="/admin/"' in browser.get("/dashboard").text
    assert switch(other_tenant.organization.id) == 302
    assert "Only over there." in browser.get("/dashboard").text
    assert "Viewer of" in text_of(browser.get("/dashboard"))

    assert switch(uuid.uuid4()) == 404
    assert switch("no id") == 404
    Membership.objects.filter(organization=other_tenant.organization, user=user).delete()
    assert "Only over there." not in browser.get("/dashboard").text  # looked up anew at each request


@pytest.mark.parametrize("jobs", [0, 1, 25])
def test_home_costs_few_queries_whatever_there_is(tenant: Tenant, jobs: int) -> None:
    from django.core.cache import cache
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    for number in range(jobs):
        TtsJob.objects.create(
            organization=tenant.organization, status="succeeded", text=f"Text {number}", characters=6, language="en-US",
            voice="espeak:en-us", model="espeak-ng", format="wav", sample_rate=22050, audio_key="nowhere.wav",
        )  # fmt: skip
    cache.delete("dashboard:readiness")
    client = Client()
    client.force_login(tenant.member("viewer").user)
    with CaptureQueriesContext(connection) as queries:
        page = client.get("/dashboard")
    assert page.status_code == 200
    assert len(re.findall(r"data-play=", page.content.decode())) == min(jobs, 10)
    assert len(queries) <= MOST_QUERIES, [query["sql"][:90] for query in queries]


def test_recent_jobs_follow(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard")
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    tenant.key("tts").post("/tts/synthesize", json={"text": "Here I am."})
    expect(page.locator("#recent-jobs").get_by_text("Here I am.", exact=True)).to_be_visible(timeout=30_000)
    get_page(tenant, "/dashboard/recent", "viewer", most=8)
