"""How long this machine takes just now to answer a request: a server and its client in a process of their own, which
shares nothing with what is measured but the processors.

    python -m tests.yardstick       asks until its standard input ends, then writes its times in seconds, as JSON
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

PAUSE_SECONDS = 0.05


@contextmanager
def measuring() -> Iterator[list[float]]:
    """Fills the list with the times of requests made during the block, when that ends."""
    seconds: list[float] = []
    command = [sys.executable, "-m", "tests.yardstick"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield seconds
        finally:
            out, _ = process.communicate(timeout=60)
    seconds.extend(json.loads(out))


def slowest(seconds: list[float], share: float = 0.02) -> float:
    """What all but this share of the times stay within."""
    return sorted(seconds)[int(len(seconds) * (1 - share)) - 1]


class _Ok(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args: Any) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ok)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    seconds = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}") as client:
        while not ended.wait(PAUSE_SECONDS):
            started = time.perf_counter()
            client.get("/")
            seconds.append(time.perf_counter() - started)
    json.dump(seconds, sys.stdout)


if __name__ == "__main__":
    main()
