"""Changes of the models, told to every process over the database (PostgreSQL's LISTEN and NOTIFY)."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable

import psycopg
from django.db import DatabaseError, connection, connections

log = logging.getLogger(__name__)

CHANNEL = "speech_models"
_LONGEST_PAUSE_SECONDS = 30.0


def announce() -> None:
    """Tells every process that the rows changed: on commit, where a transaction is open."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


class Listener:
    """A daemon thread with a connection of its own, which calls `follow` after announcements and every so often.

    A lost connection is made again, with growing pauses; `follow` runs after each reconnection, because what was
    announced meanwhile was not heard.
    """

    def __init__(self, follow: Callable[[], None], *, interval_seconds: float) -> None:
        self._follow = follow
        self._interval_seconds = interval_seconds
        self._stopped = threading.Event()
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="models-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._waker.send(b"x")
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=30)
            self._waker.close()
            self._woken.close()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            try:
                with self._connected() as listening:
                    pause = 0.0
                    self._listen(listening)
            except (psycopg.Error, DatabaseError, OSError) as error:
                pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause or 0.5)
                log.warning("lost the connection for announcements; next try in %.1f s: %s", pause, error)

    def _connected(self) -> psycopg.Connection:
        parameters = connections["default"].get_connection_params()
        for ours in ("pool", "cursor_factory", "context", "prepare_threshold", "server_side_binding"):
            parameters.pop(ours, None)
        connected = psycopg.connect(**parameters, autocommit=True)
        connected.execute(f'LISTEN "{CHANNEL}"')
        return connected

    def _listen(self, listening: psycopg.Connection) -> None:
        while not self._stopped.is_set():
            self._followed()
            select.select([listening.fileno(), self._woken.fileno()], [], [], self._interval_seconds)
            with contextlib.closing(listening.notifies(timeout=0.01)) as arrived:
                for _ in arrived:  # however many there were, the rows are compared once
                    pass

    def _followed(self) -> None:
        """A fault in following must not end the listening."""
        try:
            self._follow()
        except (psycopg.Error, DatabaseError):
            raise
        except Exception:
            log.exception("could not follow the models' rows")
