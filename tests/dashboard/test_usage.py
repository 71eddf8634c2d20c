"""/dashboard/usage: totals, charts, tables, quota, CSV."""

from __future__ import annotations

import csv
import io
import uuid
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import expect

from analytics import quota
from analytics.models import UsageRecord
from tests.browser import signed_in, text_of
from tests.conftest import Tenant
from tests.dashboard.kit import Chromium, check, get_page, until


def _use(tenant: Tenant, days: int) -> None:
    """On each of the last days some jobs: by a key and by a person."""
    key, _ = tenant.new_key("tts")
    person = tenant.member("developer").user
    rows = []
    for day in range(days):
        for number in range(1 + day % 7):
            spoken = {"task": "tts", "model": "espeak-ng", "characters": 120 * (1 + day % 5), "api_key": key}
            heard = {"task": "stt", "model": "pocketsphinx-en-us", "audio_seconds": 75.5, "user": person}
            failed = number == 5
            rows += [(day, {**spoken, "status": "succeeded"}), (day, {**heard, "status": "succeeded"})]
            if failed:
                rows.append((day, {"task": "stt", "status": "failed", "user": person}))
    records = [UsageRecord(organization=tenant.organization, job_id=uuid.uuid4(), **fields) for _, fields in rows]
    made = UsageRecord.objects.bulk_create(records)
    for record, (day, _fields) in zip(made, rows, strict=True):
        record.created_at = timezone.now() - timedelta(days=day)
    UsageRecord.objects.bulk_update(made, ["created_at"])


def test_shows_what_was_used(tenant: Tenant, chromium: Chromium) -> None:
    _use(tenant, 90)
    quota.set_quota(organization=tenant.organization, monthly_characters=40_000)
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard/usage?days=90")
    until(page, "document.querySelectorAll('[data-plot] canvas').length === 3")
    check(page, "usage")
    page.get_by_role("link", name="7 days").click()
    until(page, "document.querySelectorAll('[data-plot] canvas').length === 3")
    assert page.locator(".figure").nth(2).inner_text().split() == ["Jobs", "58"]
    over, readout = page.locator("[data-chart=jobs] .u-over"), page.locator("[data-chart=jobs] [data-readout]")
    width = page.evaluate("document.querySelector('[data-chart=jobs] .u-over').clientWidth")
    over.hover(position={"x": width - 20, "y": 80})
    expect(readout).to_contain_text("1 out, 1 in, 0 failed")
    over.hover(position={"x": 20, "y": 80})
    expect(readout).to_contain_text("7 out, 7 in, 1 failed")
    page.get_by_text("The same as a table").click()
    assert page.locator(".usage-table tbody tr").count() == 7


def test_draws_anew_in_other_colours(tenant: Tenant, chromium: Chromium) -> None:
    _use(tenant, 3)
    page = chromium.sign_in(tenant, "viewer")
    page.goto("/dashboard/usage?days=7")
    middle = (
        "(() => { const canvas = document.querySelector('[data-chart=characters] canvas');"
        " const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        " const counts = {}; for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) {"
        " const colour = `${data[at]},${data[at + 1]},${data[at + 2]}`; counts[colour] = (counts[colour] ?? 0) + 1; }"
        " return Object.entries(counts).sort((a, b) => b[1] - a[1])[0]?.[0]; })()"
    )
    until(page, f"{middle} === '43,86,198'")  # --accent, light
    page.emulate_media(color_scheme="dark")
    until(page, f"{middle} === '142,171,245'")  # --accent, dark


def test_groups_and_csv_are_the_apis(tenant: Tenant, other_tenant: Tenant) -> None:
    _use(tenant, 10)
    _use(other_tenant, 2)
    browser = signed_in(tenant, "viewer")
    text = text_of(browser.get("/dashboard/usage?days=7"))
    person = tenant.member("developer").user.email
    for words in ("espeak-ng", "pocketsphinx-en-us", "No model was reached", "tests", person, "API keys"):
        assert words in text
    assert other_tenant.member("developer").user.email not in text
    answer = browser.get("/dashboard/usage.csv?days=7")
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-')
    assert answer.text == tenant.user("viewer").get("/analytics/usage?days=7", headers={"Accept": "text/csv"}).text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["tts_jobs"] for row in rows] == ["7", "6", "5", "4", "3", "2", "1"]


def test_empty_says_what_to_do(tenant: Tenant, chromium: Chromium) -> None:
    page = chromium.sign_in(tenant, "admin")
    page.goto("/dashboard/usage?days=nonsense")
    check(page, "usage-empty")
    assert page.get_by_text("Nothing was used in this period").is_visible()
    assert page.get_by_role("link", name="30 days").get_attribute("aria-current") == "page"


def test_costs_few_queries(tenant: Tenant) -> None:
    _use(tenant, 30)
    get_page(tenant, "/dashboard/usage?days=90", "viewer")
