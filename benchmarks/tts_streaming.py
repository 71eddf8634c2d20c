"""How soon streamed speech starts: `python -m benchmarks.tts_streaming [--repeats 60]`.

Starts a server with a data folder of its own, and measures over loopback, with espeak-ng:

1. `stream: true` for texts of 200, 2,000 and 20,000 characters as wav, and for 2,000 in each format: from sending the
   request to the first byte of sound (behind the header); then the client leaves. The cases take turns, so that what
   else the machine does falls on all of them alike.
2. the whole of each stream
3. `WS /tts/stream` in an open session: from sending a sentence to its first sound

Needs an idle machine; the figures of one run belong together.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.platform_overhead import Server, percentile  # noqa: E402
from ml.audio import FORMATS  # noqa: E402

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps all day long in the warm sunny yard. "
LENGTHS = (200, 2_000, 20_000)
HEADER_BYTES = {"wav": 1024}
"""At the most, where a header alone may come first; the compressed formats' headers come with the first packets."""
REST_SECONDS = 0.1
"""Between two measurements: a client that leaves is noticed, and its job ended, meanwhile."""


@dataclass
class Case:
    length: int  # characters
    format: str
    first: list[float] = field(default_factory=list)  # milliseconds until sound

    def report(self) -> str:
        return f"{self.length:>6,} characters as {self.format:<4}  first sound {in_brief(self.first)}"


def in_brief(milliseconds: list[float]) -> str:
    return (
        f"p50 {statistics.median(milliseconds):5.1f} ms  p95 {percentile(milliseconds, 0.95):5.1f} ms"
        f"  least {min(milliseconds):5.1f} ms"
    )


class Listener:
    """Asks for streams, over a connection of its own each."""

    def __init__(self, server: Server, key: str) -> None:
        self._port, self._key, self._number = server.port, key, 0

    def listen(self, length: int, format_name: str, *, whole: bool) -> float:
        """Milliseconds until the first sound, or else until the end."""
        self._number += 1  # another text each time, so that nothing that was kept can answer
        text = (f"Number {self._number}: " + SENTENCE * (length // len(SENTENCE) + 1))[:length]
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.connect()
        started = time.perf_counter()
        connection.request(
            "POST",
            "/api/v1/tts/synthesize",
            json.dumps({"text": text, "format": format_name, "stream": True}),
            {"Content-Type": "application/json", "x-api-key": self._key},
        )
        response = connection.getresponse()
        received = 0
        while piece := response.read1(1 << 16):
            received += len(piece)
            if not whole and received > HEADER_BYTES.get(format_name, 0):
                break
        elapsed = time.perf_counter() - started
        connection.close()
        response.close()
        if response.status != 200 or not received:
            raise SystemExit(f"the server answered {response.status}")
        return 1e3 * elapsed


def measure_first(listener: Listener, repeats: int) -> None:
    cases = [Case(length, "wav") for length in LENGTHS]
    cases += [Case(2_000, name) for name in FORMATS if name != "wav"]
    for _ in range(repeats):
        for case in cases:
            case.first.append(listener.listen(case.length, case.format, whole=False))
            time.sleep(REST_SECONDS)
    for case in cases:
        print(case.report(), flush=True)


def measure_whole(listener: Listener) -> None:
    for length in LENGTHS:
        times = [listener.listen(length, "wav", whole=True) for _ in range(3)]
        print(f"{length:>6,} characters as wav   all of it    p50 {statistics.median(times):7.1f} ms", flush=True)


def measure_socket(server: Server, key: str, repeats: int) -> None:
    url = f"ws://127.0.0.1:{server.port}/api/v1/tts/stream"
    times = []
    with connect(url, additional_headers={"x-api-key": key}, proxy=None, compression=None) as socket:
        socket.send(json.dumps({"type": "start", "format": "pcm"}))
        socket.recv()
        for number in range(repeats):
            started = time.perf_counter()
            socket.send(json.dumps({"type": "speak", "text": f"This is sentence {number}. A"}))
            while not isinstance(socket.recv(), bytes):
                pass
            times.append(1e3 * (time.perf_counter() - started))
            socket.send(json.dumps({"type": "clear"}))
            while isinstance(message := socket.recv(), bytes) or '"cleared"' not in message:
                pass
            time.sleep(REST_SECONDS)
    print(f"       socket, a sentence as pcm   first sound {in_brief(times)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = Server(data_dir)
        try:
            key = server.key()
            listener = Listener(server, key)
            for format_name in FORMATS:
                listener.listen(200, format_name, whole=True)  # starts processes, loads codecs
            measure_first(listener, repeats)
            measure_socket(server, key, repeats)
            measure_whole(listener)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
