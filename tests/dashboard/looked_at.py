"""Which checks look at which pages. `kit.check` holds its callers to the table, `test_shell` holds it complete."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.urls import Resolver404, resolve

LOOKED_AT = {
    "account": "account",
    "account-recovery-codes": "account",
    "account-security": "account",
    "account-sessions": "account",
    "account-two-factor": "account",
    "api-key": "api-key",
    "api-key-rotate": "api-key-rotated",
    "api-keys": "api-keys",
    "audit": "audit",
    "design": "design",
    "home": "home",
    "invitation": "entry-",
    "job": "job-",
    "jobs": "jobs",
    "lexicon": "lexicon",
    "lexicons": "lexicons",
    "login": "entry-",
    "login-code": "entry-",
    "members": "members",
    "model": "model",
    "models": "models",
    "models-catalogue": "models",
    "models-compare": "models-compare",
    "own-voices": "own-voices",
    "password-forgot": "entry-",
    "password-reset": "entry-",
    "settings": "settings",
    "settings-data": "settings",
    "settings-quota": "settings",
    "settings-security": "settings-security",
    "settings-speech": "settings",
    "settings-sso": "settings-sso",
    "settings-voice": "settings",
    "sso": "entry-sso",
    "studio-listen": "studio-",
    "studio-speak": "studio-speak",
    "usage": "usage",
    "voices": "voices",
    "webhook": "webhook",
    "webhook-delivery": "webhook-delivery",
    "webhook-rotate": "webhook-rotated",
    "webhooks": "webhooks",
}
"""Of each address, by its name: what the names of its checks, and so of its pictures, begin with."""

NO_PAGE = {
    "audio": "leads to a file",
    "home-recent": "a part of home",
    "job-export": "a file",
    "job-transcript": "a part of a job's page",
    "lexicon-export": "a file",
    "own-voice-preview": "leads to a file",
    "sso-callback": "leads to the dashboard, or back to the sign-in",
    "sso-start": "leads to the organisation's provider",
    "usage-csv": "a file",
}
"""What answers GET and shows nothing of its own."""


def assert_listed(url: str, name: str) -> None:
    """The check `name` of the page at `url` stands in the table."""
    try:
        found = resolve(urlsplit(url).path)
    except Resolver404:
        return  # nothing is there, and that is what is looked at
    if found.namespace == "dashboard":
        beginning = LOOKED_AT.get(found.url_name or "")
        assert beginning is not None, f"tests/dashboard/looked_at.py does not list {found.url_name!r}"
        assert name.startswith(beginning), f"{name!r}: checks of {found.url_name!r} begin with {beginning!r}"
