"""What the platform stands on: settings, database, Redis, storage, mail, the port, workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import smtplib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from typing import Any

import psycopg
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.management.commands.seed import default_password_in_use
from common import storage
from observability.doctor.findings import Finding, Reporter, reason

CONNECT_SECONDS = 3
OLDEST_POSTGRES = 14
SKEW_SECONDS, MUCH_SKEW_SECONDS = 2.0, 30.0
LATE_SECONDS = 300

_LIBPQ = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "service")


def configuration() -> Iterator[Finding]:
    say, found = Reporter("settings"), 0
    for wrong, finding in _wrong_settings(say):
        if wrong:
            found += 1
            yield finding
    if not found:
        yield say.ok(f"Settings for {settings.ENVIRONMENT} are in order.")


def _wrong_settings(say: Reporter) -> Iterator[tuple[bool, Finding]]:
    production = settings.PRODUCTION
    worse = say.error if production else say.warning
    yield settings.DEBUG, worse("DEBUG is on: error pages show settings and code.", "Set DEBUG=false.")
    yield (
        len(settings.SECRET_KEY) < 50 or len(set(settings.SECRET_KEY)) < 5,
        worse("SECRET_KEY is short: tokens can be forged.", "Use 50 or more random characters; see .env.example."),
    )
    yield (
        "*" in settings.ALLOWED_HOSTS and (production or settings.HOST not in ("127.0.0.1", "::1", "localhost")),
        say.warning("ALLOWED_HOSTS lets any host name in.", "Name the hosts: links in mails are made of them."),
    )
    if not production:
        return
    yield (
        not settings.ALLOWED_HOSTS,
        say.error("ALLOWED_HOSTS is empty: every request is answered 400.", "Name the hosts."),
    )
    yield (
        not settings.HTTPS,
        say.warning("HTTPS is off: cookies and keys go over the network in the clear.", "Set HTTPS=true."),
    )
    yield (
        settings.HTTPS and not settings.TRUSTED_PROXIES,
        say.warning(
            "HTTPS is on and no proxy is trusted: behind one, every request is redirected without end.",
            "Set TRUSTED_PROXIES to how many proxies stand in front.",
        ),
    )
    yield (
        settings.API_KEY_PEPPER == settings.SECRET_KEY,
        say.warning(
            "API_KEY_PEPPER is SECRET_KEY: whoever changes that one invalidates every API key.",
            "Set API_KEY_PEPPER to the present SECRET_KEY, once; then rotate SECRET_KEY freely.",
        ),
    )
    yield not settings.DATABASE_URL, say.warning("The embedded PostgreSQL serves production.", "Set DATABASE_URL.")


# ── Database ────────────────────────────────────────────────────────────────────────────────────────────────────────

_asking = threading.Lock()


def reachable() -> str:
    """Why the database cannot be reached, or nothing. Found out once."""
    with _asking:
        return _unreachable()


@cache
def _unreachable() -> str:
    """Without the pool, which waits for a database that is being restarted."""
    if not settings.DATABASE_URL and not (settings.DATA_DIR / "postgres" / "PG_VERSION").exists():
        return "it does not exist yet"
    try:
        parameters = connection.get_connection_params()
        known = {name: parameters[name] for name in _LIBPQ if name in parameters}
        psycopg.connect(**known, connect_timeout=CONNECT_SECONDS).close()
    except Exception as error:  # whatever it is, the doctor tells of it
        return reason(error)
    return ""


def database() -> Iterator[Finding]:
    say, why = Reporter("database"), reachable()
    if why and not settings.DATABASE_URL and "exist yet" in why:
        yield say.note("The embedded PostgreSQL has not been made yet.", "The first `manage.py serve` makes it.")
        return
    if why:
        yield say.error(f"The database cannot be reached: {why}.", _database_advice(why))
        return
    with connection.cursor() as cursor:
        yield _server(say, cursor)
        yield _clock(say, cursor)
        yield from _connections(say, cursor)
    yield _migrations(say)


def _database_advice(why: str) -> str:
    lowered = why.lower()
    advice = {
        "password authentication failed": "Set the right user and password in DATABASE_URL.",
        "does not exist": "Create it (createdb), or name another in DATABASE_URL.",
        "refused": "Start PostgreSQL, or set host and port in DATABASE_URL right; a firewall may stand between.",
        "resolve": "Set the host in DATABASE_URL right: its name is unknown.",
        "name or service": "Set the host in DATABASE_URL right: its name is unknown.",
        "timeout": "Look for a firewall between this machine and the database.",
        "too many": "Raise max_connections, or lower DATABASE_POOL_SIZE.",
    }
    fitting = next((text for mark, text in advice.items() if mark in lowered), "")
    return fitting or "Look at DATABASE_URL and at PostgreSQL's log."


def _server(say: Reporter, cursor: Any) -> Finding:
    cursor.execute("SHOW server_version_num")
    major = int(cursor.fetchone()[0]) // 10_000
    if major < OLDEST_POSTGRES:
        return say.error(f"PostgreSQL {major} is too old.", f"Upgrade it to {OLDEST_POSTGRES} or newer.")
    cursor.execute("SHOW server_encoding")
    if (encoding := cursor.fetchone()[0]) != "UTF8":
        return say.error(f"The database's encoding is {encoding}.", "Create it with ENCODING 'UTF8'.")
    return say.ok(f"PostgreSQL {major} answers.")


def _clock(say: Reporter, cursor: Any) -> Finding:
    before = time.time()
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float")
    skew = abs(cursor.fetchone()[0] - (before + time.time()) / 2)
    if skew > SKEW_SECONDS:
        level = say.error if skew > MUCH_SKEW_SECONDS else say.warning
        return level(
            f"This machine's clock and the database's differ by {skew:.0f} s: leases and links end at wrong times.",
            "Run NTP (chrony, systemd-timesyncd) on both.",
        )
    return say.ok(f"The clocks differ by {skew * 1000:.0f} ms.")


def _connections(say: Reporter, cursor: Any) -> Iterator[Finding]:
    cursor.execute("SELECT current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity)")
    most, used = cursor.fetchone()
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    if pool > most - 10:
        yield say.error(
            f"A process may take {pool} connections; the database has {most} for all.",
            "Lower DATABASE_POOL_SIZE or raise max_connections.",
        )
    elif used > 0.8 * most:
        yield say.warning(
            f"{used} of {most} connections are in use.", "Lower DATABASE_POOL_SIZE or raise max_connections."
        )


def _migrations(say: Reporter) -> Finding:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        first = ", ".join(f"{migration.app_label}.{migration.name}" for migration, _ in plan[:3])
        return say.error(
            f"{len(plan)} migrations have not been applied: {first}{' …' if len(plan) > 3 else ''}.",
            "manage.py release (or manage.py migrate).",
        )
    return say.ok("All migrations have been applied.")


def accounts() -> Iterator[Finding]:
    """The public password of the seeded owner."""
    say = Reporter("accounts")
    if reachable():
        return
    if default_password_in_use():
        level = say.error if settings.PRODUCTION else say.warning
        yield level(
            f"{settings.SEED_EMAIL} still has the default password, which everybody can read in the documentation.",
            f"manage.py changepassword {settings.SEED_EMAIL}",
        )


def workers() -> Iterator[Finding]:
    from models_registry.models import WorkerState
    from models_registry.runtime import SILENT_SECONDS
    from observability.collectors import backlog

    say = Reporter("workers")
    if reachable():
        yield say.note("Workers could not be looked for without the database.")
        return
    alive = WorkerState.objects.filter(seen_at__gt=timezone.now() - timedelta(seconds=SILENT_SECONDS))
    kinds = Counter(alive.values_list("kind", flat=True))
    late = {queue: age for queue, age in backlog().oldest_seconds.items() if age > LATE_SECONDS}
    described = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(kinds.items()))
    start = "manage.py worker, or EMBEDDED_WORKER=true in the server."
    taking = kinds["worker"] or (settings.EMBEDDED_WORKER and kinds["server"])
    if late and not taking:
        names = ", ".join(late)
        yield say.error(
            f"Jobs have waited for {max(late.values()) / 60:.0f} minutes ({names}), and no worker runs.", start
        )
    elif late:
        yield say.warning(
            f"Jobs have waited for {max(late.values()) / 60:.0f} minutes ({', '.join(late)}); running: {described}.",
            "Add workers, or see in their logs what holds them up; --queues may leave these out.",
        )
    elif not settings.EMBEDDED_WORKER and not kinds["worker"]:
        yield say.warning("No worker runs, and EMBEDDED_WORKER is off: queued jobs wait for ever.", start)
    elif kinds:
        yield say.ok(f"Running: {described}.")
    else:
        yield say.note("Neither a server nor a worker runs.")


# ── Others ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def redis() -> Iterator[Finding]:
    say = Reporter("redis")
    if not settings.REDIS_URL:
        if settings.PRODUCTION:
            yield say.warning(
                "REDIS_URL is empty: each process counts rate limits for itself.", "Set it for more than one."
            )
        return
    import redis as client

    try:
        server = client.Redis.from_url(
            settings.REDIS_URL, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS
        )
        server.ping()
        key = f"doctor:{secrets.token_hex(8)}"
        server.set(key, "ok", ex=10)
        server.delete(key)
    except (client.RedisError, ValueError, OSError) as error:
        yield say.error(
            f"Redis does not serve: {reason(error)}.", "Start it, or set REDIS_URL right; it must be writable."
        )
        return
    yield say.ok("Redis answers, and can be written.")


def audio_store() -> Iterator[Finding]:
    """Writes a small object, reads it back and deletes it."""
    say, key, content = Reporter("storage"), f"health/{secrets.token_hex(8)}", secrets.token_bytes(64)
    where = f"the bucket {settings.S3_BUCKET}" if settings.S3_BUCKET else str(settings.MEDIA_ROOT)
    try:
        storage.save(key, ContentFile(content))
        with default_storage.open(key) as file:
            back = file.read()
        default_storage.delete(key)
    except Exception as error:  # a storage's library raises its own: the doctor tells of them
        cause = error.__cause__ or error
        yield say.error(f"Audio cannot be stored in {where}: {reason(cause)}.", _storage_advice(cause))
        return
    if back != content:
        yield say.error(
            f"What was stored in {where} reads differently.", "Check the disk or the store: audio is damaged."
        )
    else:
        yield say.ok(f"Audio can be stored in {where}.")


def _storage_advice(error: BaseException) -> str:
    if settings.S3_BUCKET:
        return "Look at S3_ENDPOINT_URL, the keys and the bucket; `manage.py release` creates one that is missing."
    if getattr(error, "errno", None) in (28, 122):
        return "Make room on this disk."
    return f"Let the user that runs this own the folder: chown -R $(id -un) {settings.DATA_DIR}, and mount it writable."


def email() -> Iterator[Finding]:
    say = Reporter("email")
    if not settings.EMAIL_HOST:
        level: Callable[..., Finding] = say.warning if settings.PRODUCTION else say.note
        yield level("There is no mail server: invitations and warnings are not sent.", "Set EMAIL_HOST.")
        return
    where = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    try:
        with smtplib.SMTP(settings.EMAIL_HOST, settings.EMAIL_PORT, timeout=CONNECT_SECONDS) as server:
            if settings.EMAIL_USE_TLS:
                server.starttls()
            if settings.EMAIL_HOST_USER:
                server.login(settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD)
            server.noop()
    except (OSError, smtplib.SMTPException) as error:
        yield say.error(
            f"The mail server {where} does not serve: {reason(error)}.",
            "Look at EMAIL_HOST, EMAIL_PORT, EMAIL_USE_TLS (STARTTLS), EMAIL_HOST_USER and EMAIL_HOST_PASSWORD.",
        )
        return
    yield say.ok(f"The mail server {where} lets us in.")


def port() -> Iterator[Finding]:
    say, where = Reporter("port"), f"{settings.HOST}:{settings.PORT}"
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except OSError as error:
            taken = error.strerror or str(error)
        else:
            yield say.ok(f"{where} is free.")
            return
    if _is_platform():
        yield say.ok(f"The platform answers at {where}.")
    else:
        yield say.error(
            f"{where} cannot be used: {taken}; what answers there is not the platform.", "Set another PORT."
        )


def _is_platform() -> bool:
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::") else settings.HOST  # noqa: S104
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        asking = http.client.HTTPConnection(host, settings.PORT, timeout=CONNECT_SECONDS)
        asking.request("GET", "/health")
        return json.loads(asking.getresponse().read(1000)) == {"status": "ok"}
    return False
