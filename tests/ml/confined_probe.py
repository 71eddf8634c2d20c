"""What a hostile file that took over its decoder would try; runs in a confined child process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from ml import confinement


class Probe:
    def attempt(self, what: str, path: str) -> str:
        """ "done", or the error's name."""
        attempts: dict[str, Callable[[], object]] = {
            "network": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
            "unix socket": lambda: socket.socket(socket.AF_UNIX),
            "fork": os.fork,
            "program": lambda: subprocess.run([sys.executable, "-c", ""], check=False),
            "signal": lambda: os.kill(os.getppid(), signal.SIGCONT),
            "write": lambda: Path(path).write_text("owned"),
            "delete": lambda: os.unlink(path),
            "huge file": lambda: _sparse(path, 2 << 30),
            "many files": lambda: [os.open(os.devnull, os.O_RDONLY) for _ in range(1000)],
            "thread": _in_a_thread,
            "read": lambda: Path(__file__).read_bytes(),
        }
        try:
            attempts[what]()
        except OSError as error:
            return type(error).__name__
        return "done"

    def held(self) -> list[str]:
        """What `confine` achieves here; a second time, it gives up no more."""
        return confinement.confine(write_beneath=tempfile.gettempdir())

    def privileges(self) -> list[str]:
        """`NoNewPrivs` and `Seccomp` as the kernel has them."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith(("NoNewPrivs:", "Seccomp:"))]


def _sparse(path: str, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def _in_a_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
