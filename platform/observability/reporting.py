"""Faults to Sentry, or to what speaks its protocol: each log line of ERROR and above, with its traceback.

Off unless ERROR_REPORTING_DSN is set; then nothing is imported. Reports carry the ids that log lines carry, and no
requests, bodies, users or local variables, and what looks like a secret is taken out of them.
"""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings

from common import context, logs

_UNTOLD = ("request", "user", "breadcrumbs", "server_name", "modules")


def start() -> None:
    """Reports from now on, where an address is set."""
    if not settings.ERROR_REPORTING_DSN:
        return
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    sentry_sdk.init(
        dsn=settings.ERROR_REPORTING_DSN,
        release=settings.VERSION,
        environment=settings.ENVIRONMENT,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            AtexitIntegration(callback=lambda pending, timeout: None),
            DedupeIntegration(),
            ExcepthookIntegration(),
            LoggingIntegration(level=None, event_level=logging.ERROR, sentry_logs_level=None),
            ThreadingIntegration(propagate_scope=False),
        ],
        include_local_variables=False,
        max_request_body_size="never",
        before_send=_scrubbed,
    )


def _scrubbed(event: Any, hint: dict[str, Any]) -> Any:
    kept = {name: value for name, value in event.items() if name not in _UNTOLD}
    ids = {
        "request_id": context.request_id.get(),
        "trace_id": context.trace_id.get(),
        "organization_id": context.organization_id.get(),
        "job_id": context.job_id.get(),
    }
    kept["tags"] = {**kept.get("tags", {}), **{name: value for name, value in ids.items() if value}}
    return _without_secrets(kept)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return logs.redacted(value)
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value
