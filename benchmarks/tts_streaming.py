"""How soon streamed speech starts: `python -m benchmarks.tts_streaming [--repeats 100]`.

Starts a server with a data folder of its own, and measures over loopback, with espeak-ng and one kept connection:

1. `stream: true` as wav, for texts of 200, 2,000 and 20,000 characters: from sending the request to the first byte of
   sound (behind the header), p50 and p95, and to the end
2. the same for each format, with 2,000 characters

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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.platform_overhead import Server, percentile  # noqa: E402
from ml.audio import FORMATS  # noqa: E402

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps all day long in the warm sunny yard. "
LENGTHS = (200, 2_000, 20_000)
HEADER_BYTES = {"wav": 44}
"""Where a header alone may come first; the compressed formats' headers come with the first packets."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds."""

    first: float
    whole: float


def text_of(length: int, number: int) -> str:
    """Another text each time, so that nothing that was kept can answer."""
    return (f"Number {number}: " + SENTENCE * (length // len(SENTENCE) + 1))[:length]


class Listener:
    """Asks for streams over one connection."""

    def __init__(self, server: Server, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self._headers = {"Content-Type": "application/json", "x-api-key": key}

    def listen(self, text: str, format_name: str) -> Measured:
        body = json.dumps({"text": text, "format": format_name, "stream": True})
        header, received = HEADER_BYTES.get(format_name, 0), 0
        first: float | None = None
        started = time.perf_counter()
        self._connection.request("POST", "/api/v1/tts/synthesize", body, self._headers)
        response = self._connection.getresponse()
        while piece := response.read1(1 << 16):
            received += len(piece)
            if first is None and received > header:
                first = time.perf_counter() - started
        whole = time.perf_counter() - started
        if response.status != 200 or first is None:
            raise SystemExit(f"the server answered {response.status}")
        return Measured(1e3 * first, 1e3 * whole)


def measure(listener: Listener, length: int, format_name: str, repeats: int) -> str:
    measured = [listener.listen(text_of(length, number), format_name) for number in range(repeats)]
    firsts = [one.first for one in measured]
    return (
        f"{length:>6,} characters as {format_name:<4}  first audio p50 {statistics.median(firsts):5.1f} ms"
        f"  p95 {percentile(firsts, 0.95):5.1f} ms  all p50 {statistics.median(one.whole for one in measured):7.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = Server(data_dir)
        try:
            listener = Listener(server, server.key())
            for format_name in FORMATS:
                listener.listen(SENTENCE, format_name)  # starts processes, loads codecs
            for length in LENGTHS:
                print(measure(listener, length, "wav", repeats), flush=True)
            for format_name in FORMATS:
                print(measure(listener, 2_000, format_name, repeats), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
