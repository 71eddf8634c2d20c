"""Work whose process dies; runs in a child process."""

from __future__ import annotations

import os
import signal
from pathlib import Path


class Probe:
    def die(self, log: str, times: int) -> str:
        """Dies in the first `times` calls, which all leave a line in `log`."""
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        if len(Path(log).read_text().splitlines()) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    def fail(self, log: str) -> None:
        self.die(log, 0)
        raise ValueError("a bad argument")
