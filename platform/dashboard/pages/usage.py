"""Usage: what was spoken and transcribed, by day, model, key and person; and what of the quota is left."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from analytics import exports
from analytics.selectors import usage_summary
from dashboard.access import Page
from dashboard.nav import Command, NavItem, Section
from dashboard.selectors import quota_meters

PERIODS = (7, 30, 90)  # days
GROUPS = ("model", "api_key", "user")
MOST_ROWS = 50
"""Of a table; the API has all of them."""

MOST_DAYS = 30
"""Of the table below the charts; the CSV has all of them."""


class UsagePage(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        days = _days(request)
        summary = usage_summary(actor=self.actor, days=days, group_by=GROUPS)
        used = [day for day in reversed(summary["daily"]) if _jobs(day)]
        fields = {
            "days": days,
            "tabs": _tabs(days),
            "summary": summary,
            "failed": sum(day["failed_jobs"] for day in summary["daily"]),
            "used_days": used[:MOST_DAYS],
            "more_days": len(used) > MOST_DAYS,
            "plot": _plot(summary["daily"]),
            "tables": [_table(group, summary["groups"][group]) for group in GROUPS],
            "quota": quota_meters(self.actor),
        }
        return self.render("dashboard/usage/usage.html", fields)


class UsageCsv(Page):
    def get(self, request: HttpRequest) -> HttpResponse:
        """One row a day, as the API's CSV."""
        summary = usage_summary(actor=self.actor, days=_days(request))
        name = f"usage-{summary['period']['start']}-{summary['period']['end']}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(exports.daily_csv(summary), content_type="text/csv; charset=utf-8", headers=headers)


def _days(request: HttpRequest) -> int:
    return next((days for days in PERIODS if request.GET.get("days") == str(days)), 30)


def _tabs(chosen: int) -> list[dict[str, Any]]:
    url = reverse("dashboard:usage")
    label = ngettext("%d day", "%d days", 2)
    return [{"label": label % days, "url": f"{url}?days={days}", "current": days == chosen} for days in PERIODS]


def _plot(daily: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns, as uPlot draws them, of the days from `start` on."""
    names = ("tts_jobs", "stt_jobs", "failed_jobs", "tts_characters", "stt_seconds")
    return {"start": daily[0]["date"], **{name: [day[name] for day in daily] for name in names}}


def _jobs(sums: dict[str, Any]) -> int:
    return int(sums["tts_jobs"] + sums["stt_jobs"] + sums["failed_jobs"])


def _table(group: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    titles = {"model": _("By model"), "api_key": _("By API key"), "user": _("By person")}
    columns = {"model": _("Model"), "api_key": _("Key"), "user": _("Person")}
    shown = [{**row, "label": _label(group, row), "jobs": _jobs(row) - row["failed_jobs"]} for row in rows[:MOST_ROWS]]
    return {"title": titles[group], "column": columns[group], "rows": shown, "left_out": len(rows) - len(shown)}


def _label(group: str, row: dict[str, Any]) -> str:
    """Who or what used it; work without a key was a person's, and the other way round."""
    nobody = {"model": _("No model was reached"), "api_key": _("People who are signed in"), "user": _("API keys")}
    return row.get("name") or (row["key"] if group == "model" else "") or nobody[group]


urlpatterns = [
    path("dashboard/usage", UsagePage.as_view(), name="usage"),
    path("dashboard/usage.csv", UsageCsv.as_view(), name="usage-csv"),
]

NAV = (
    NavItem(
        gettext_lazy("Usage"), "dashboard:usage", "chart-column", Section.DEVELOPERS, order=30, shortcut="g u",
        keywords="quota characters seconds cost billing csv",
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        gettext_lazy("Download usage as CSV"), "dashboard:usage-csv", "download", query="?days=90", keywords="export"
    ),
)
