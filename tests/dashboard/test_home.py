"""/dashboard: what it shows, to whom, and at what cost."""

from __future__ import annotations

import re
import uuid

import pytest

from accounts.models import Membership
from analytics.models import UsageRecord
from tests.browser import Browser, signed_in, text_of
from tests.conftest import OWNED_AUDIO, Tenant
from tts.models import TtsJob

MOST_QUERIES = 12


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
    assert 'href="/dashboard/api-keys?new=1"' in page.text
    assert 'href="/api/v1/docs"' in page.text
    assert "All systems work" in text
    assert "espeak-ng · 1" in text


def test_roles_decide_what_is_offered(tenant: Tenant) -> None:
    for role, offer in (
        ("admin", "Make one here"),
        ("developer", "ask an owner or admin"),
        ("viewer", "ask an owner or admin"),
    ):
        page = signed_in(tenant, role).get("/dashboard")
        assert offer in text_of(page)
        assert "/admin/" not in page.text


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
    assert page.text.count('<tr><th scope="row">') == 30  # the chart as a table
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
