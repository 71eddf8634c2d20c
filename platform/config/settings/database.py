"""PostgreSQL: the embedded one unless DATABASE_URL names another; and the cache that rate limits count in."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from config import env, postgres
from config.settings.core import DATA_DIR

DATABASE_URL = env.text("DATABASE_URL")
REDIS_URL = env.text("REDIS_URL")

# A request returns its connection before a model runs, so a few serve many requests; see common.db.released.
_POOL = {
    "min_size": 2,
    "max_size": env.integer("DATABASE_POOL_SIZE", 20, minimum=2),
    # For so many seconds a request waits for a connection: a restart of the database, and no more.
    "timeout": 10,
    # The pauses between attempts to connect double until then; the next request starts anew.
    "reconnect_timeout": 10,
}


def _external(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        example = "postgresql://user:password@host:5432/name"  # pragma: allowlist secret
        raise ImproperlyConfigured(f"DATABASE_URL must look like {example}.")
    return {
        "ENGINE": "config.postgres",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": {**postgres.CLIENT, **dict(parse_qsl(parts.query)), "pool": _POOL},
    }


def _embedded() -> dict[str, Any]:
    return {
        "ENGINE": "config.embedded_postgres",
        "NAME": "speech",
        "EMBEDDED_DATA_DIR": DATA_DIR / "postgres",
        "OPTIONS": {"pool": _POOL},
    }


DATABASES = {"default": _external(DATABASE_URL) if DATABASE_URL else _embedded()}

CACHES = {
    "default": {
        "BACKEND": "common.cache.PatientRedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},  # seconds
    }
    if REDIS_URL
    else {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # A cull would forget counters; this is some 50 MB if ever full.
        "OPTIONS": {"MAX_ENTRIES": 200_000},
    }
}
