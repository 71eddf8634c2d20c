"""Secrets, hosts, cookies, TLS and passwords."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from config import env
from config.settings.core import DATA_DIR, PRODUCTION


def _secret_key() -> str:
    """SECRET_KEY, or in development one that is made once and kept in DATA_DIR."""
    if PRODUCTION:
        return env.required("SECRET_KEY", "50 or more random characters; tokens and signatures depend on it.")
    if given := env.text("SECRET_KEY"):
        return given
    kept: Path = DATA_DIR / "secret_key"
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(kept, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return kept.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(64)
        file.write(key)
    return key


SECRET_KEY = _secret_key()
SECRET_KEY_FALLBACKS = env.strings("SECRET_KEY_FALLBACKS", [])
API_KEY_PEPPER = env.text("API_KEY_PEPPER", SECRET_KEY)

ALLOWED_HOSTS = env.strings("ALLOWED_HOSTS", [] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = env.strings("CSRF_TRUSTED_ORIGINS", [])
CORS_ALLOWED_ORIGINS = env.strings("CORS_ALLOWED_ORIGINS", [])
CORS_URLS_REGEX = r"^/(api|v1)/.*$"
CORS_ALLOW_HEADERS = (
    "accept", "authorization", "content-type", "x-api-key", "x-request-id", "traceparent", "tracestate",
    "idempotency-key",
    # What OpenAI's SDK sends from a browser.
    "openai-organization", "openai-project", "openai-beta", "x-stainless-arch", "x-stainless-lang", "x-stainless-os",
    "x-stainless-package-version", "x-stainless-retry-count", "x-stainless-runtime", "x-stainless-runtime-version",
    "x-stainless-timeout", "x-stainless-helper-method",
)  # fmt: skip
CORS_EXPOSE_HEADERS = (
    "x-request-id", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after", "idempotent-replayed",
    "x-job-id", "x-sample-rate", "x-should-retry", "traceparent",
)  # fmt: skip

TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 0)
"""How many proxies in front append to X-Forwarded-For; 0: the peer's address is the client's."""

HTTPS = env.flag("HTTPS", PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = env.integer("SESSION_HOURS", 12, minimum=1) * 3600
"""How long a browser stays signed in."""
# `__Host-`: only this host, over TLS, can have set it; another application of the domain cannot plant one.
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "common.pages.csrf_failure"

PUBLIC_URL = env.text("PUBLIC_URL").rstrip("/")
"""What links in e-mails begin with; empty: as the request that asked for them did."""
PASSWORD_RESET_TIMEOUT = env.integer("PASSWORD_RESET_MINUTES", 60, minimum=1) * 60
SSO_SESSION_HOURS = env.integer("SSO_SESSION_HOURS", 12, minimum=1)
"""How long a sign-in with an organisation's provider lasts: until then nobody asks it again."""
INVITATION_DAYS = env.integer("INVITATION_DAYS", 7, minimum=1)

REQUEST_HEAD_SECONDS = env.integer("REQUEST_HEAD_SECONDS", 20, minimum=1)
"""How long the line and the headers of a request may take to come."""
REQUEST_BODY_SECONDS = env.integer("REQUEST_BODY_SECONDS", 300, minimum=1)
"""How long a body may take; a large upload is granted more with each byte (`common.uploads`)."""
REQUEST_STALL_SECONDS = 60.0
"""A large upload of which nothing arrives for so long is given up."""

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "accounts.password_validation.LengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
