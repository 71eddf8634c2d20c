"""Metrics, traces and error reports: who may read them, and where they go."""

from __future__ import annotations

import importlib.util

from django.core.exceptions import ImproperlyConfigured

from config import env

METRICS_TOKEN = env.text("METRICS_TOKEN")
"""What scrapers send as `Authorization: Bearer …`; empty: they must come from an allowed address."""
METRICS_ALLOWED_NETWORKS = env.networks("METRICS_ALLOWED_NETWORKS")
"""From where metrics may be read without a token, beside this machine."""
METRICS_PORT = env.integer("METRICS_PORT", 0)
"""Where `manage.py worker` serves its metrics; 0: nowhere."""

OTEL_EXPORTER_OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT").rstrip("/")
"""The collector that traces go to, over HTTP; empty: there are none. The SDK reads its other variables itself."""
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME", "speech")
OTEL_TRACES_SAMPLER_RATIO = env.share("OTEL_TRACES_SAMPLER_RATIO", 1.0)
"""The share of traces that is kept, of those that begin here; a caller's own choice stands."""

OTEL_EXPORT_SECONDS = 5.0
"""For so long a collector that does not take traces is asked again; then they are dropped."""

ERROR_REPORTING_DSN = env.text("ERROR_REPORTING_DSN")
"""Where faults are reported, as Sentry's SDK has it; empty: into the log alone."""
if ERROR_REPORTING_DSN and importlib.util.find_spec("sentry_sdk") is None:
    raise ImproperlyConfigured("ERROR_REPORTING_DSN needs sentry-sdk: pip install -r requirements-reporting.txt.")
