"""Connections: held while a request reads and writes, not while a model runs; and what is written in spite of a
database that is restarted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import connection

from common import outages

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 0.5

stopping = threading.Event()
"""Set while this process is being stopped: it cannot wait for the database to come back."""


@contextmanager
def released() -> Iterator[None]:
    """Returns this thread's connection to the pool for the time of the block; the next query takes one again.

    A hundred requests that wait for a model must not hold a hundred connections. No transaction may be open.
    """
    if connection.in_atomic_block:
        raise RuntimeError("A transaction is open: models must not run inside one.")
    connection.close()
    yield


def persistently(write: Callable[[], T], *, seconds: float) -> T:
    """Calls `write`, a transaction, again for so long as the database does not answer, and then raises its error.

    What was computed for an hour is not thrown away because the database was restarted when it was to be written down.
    A connection that is lost while it commits leaves open whether it did: `write` must see what it has done before.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return write()
        except outages.DATABASE_ERRORS as error:
            if connection.in_atomic_block or time.monotonic() > deadline or stopping.is_set():
                raise
            log.warning("could not write to the database; trying again: %s", outages.reason(error))
        connection.close()
        stopping.wait(PAUSE_SECONDS)
