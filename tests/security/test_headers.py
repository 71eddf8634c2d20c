"""What every answer tells the browser, and what the settings of production are."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from pytest_django.fixtures import Settings

from common.logs import TextFormatter
from tests.browser import signed_in
from tests.conftest import ROOT, Client, Tenant, error_of


@pytest.mark.parametrize("path", ["/auth/me", "/tts/jobs", "/nothing", "//v1/models", "//health", "/version"])
def test_answers_to_programs(tenant: Tenant, path: str) -> None:
    answer = tenant.user("owner").get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Server" not in answer.headers


def test_pages_are_not_cached_and_load_nothing_of_others(tenant: Tenant) -> None:
    browser = signed_in(tenant, "owner")
    answer = browser.get("/dashboard")
    assert "no-store" in answer.headers["Cache-Control"]
    assert "script-src 'self';" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_media_may_be_kept_by_its_player_alone(tenant: Tenant, anonymous: Client) -> None:
    url = tenant.key("tts").post("/tts/synthesize", json={"text": "Hi."}).json()["audio_url"]
    assert anonymous.get(url).headers["Cache-Control"] == "private, max-age=3600"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND"])
def test_other_methods(anonymous: Client, method: str) -> None:
    assert anonymous.request(method, "/auth/me").status_code in (400, 401, 405)


@pytest.mark.parametrize("origin", ["null", "https://evil.example", "http://127.0.0.1.evil.example"])
def test_no_other_origin_may_read(tenant: Tenant, origin: str, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    answer = tenant.user("owner").get("/auth/me", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers


_SHOWN = (
    "SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_AGE", "SESSION_COOKIE_PATH", "SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_NAME", "CSRF_COOKIE_SECURE",
    "SECURE_HSTS_SECONDS", "SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_SSL_REDIRECT", "DEBUG", "ALLOWED_HOSTS",
)  # fmt: skip


def test_settings_of_production() -> None:
    environment = {
        **os.environ, "ENVIRONMENT": "production", "SECRET_KEY": "k" * 60, "ALLOWED_HOSTS": "speech.example.com",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}", "TRUSTED_PROXIES": "1",
    }  # fmt: skip
    program = (
        "import json; from django.conf import settings; "
        f"print(json.dumps({{name: getattr(settings, name) for name in {_SHOWN!r}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_AGE": 12 * 3600,
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_DOMAIN": None,
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "CSRF_COOKIE_SECURE": True,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SECURE_SSL_REDIRECT": True,
        "DEBUG": False,
        "ALLOWED_HOSTS": ["speech.example.com"],
    }


def test_log_line_of_a_client_stays_one_line() -> None:
    record = logging.LogRecord("request", logging.INFO, "", 0, "request", None, None)
    record.path = "/a\n12:00:00 INFO request method=GET path=/forged\x1b[2J\x9b"
    line = TextFormatter().format(record)
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"\n12:00:00" in line


def test_passwords_that_are_short_or_common(tenant: Tenant) -> None:
    client = tenant.user("owner")
    for password in ("elevenchars", "password1234", "unbelievable", "            "):
        body = {"email": f"{len(password)}-{password.strip() or 'blank'}@example.com", "role": "viewer"}
        error_of(client.post("/auth/members", json={**body, "password": password}), 400)
    body = {"email": "long@example.com", "role": "viewer", "password": "ねこ 🐈 " * 12 + "sleeps"}
    assert client.post("/auth/members", json=body).status_code == 201
