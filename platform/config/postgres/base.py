"""The module that Django's `ENGINE` setting names."""

from __future__ import annotations

import select
import threading
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

from config.postgres import SESSION
from observability import metrics


class DatabaseWrapper(base.DatabaseWrapper):
    """A restart of the database costs the queries that were under way, and no others.

    Idle connections of the pool are then all dead: the first that is found so has all of them replaced. While the
    database does not answer, one thread at a time waits for it and the others fail at once: requests that wait would
    take the threads of those that need no database.
    """

    _waiting: ClassVar = threading.Lock()
    _lost: ClassVar = False

    @cached_property
    def wrap_database_errors(self) -> DatabaseErrorWrapper:
        return _Counted(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if self.pool is None:
            return super().get_new_connection(conn_params)
        kind = DatabaseWrapper
        waits = kind._lost
        if waits and not kind._waiting.acquire(blocking=False):
            raise psycopg.OperationalError("The database does not answer.")
        try:
            connection = self._living(conn_params)
            kind._lost = False
            return connection
        except psycopg.OperationalError:
            kind._lost = True
            raise
        finally:
            if waits:
                kind._waiting.release()

    def _living(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        if _is_closed(connection):
            self.pool.putconn(connection)
            self.pool.drain()
            connection = super().get_new_connection(conn_params)
        return connection

    def _configure_connection(self, connection: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("; ".join(SESSION))
        super()._configure_connection(connection)  # type: ignore[misc]  # django-stubs leave it out
        return True


class _Counted(DatabaseErrorWrapper):
    """Counts what fails for want of the database; a query that is wrong is none of its faults."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if kind is not None and issubclass(kind, psycopg.OperationalError | psycopg.InterfaceError):
            metrics.database_failed(kind.__name__)
        super().__exit__(kind, error, traceback)


def _is_closed(connection: psycopg.Connection) -> bool:
    """Whether the server has hung up: a question to the kernel, not to the server."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    try:
        while poll.poll(0):
            connection.pgconn.consume_input()  # a notice, or a farewell and then the end
    except psycopg.OperationalError:
        return True
    return False
