"""The worker's connections to the queue, which outlast a restart of PostgreSQL.

Procrastinate's worker stops when one of its queries fails, and forgets how a task ended when it cannot write it down at
once. Here a query that found no connection, or lost it, is asked again until it is answered. Each may be asked twice:
a repetition of one that took effect changes nothing, or fails in a way that Procrastinate expects. Only a task that was
fetched by an answer that never came stays behind: `jobs.worker` finds it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import psycopg
from procrastinate import PsycopgConnector, sql
from procrastinate.connector import Notify
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ConnectorException

from config.postgres import SESSION
from observability import metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 0.5
CONNECT_SECONDS = 5.0
"""For so long a query waits for a connection, and the pool tries to make one, before both start again."""


_patient = True


def be_patient(on: bool) -> None:
    """Off for a process that is to stop: it cannot wait for the database to come back."""
    global _patient  # noqa: PLW0603  (whether this process is being stopped)
    _patient = on


class PatientConnector(PsycopgConnector):
    """`workers`: the numbers under which Procrastinate's workers have taken tasks over it."""

    def __init__(self) -> None:
        super().__init__(
            kwargs=connector_params("default"),
            timeout=CONNECT_SECONDS,
            configure=_configure,
            reconnect_timeout=CONNECT_SECONDS,  # its pauses double: they would soon outlast the outage
        )
        self.workers: set[int] = set()
        self._away_at = float("-inf")

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        ask = super().execute_query_async
        return await self._persistently(lambda: ask(_QUICK.get(query, query), **arguments))

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        if query == sql.queries["fetch_job"]:
            self.workers.add(arguments["worker_id"])
        ask = super().execute_query_one_async
        return await self._persistently(lambda: ask(_QUICK.get(query, query), **arguments))

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        ask = super().execute_query_all_async
        return await self._persistently(lambda: ask(query, **arguments))

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        listen = super().listen_notify
        return await self._persistently(lambda: listen(on_notification, channels))

    def was_away_within(self, seconds: float) -> bool:
        """Whether the database was: nobody could give it a sign of life."""
        return time.monotonic() - self._away_at < seconds

    async def _persistently(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except ConnectorException as error:
                if not _patient or not _connection_lost(error):
                    raise
                metrics.database_failed(type(error.__cause__).__name__)
                log.warning("the queue's database does not answer; asking again: %s", _reason(error))
            self._away_at = time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)


async def _configure(connection: psycopg.AsyncConnection) -> None:
    """All queries stand alone: as transactions of their own they would go to the database and back three times."""
    await connection.set_autocommit(True)
    await connection.execute("; ".join(SESSION))


def _without_waiting(name: str, function: str = "") -> tuple[str, str]:
    """One of Procrastinate's queries, and the same with a commit that does not wait for the disk.

    function: ours, in place of Procrastinate's.
    """
    query = sql.queries[name]
    theirs = f"procrastinate_{name}_v"
    found = re.search(rf"{theirs}\d+", query)
    if found is None:  # another version of Procrastinate: see `jobs.migrations`
        raise RuntimeError(f"Procrastinate's query {name!r} is another than is known here.")
    ours = query.replace(found[0], function or found[0])
    return query, ours.replace("SELECT ", "SELECT set_config('synchronous_commit', 'off', true), ", 1)


_QUICK = dict((_without_waiting("fetch_job", "jobs_fetch_task"), _without_waiting("finish_job")))
"""What a crash of PostgreSQL may undo without harm. A worker takes one task after the other, so it would wait for the
disk at each. The taking becomes durable with the job's claim, which is committed after it and does wait; a task that is
there again after its job has ended finds that it has."""


def _connection_lost(error: BaseException) -> bool:
    return isinstance(error.__cause__, psycopg.OperationalError | psycopg.InterfaceError)


def _reason(error: BaseException) -> str:
    return " ".join(str(error.__cause__).split())
