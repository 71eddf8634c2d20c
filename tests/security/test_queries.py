"""Isolation below the views: every statement that a request sends about tenants' rows names whose rows it means.

All routes of the access table are called by an owner, or a key, and the statements of the requests' threads recorded.
A statement on a table with an organisation must carry the caller's organisation among its parameters, or the id of a
row that is the caller's; and it must carry the id of nobody else's.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.backends.signals import connection_created

from common import context
from tests.api.test_access_table import BODIES, TABLE, _client, _filled
from tests.conftest import Tenant, make_tenant

TENANT_TABLES = {
    model._meta.db_table: model
    for model in apps.get_models()
    if any(each.name == "organization" for each in model._meta.fields)
}
"""By name; their rows belong to an organisation."""
_TABLE = re.compile(r'\b(?:FROM|JOIN|UPDATE|INTO)\s+"(\w+)"', re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)
_THREADS = ("request", "upload")


@dataclass
class Statement:
    sql: str
    ids: set[uuid.UUID]
    tables: set[str]


@dataclass
class Recorder:
    """What the server's requests ask of tenants' tables, once it is known who asks."""

    organization_id: str
    statements: list[Statement] = field(default_factory=list)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, details: Any) -> Any:
        if context.organization_id.get() == self.organization_id and threading.current_thread().name.startswith(
            _THREADS
        ):
            tables = {name for name in _TABLE.findall(sql) if name in TENANT_TABLES}
            if tables:
                self.statements.append(Statement(sql, set(_ids([sql, params])), tables))
        return execute(sql, params, many, details)


def _ids(value: Any) -> Iterator[uuid.UUID]:
    if isinstance(value, uuid.UUID):
        yield value
    elif isinstance(value, str):
        yield from (uuid.UUID(found) for found in _UUID.findall(value[:10_000]))
    elif isinstance(value, dict):
        yield from _ids(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _ids(each)
    elif hasattr(value, "obj"):  # psycopg's Json
        yield from _ids(str(value.obj))


@contextmanager
def recording(organization_id: uuid.UUID) -> Iterator[Recorder]:
    """Wraps the connections of all threads, as they are opened: a request's thread opens one for each request."""
    recorder = Recorder(str(organization_id))

    def wrap(sender: Any, connection: Any, **_: Any) -> None:
        connection.execute_wrappers[:] = [
            *(each for each in connection.execute_wrappers if not isinstance(each, Recorder)), recorder
        ]  # fmt: skip

    connection_created.connect(wrap, weak=False)
    try:
        yield recorder
    finally:
        connection_created.disconnect(wrap)


@pytest.fixture(scope="module")
def tenants(server: str) -> tuple[Tenant, Tenant]:
    return make_tenant(server), make_tenant(server)


@pytest.fixture(scope="module")
def recorded(tenants: tuple[Tenant, Tenant]) -> Recorder:
    """Every route, called once with an object of one's own."""
    tenant, other = tenants
    audio_url = tenant.key("tts").post("/tts/synthesize", json={"text": "Hi."}).json()["audio_url"]
    other.key("tts").post("/tts/synthesize", json={"text": "Secret."})
    owner = tenant.user("owner")
    with recording(tenant.organization.id) as recorder:
        for route in TABLE:
            method, path = route.split()
            if path.endswith(("/organization/export", "/jobs/events", "/reload", "/initialize")):
                continue  # streams are read in other threads; models belong to all
            url = "/" + _filled(path, tenant, audio_url)
            speech = any(part in path for part in ("/tts/", "/stt/", "/v1/audio", "/v1/listen"))
            client = _client(tenant, "key", path) if speech and TABLE[route].split()[6] == "2xx" else owner
            if path == "/api/v1/auth/logout":
                client = tenant.user("viewer")
            answer = client.request(method, url, **BODIES.get(route, lambda _: {})(tenant))
            assert answer.status_code < 500, (route, answer.text)
    return recorder


def test_recorder_sees(recorded: Recorder) -> None:
    """Or else the test below could not fail."""
    asked = set().union(*(statement.tables for statement in recorded.statements))
    assert len(recorded.statements) > 150
    assert {"tts_ttsjob", "stt_sttjob", "accounts_apikey", "accounts_membership", "webhooks_webhookendpoint"} <= asked
    assert not missing_scope(
        Statement("", {uuid.UUID(recorded.organization_id)}, {"tts_ttsjob"}), recorded.organization_id, set()
    )
    assert missing_scope(Statement("SELECT 1", set(), {"tts_ttsjob"}), recorded.organization_id, set())


def missing_scope(statement: Statement, organization_id: str, own: set[uuid.UUID]) -> bool:
    """Whether nothing in the statement says whose rows it means."""
    return not statement.ids & {uuid.UUID(organization_id), *own}


def test_every_statement_is_scoped(recorded: Recorder) -> None:
    own = own_ids(recorded)
    loose = sorted(
        {
            re.sub(r"\s+", " ", statement.sql)[:400]
            for statement in recorded.statements
            if missing_scope(statement, recorded.organization_id, own)
        }
    )
    assert not loose, "\n".join(loose)


def test_no_statement_names_rows_of_others(recorded: Recorder, tenants: tuple[Tenant, Tenant]) -> None:
    strangers = {tenants[1].organization.id, *_rows_of(tenants[1].organization.id)}
    strange = {
        statement.sql[:300]
        for statement in recorded.statements
        if statement.ids & strangers
    }  # fmt: skip
    assert strangers
    assert not strange


def own_ids(recorded: Recorder) -> set[uuid.UUID]:
    """Of rows of the organisation: those that are there, and those that the requests wrote and deleted again."""
    own = _rows_of(uuid.UUID(recorded.organization_id))
    for statement in recorded.statements:
        if statement.sql.startswith("INSERT") and uuid.UUID(recorded.organization_id) in statement.ids:
            own |= statement.ids
    return own


def _rows_of(organization_id: uuid.UUID) -> set[uuid.UUID]:
    """Ids of all rows of an organisation, and of its members as people."""
    found: set[uuid.UUID] = set()
    with connection.cursor() as cursor:
        for table, model in TENANT_TABLES.items():
            column = model._meta.pk.column
            statement = f'SELECT "{column}" FROM "{table}" WHERE "organization_id" = %s'  # noqa: S608  (names of ours)
            cursor.execute(statement, [organization_id])
            found |= {row[0] for row in cursor.fetchall() if isinstance(row[0], uuid.UUID)}
        cursor.execute('SELECT "user_id" FROM "accounts_membership" WHERE "organization_id" = %s', [organization_id])
        return found | {row[0] for row in cursor.fetchall()}
