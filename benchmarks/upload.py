"""A large upload through a server of its own: `python benchmarks/upload.py [MB]` (2,048 unless told).

Sends noise as a queued transcription (without a worker, so that nothing else runs), and says how fast it went, how much
the server's resident memory grew at most, and how much disk was in use at most (other processes' writes count too).
"""

from __future__ import annotations

import http.client
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil

from benchmarks.platform_overhead import Server

MEGABYTE = 1024 * 1024
BOUNDARY = "benchmark-boundary"


class Watch(threading.Thread):
    """The most resident memory of the server and the most of its disk in use, looked at often."""

    def __init__(self, server: Server, data_dir: str) -> None:
        super().__init__(daemon=True)
        self._process, self._data_dir = psutil.Process(server.process.pid), data_dir
        self._ended = threading.Event()
        self.memory, self.disk = 0, 0

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.memory = max(self.memory, self._process.memory_info().rss)
            self.disk = max(self.disk, psutil.disk_usage(self._data_dir).used)

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def send(server: Server, key: str, megabytes: int) -> float:
    """Seconds until the answer."""
    piece = os.urandom(MEGABYTE)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="async"\r\n\r\ntrue\r\n--{BOUNDARY}\r\n'
    head += 'Content-Disposition: form-data; name="audio_file"; filename="a.wav"\r\n\r\n'
    end = f"\r\n--{BOUNDARY}--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.putrequest("POST", "/api/v1/stt/transcribe")
    connection.putheader("x-api-key", key)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(head) + megabytes * MEGABYTE + len(end)))
    started = time.perf_counter()
    connection.endheaders(head.encode())
    for _ in range(megabytes):
        connection.send(piece)
    connection.send(end.encode())
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()
    return time.perf_counter() - started


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 2048
    os.environ["EMBEDDED_WORKER"] = "false"
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = Server(data_dir)
        try:
            key = server.key()
            with Watch(server, data_dir) as small:
                send(server, key, 8)
            used = psutil.disk_usage(data_dir).used
            with Watch(server, data_dir) as large:
                seconds = send(server, key, megabytes)
            print(
                f"upload          {megabytes} MB in {seconds:.1f} s = {megabytes / seconds:.0f} MB/s"
                f"  memory +{(large.memory - small.memory) / MEGABYTE:.1f} MB"
                f"  disk {(large.disk - used) / MEGABYTE / megabytes:.2f} x the file at most"
            )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
