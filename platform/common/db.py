"""Connections: held while a request reads and writes, not while a model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def released() -> Iterator[None]:
    """Returns this thread's connection to the pool for the time of the block; the next query takes one again.

    A hundred requests that wait for a model must not hold a hundred connections. No transaction may be open.
    """
    if connection.in_atomic_block:
        raise RuntimeError("A transaction is open: models must not run inside one.")
    connection.close()
    yield
