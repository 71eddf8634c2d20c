"""The audit trail: who did what, when and from where."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext_lazy

from accounts.models import Role
from audit import selectors, words
from audit.models import AuditEntry
from dashboard.access import Page
from dashboard.listing import FilterForm, listing
from dashboard.nav import NavItem, Section

KINDS = [
    ("", gettext_lazy("Everything")),
    ("auth", gettext_lazy("Sign-ins and passwords")),
    ("two_factor", gettext_lazy("Two-factor")),
    ("api_key", gettext_lazy("API keys")),
    ("member", gettext_lazy("Members")),
    ("invitation", gettext_lazy("Invitations")),
    ("webhook", gettext_lazy("Webhooks")),
    ("job", gettext_lazy("Jobs")),
    ("voice", gettext_lazy("Voices")),
    ("tts_lexicon", gettext_lazy("Lexicons")),
    ("model", gettext_lazy("Models")),
    ("rollout", gettext_lazy("Models on trial")),
    ("organization", gettext_lazy("Organisation")),
    ("security_policy", gettext_lazy("Rules of access")),
    ("service_account", gettext_lazy("Service accounts")),
    ("sso", gettext_lazy("Single sign-on")),
    ("quota", gettext_lazy("Quota")),
    ("stt_defaults", gettext_lazy("Transcription defaults")),
    ("tts_defaults", gettext_lazy("Speech defaults")),
    ("tts_voice_defaults", gettext_lazy("Voices' defaults")),
    ("openai_alias", gettext_lazy("OpenAI aliases")),
]
_MOST_INLINE = 160  # characters of details in a row

_NAMING = ("name", "email", "url")  # what an entry is about: said already where its label says it

_DATE = {"type": "date"}


class AuditFilters(FilterForm):
    by = forms.CharField(
        label=gettext_lazy("By (e-mail address)"), max_length=254, widget=forms.TextInput(attrs={"type": "search"})
    )
    action = forms.ChoiceField(label=gettext_lazy("What"), choices=KINDS)
    since = forms.DateField(label=gettext_lazy("From"), widget=forms.DateInput(attrs=_DATE))
    until = forms.DateField(label=gettext_lazy("To"), widget=forms.DateInput(attrs=_DATE))

    @property
    def values(self) -> dict[str, Any]:
        """Days (UTC) as moments: the last one included."""
        values = super().values
        if day := values.get("since"):
            values["since"] = datetime.combine(day, time.min, UTC)
        if day := values.get("until"):
            values["until"] = datetime.combine(day, time.min, UTC) + timedelta(days=1)
        return values


class AuditPage(Page):
    role = Role.ADMIN

    def get(self, request: HttpRequest) -> HttpResponse:
        filters = AuditFilters(request)
        page = listing(request, selectors.list_entries(actor=self.actor, **filters.values))
        fields = {
            "filters": filters,
            "listing": page,
            "rows": [{"entry": entry, "what": words.what(entry.action), **_details(entry)} for entry in page],
        }
        return self.render("dashboard/audit/list.html", fields, part="dashboard/audit/rows.html")


def _details(entry: AuditEntry) -> dict[str, str]:
    """In a line where they are few and short, else as JSON to unfold."""
    label = entry.object_label
    shown = {name: value for name, value in entry.details.items() if name not in _NAMING or str(value) not in label}
    short = " · ".join(words.facts(shown))
    if len(short) <= _MOST_INLINE:
        return {"short": short, "details": ""}
    return {"short": "", "details": json.dumps(entry.details, indent=2, ensure_ascii=False, sort_keys=True)}


urlpatterns = [path("dashboard/audit", AuditPage.as_view(), name="audit")]

NAV = (
    NavItem(
        gettext_lazy("Audit"), "dashboard:audit", "scroll-text", Section.ORGANISATION, order=20, role=Role.ADMIN,
        shortcut="g a", keywords="history log trail who",
    ),
)  # fmt: skip
