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
from audit import selectors
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
ACTIONS = {
    "auth.login": gettext_lazy("Signed in"),
    "auth.logout": gettext_lazy("Signed out"),
    "auth.login_failed": gettext_lazy("Failed to sign in"),
    "auth.second_factor_failed": gettext_lazy("Gave a wrong code"),
    "auth.session_ended": gettext_lazy("Ended a sign-in"),
    "auth.sessions_ended": gettext_lazy("Signed out elsewhere"),
    "auth.password_changed": gettext_lazy("Changed the password"),
    "auth.password_reset": gettext_lazy("Set a new password by e-mail"),
    "auth.address_refused": gettext_lazy("Came from an address that is not allowed"),
    "two_factor.enabled": gettext_lazy("Turned two-factor on"),
    "two_factor.disabled": gettext_lazy("Turned two-factor off"),
    "two_factor.recovery_codes_renewed": gettext_lazy("Made new recovery codes"),
    "two_factor.recovery_code_used": gettext_lazy("Used a recovery code"),
    "api_key.created": gettext_lazy("Made an API key"),
    "api_key.changed": gettext_lazy("Changed an API key"),
    "api_key.rotated": gettext_lazy("Rotated an API key"),
    "api_key.revoked": gettext_lazy("Revoked an API key"),
    "service_account.created": gettext_lazy("Made a service account"),
    "service_account.changed": gettext_lazy("Changed a service account"),
    "service_account.disabled": gettext_lazy("Disabled a service account"),
    "service_account.enabled": gettext_lazy("Enabled a service account"),
    "service_account.deleted": gettext_lazy("Deleted a service account"),
    "sso.configured": gettext_lazy("Settled single sign-on"),
    "sso.removed": gettext_lazy("Removed single sign-on"),
    "member.added": gettext_lazy("Added a member"),
    "member.joined": gettext_lazy("Joined by invitation"),
    "member.role_changed": gettext_lazy("Changed a role"),
    "member.removed": gettext_lazy("Removed a member"),
    "invitation.sent": gettext_lazy("Sent an invitation"),
    "invitation.withdrawn": gettext_lazy("Withdrew an invitation"),
    "webhook.created": gettext_lazy("Added a webhook"),
    "webhook.updated": gettext_lazy("Changed a webhook"),
    "webhook.deleted": gettext_lazy("Deleted a webhook"),
    "webhook.tested": gettext_lazy("Tested a webhook"),
    "webhook.redelivered": gettext_lazy("Sent an event again"),
    "webhook.secret_rotated": gettext_lazy("Rotated a webhook's secret"),
    "webhook.disabled": gettext_lazy("Disabled a failing webhook"),
    "job.cancelled": gettext_lazy("Cancelled a job"),
    "job.deleted": gettext_lazy("Deleted a job"),
    "model.installed": gettext_lazy("Installed a model"),
    "model.activated": gettext_lazy("Activated a model"),
    "model.reloaded": gettext_lazy("Reloaded a model"),
    "model.removed": gettext_lazy("Removed a model"),
    "model.promoted": gettext_lazy("Promoted a model"),
    "model.rolled_back": gettext_lazy("Rolled a model back"),
    "model.installation_requested": gettext_lazy("Asked for a model"),
    "model.installation_cancelled": gettext_lazy("Cancelled a model's installation"),
    "rollout.started": gettext_lazy("Began to try a version"),
    "rollout.promoted": gettext_lazy("Ended a trial: the version serves"),
    "rollout.ended": gettext_lazy("Ended a trial"),
    "rollout.rolled_back": gettext_lazy("Rolled a trial back"),
    "model.reload_refused": gettext_lazy("Could not reload a model"),
    "organization.changed": gettext_lazy("Changed the organisation"),
    "organization.exported": gettext_lazy("Exported all data"),
    "organization.deleted": gettext_lazy("Deleted the organisation"),
    "security_policy.changed": gettext_lazy("Changed the rules of access"),
    "quota.changed": gettext_lazy("Changed the quota"),
    "stt_defaults.changed": gettext_lazy("Changed the transcription defaults"),
    "tts_defaults.changed": gettext_lazy("Changed the speech defaults"),
    "tts_voice_defaults.changed": gettext_lazy("Changed a voice's defaults"),
    "tts_voice_defaults.deleted": gettext_lazy("Deleted a voice's defaults"),
    "tts_lexicon.created": gettext_lazy("Added a lexicon"),
    "tts_lexicon.updated": gettext_lazy("Changed a lexicon"),
    "tts_lexicon.deleted": gettext_lazy("Deleted a lexicon"),
    "voice.created": gettext_lazy("Handed in a voice"),
    "voice.ready": gettext_lazy("Made a voice"),
    "voice.failed": gettext_lazy("Could not make a voice"),
    "voice.deleted": gettext_lazy("Deleted a voice"),
    "voice.consent_revoked": gettext_lazy("Revoked a voice's consent"),
    "openai_alias.created": gettext_lazy("Added an OpenAI alias"),
    "openai_alias.updated": gettext_lazy("Changed an OpenAI alias"),
    "openai_alias.deleted": gettext_lazy("Deleted an OpenAI alias"),
}
"""What entries say to people. Actions of other areas are read from their names until they stand here."""

_MOST_INLINE = 120  # characters of details in a row

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
            "rows": [{"entry": entry, "what": _what(entry.action), **_details(entry)} for entry in page],
        }
        return self.render("dashboard/audit/list.html", fields, part="dashboard/audit/rows.html")


def _what(action: str) -> Any:
    return ACTIONS.get(action) or action.replace(".", ": ").replace("_", " ").capitalize()


def _details(entry: AuditEntry) -> dict[str, str]:
    """In a line where they are few and short, else as JSON to unfold."""
    pairs = [(name.replace("_", " "), value) for name, value in sorted(entry.details.items()) if value != ""]
    short = " · ".join(f"{name}: {_inline(value)}" for name, value in pairs)
    if len(short) <= _MOST_INLINE and not any(isinstance(value, dict) for _, value in pairs):
        return {"short": short, "details": ""}
    return {"short": "", "details": json.dumps(entry.details, indent=2, ensure_ascii=False, sort_keys=True)}


def _inline(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


urlpatterns = [path("dashboard/audit", AuditPage.as_view(), name="audit")]

NAV = (
    NavItem(
        gettext_lazy("Audit"), "dashboard:audit", "scroll-text", Section.ORGANISATION, order=20, role=Role.ADMIN,
        shortcut="g a", keywords="history log trail who",
    ),
)  # fmt: skip
