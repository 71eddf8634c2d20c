"""What entries of the trail say to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import Role, Scope

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
"""By the entry's action. Those that do not stand here are read from their names."""

_NAMES = {
    "by": gettext_lazy("By"),
    "code": gettext_lazy("Error"),
    "consent": gettext_lazy("Consent"),
    "consent_name": gettext_lazy("Given by"),
    "email": gettext_lazy("E-mail address"),
    "event_id": gettext_lazy("Event"),
    "idle_minutes": gettext_lazy("Minutes until signed out"),
    "key_max_days": gettext_lazy("Longest life of a key, in days"),
    "keys_must_expire": gettext_lazy("Keys must expire"),
    "made_at": gettext_lazy("Made"),
    "networks": gettext_lazy("Only from"),
    "rate_limit": gettext_lazy("Requests a minute"),
    "require_two_factor": gettext_lazy("Two-factor required"),
    "sso_only": gettext_lazy("Single sign-on only"),
    "to": gettext_lazy("For"),
    "url": gettext_lazy("Address"),
}
"""Of details. Those that do not stand here are read from their keys."""
_VALUES: dict[str, Mapping[str, Any]] = {
    "role": dict(Role.choices),
    "former": dict(Role.choices),
    "scopes": dict(Scope.choices),
    "task": dict(Scope.choices),
}
_THROUGH = {
    "browser": gettext_lazy("In the browser"),
    "api": gettext_lazy("Through the API"),
    "sso": gettext_lazy("Through single sign-on"),
}


def what(action: str) -> Any:
    """`api_key.created` as "Made an API key"."""
    return ACTIONS.get(action) or action.replace(".", ": ").replace("_", " ").capitalize()


def facts(details: Mapping[str, Any]) -> list[str]:
    """What the details of an entry say, a short phrase each: "Viewer → Developer", "Through the API"."""
    left = {name: value for name, value in sorted(details.items()) if value not in ("", None)}
    return [*_phrases(left), *(f"{_name(name)}: {_value(name, value)}" for name, value in _flat(left))]


def _phrases(left: dict[str, Any]) -> Iterator[str]:
    """Of details that are said otherwise than as name and value: those it takes out of `left`."""
    if "role" in left and "former" in left:
        yield f"{_value('former', left.pop('former'))} → {_value('role', left.pop('role'))}"
    if left.get("through") in _THROUGH:
        yield str(_THROUGH[left.pop("through")])
    if left.get("again") is True and left.pop("again"):
        yield _("Once more")
    if left.get("by_operator") is True and left.pop("by_operator"):
        yield _("By the operator")
    for name, phrase in _COUNTED.items():
        if type(left.get(name)) is int:
            yield phrase(left.pop(name))


_COUNTED = {
    "count": lambda count: ngettext("%d sign-in", "%d sign-ins", count) % count,
    "entries": lambda count: ngettext("%d entry", "%d entries", count) % count,
    "left": lambda count: ngettext("%d code is left", "%d codes are left", count) % count,
    "revoked": lambda count: ngettext("%d key revoked", "%d keys revoked", count) % count,
}


def _flat(details: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """With what lies within other details, such as "changes", one by one."""
    for name, value in details.items():
        if isinstance(value, Mapping):
            yield from _flat(dict(sorted(value.items())))
        else:
            yield name, value


def _name(name: str) -> Any:
    return _NAMES.get(name) or name.replace("_", " ").capitalize()


def _value(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(name, part) for part in value) or _("none")
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return _("none") if value is None else f"{value:,}"


def _text(name: str, value: str) -> str:
    if name == "changed":
        return str(_name(value)).lower()
    if name.endswith("_at") and (moment := _moment(value)):
        return moment
    return str(_VALUES.get(name, {}).get(value, value))


def _moment(text: str) -> str:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return ""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""
