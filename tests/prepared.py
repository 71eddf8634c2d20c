"""What a first start makes in the database, made once for a run of the tests and copied to wherever they start one.

A start from nothing takes seconds for the cluster, a hundred migrations and the seed. Those whose subject it is
(`tests/test_run.py`, `tests/deploy`) make their own.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.environment import SHARED
from tests.platform_process import environment, manage

MIGRATED = "migrated"
"""Beside `speech`, which is seeded, the copies hold a database of this name that is not."""

_MAKE = f"""
from django.core.management import call_command
from django.db import connection
call_command("migrate", verbosity=0)
connection.close()
connection.close_pool()
with connection._nodb_cursor() as cursor:
    cursor.execute("CREATE DATABASE {MIGRATED} TEMPLATE speech")
call_command("seed", stdout=open("/dev/null", "w"), stderr=open("/dev/null", "w"))
"""


def copy_to(folder: Path) -> None:
    """The files of a cluster that is not running, at `folder`, which does not exist yet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # `-a` keeps the owner: PostgreSQL does not run as root, nor on another's files.
    command = ["cp", "-a", "--reflink=auto", str(_prepared()), str(folder)]
    subprocess.run(command, check=True)


@functools.cache
def _prepared() -> Path:
    """Made by the first process that asks, while the others wait."""
    prepared, making = SHARED / "prepared", SHARED / "making"
    with (SHARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not prepared.exists():
            shutil.rmtree(making, ignore_errors=True)
            done = manage("shell", "-v", "0", "-c", _MAKE, env=environment(making), timeout_seconds=180)
            assert done.returncode == 0, done.stderr
            assert not (making / "postgres" / "postmaster.pid").exists()
            # A crash of the machine would spoil what the tests wrote, and nobody asks for it again; killed servers
            # and killed databases lose nothing by it.
            with (making / "postgres" / "postgresql.conf").open("a") as settings:
                settings.write("fsync = off\n")
            _shrink(making / "postgres")
            os.rename(making / "postgres", prepared)
    return prepared


def _shrink(cluster: Path) -> None:
    """With a log in files of 1 MB rather than of 16: half of what every copy would write, and every server fill."""
    from config.embedded_postgres import programs

    command = [programs() / "pg_resetwal", "--wal-segsize=1", cluster]
    subprocess.run(command, check=True, capture_output=True, user=cluster.stat().st_uid)
