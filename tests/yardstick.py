"""What this machine lets any process do just now: one of its own that shares nothing with what is measured but the
processors.

    python -m tests.yardstick answers     a server and its client: how long each request takes
    python -m tests.yardstick ticks       a thread that wakes every millisecond: how long it really takes

Both go on until standard input ends, and then write their times in seconds, as JSON.
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
from typing import Any, Literal

import httpx

PAUSE_SECONDS = 0.05


@contextmanager
def measuring(what: Literal["answers", "ticks"] = "answers") -> Iterator[list[float]]:
    """Fills the list with the times that were measured during the block, when that ends."""
    seconds: list[float] = []
    command = [sys.executable, "-m", "tests.yardstick", what]
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


def tick(ended: threading.Event) -> list[float]:
    """The times between the wakings of this thread, which wants to wake every millisecond."""
    seconds, last = [], time.perf_counter()
    while not ended.wait(0.001):
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    return seconds


def answer(ended: threading.Event) -> list[float]:
    """The times of requests to a server of this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ok)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}") as client:
        while not ended.wait(PAUSE_SECONDS):
            started = time.perf_counter()
            client.get("/")
            seconds.append(time.perf_counter() - started)
    return seconds


def main() -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    json.dump({"answers": answer, "ticks": tick}[sys.argv[1]](ended), sys.stdout)


if __name__ == "__main__":
    main()
