"""What the platform adds to its engines: `python benchmarks/platform_overhead.py`.

Starts a server with a data folder of its own, and measures over loopback:

1. start: seconds until ready at the second start, resident memory when idle
2. synthesis of 100 characters to wav, one client: p50 of the request less the engine's own time
3. the same with 16 clients: requests a second, p50, p95
4. transcription: the request's time over the engine's own (`ml.stt.transcribe`) for the same clip, and two at once

Needs an idle machine; the figures of one run belong together.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TEXT = ("The committee will meet on Thursday to discuss the new budget and the plans for the coming year. " * 2)[:100]
CLIP = ROOT / "tests" / "audio" / "weather.flac"


class Server:
    def __init__(self, data_dir: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        env = {
            **os.environ,
            "DATA_DIR": data_dir,
            "PORT": str(self.port),
            "LOG_LEVEL": "WARNING",
            "ENV_FILE": os.devnull,
            "RATE_LIMIT_ACTOR_PER_MINUTE": "1000000",
            "RATE_LIMIT_ORGANIZATION_PER_MINUTE": "1000000",
        }
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL
        )
        while not self._ready():
            if self.process.poll() is not None or time.perf_counter() - started > 60:
                self.process.kill()
                raise SystemExit("the server did not become ready")
            time.sleep(0.02)
        self.start_seconds = time.perf_counter() - started

    def _ready(self) -> bool:
        try:
            status, _ = self.call("GET", "/health/ready")
        except OSError:
            return False
        return status == 200

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        raw = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
        connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    def key(self) -> str:
        _, body = self.call("POST", "/api/v1/auth/login", {"email": "owner@acme.dev", "password": "ChangeMe123!"})
        headers = {"Authorization": f"Bearer {json.loads(body)['access_token']}"}
        _, body = self.call("POST", "/api/v1/auth/api-keys", {"name": "benchmark", "scopes": ["tts", "stt"]}, headers)
        return json.loads(body)["key"]

    def resident_mb(self) -> dict[str, float]:
        """By kind: the server, its engine workers, PostgreSQL (shared memory counted once, as PSS)."""
        import psutil

        server = psutil.Process(self.process.pid)
        children = server.children(recursive=True)
        return {
            "server": server.memory_info().rss / 1e6,
            "workers": sum(child.memory_info().rss for child in children) / 1e6,
        }

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


class Caller(threading.Thread):
    """Sends `count` syntheses over one kept connection."""

    def __init__(self, server: Server, key: str, count: int) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.headers = {"Content-Type": "application/json", "x-api-key": key}
        self.count = count
        self.seconds: list[float] = []
        self.engine: list[float] = []

    def run(self) -> None:
        body = json.dumps({"text": TEXT})
        for _ in range(self.count):
            started = time.perf_counter()
            self.connection.request("POST", "/api/v1/tts/synthesize", body, self.headers)
            response = self.connection.getresponse()
            answer = json.loads(response.read())
            self.seconds.append(time.perf_counter() - started)
            assert response.status == 200, answer
            self.engine.append(answer["timings"]["engine"])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_synthesis(server: Server, key: str) -> None:
    warm = Caller(server, key, 20)
    warm.run()
    one = Caller(server, key, 200)
    one.run()
    added = [total - engine for total, engine in zip(one.seconds, one.engine, strict=True)]
    p50, engine = statistics.median(one.seconds), statistics.median(one.engine)
    print(
        f"one client      p50 {1e3 * p50:6.1f} ms  engine {1e3 * engine:5.1f} ms"
        f"  platform adds {1e3 * statistics.median(added):5.1f} ms"
    )
    callers = [Caller(server, key, 60) for _ in range(16)]
    started = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    elapsed = time.perf_counter() - started
    seconds = [second for caller in callers for second in caller.seconds]
    print(f"16 clients      {len(seconds) / elapsed:6.1f} requests/s  p50 {1e3 * statistics.median(seconds):5.1f} ms"
          f"  p95 {1e3 * percentile(seconds, 0.95):5.1f} ms")  # fmt: skip


def multipart(clip: Path, **fields: str) -> tuple[bytes, dict[str, str]]:
    """The body and headers of an upload of `clip` with form fields."""
    boundary = "benchmark-boundary"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields.items()]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="audio_file"; filename="{clip.name}"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + clip.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def measure_transcription(server: Server, key: str, clip: Path) -> None:
    from ml import stt

    stt.transcribe(clip)  # starts the workers
    started = time.perf_counter()
    for _ in range(3):
        stt.transcribe(clip)
    engine = (time.perf_counter() - started) / 3

    body, headers = multipart(clip)
    headers["x-api-key"] = key

    def request() -> None:
        status, answer = server.call("POST", "/api/v1/stt/transcribe", body, headers)
        assert status == 200, answer

    request()
    started = time.perf_counter()
    for _ in range(3):
        request()
    endpoint = (time.perf_counter() - started) / 3
    threads = [threading.Thread(target=request) for _ in range(2)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two = time.perf_counter() - started
    print(f"transcription   endpoint {endpoint:.2f} s  engine {engine:.2f} s  ratio {endpoint / engine:.2f}"
          f"  two at once {two:.2f} s = {two / endpoint:.2f} x one")  # fmt: skip


def main() -> None:
    clip = Path(sys.argv[1]) if len(sys.argv) > 1 else CLIP
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        Server(data_dir).stop()
        server = Server(data_dir)
        try:
            idle = server.resident_mb()
            print(f"second start    ready after {server.start_seconds:.1f} s  idle: server {idle['server']:.0f} MB, "
                  f"engine workers {idle['workers']:.0f} MB")  # fmt: skip
            key = server.key()
            measure_synthesis(server, key)
            measure_transcription(server, key, clip)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
