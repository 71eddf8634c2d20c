"""Does a reload fail a request, and is its memory given back?

    python benchmarks/hot_reload.py                        1,000 requests, 16 clients, 40 reloads
    python benchmarks/hot_reload.py --reloads 5
    python benchmarks/hot_reload.py --requests 200 --clients 8

Memory is that of the server process: at rest before and after, and under load after each reload, when the old version
may still be in use and sixteen requests hold what they need. Ends with 1 where a request failed, or where the mean of
the last quarter of the series is more than 5% over that of the quarter before it.

Starts `manage.py serve` with a data folder of its own, imports a model (default: the tiny Whisper of the tests, so that
the server's work is swapping and not recognising), and sends requests without a pause while it is reloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "platform")]  # not this folder: its whisper.py is no library

import httpx  # noqa: E402
import psutil  # noqa: E402

from tests.platform_process import Platform, environment, manage, running  # noqa: E402

CLIP = ROOT / "tests" / "audio" / "weather.flac"
LEVEL = 0.05
REST_SECONDS = 3.0
LIMITS = {"RATE_LIMIT_ACTOR_PER_MINUTE": "1000000", "RATE_LIMIT_ORGANIZATION_PER_MINUTE": "1000000"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--reloads", type=int, default=40)
    parser.add_argument("--model", type=Path, help="a model folder; default: the tests' tiny Whisper")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.model or _tiny_whisper(Path(scratch) / "tiny")
        name = json.loads((folder / "model.json").read_text())["name"]
        data = Path(scratch) / "data"
        with running(data, **LIMITS) as platform:
            done = manage("models", "import", str(folder), env=environment(data), timeout_seconds=300)
            if done.returncode:
                sys.exit(done.stderr)
            measure(platform, name, arguments)


def _tiny_whisper(folder: Path) -> Path:
    from tests.models.support import build_whisper

    return build_whisper(folder)


def measure(platform: Platform, model: str, arguments: argparse.Namespace) -> None:
    with httpx.Client(timeout=120, trust_env=False) as admin:
        platform.log_in(admin)
        headers = {"Authorization": admin.headers["Authorization"]}
        memory: list[int] = []
        answers: Counter[int] = Counter()
        seconds: list[float] = []
        lock = threading.Lock()
        left = iter(range(arguments.requests))

        def client_loop() -> None:
            with httpx.Client(timeout=120, trust_env=False, headers=headers) as client:
                while next(left, None) is not None:
                    started = time.perf_counter()
                    status = transcribe(client, platform, model)
                    with lock:
                        answers[status] += 1
                        seconds.append(time.perf_counter() - started)

        with ThreadPoolExecutor(arguments.clients) as threads:  # whatever the first requests make for good
            list(threads.map(lambda _: transcribe(admin, platform, model), range(2 * arguments.clients)))
        time.sleep(REST_SECONDS)
        before = resident(platform)
        started = time.perf_counter()
        with ThreadPoolExecutor(arguments.clients) as threads:
            loops = [threads.submit(client_loop) for _ in range(arguments.clients)]
            for number in range(1, arguments.reloads + 1):
                share = number / (arguments.reloads + 1)
                while sum(answers.values()) < share * arguments.requests:
                    time.sleep(0.02)
                outcome = admin.post(f"{platform.url}/api/v1/models/reload", json={"model": model}).json()
                assert not outcome["failed"], outcome
                memory.append(resident(platform))
            for loop in loops:
                loop.result()
        elapsed = time.perf_counter() - started
        time.sleep(REST_SECONDS)
        report(answers, seconds, elapsed, before, memory, resident(platform), arguments)


def transcribe(client: httpx.Client, platform: Platform, model: str) -> int:
    files = {"audio_file": (CLIP.name, CLIP.read_bytes())}
    return client.post(f"{platform.url}/api/v1/stt/transcribe", files=files, data={"model": model}).status_code


def resident(platform: Platform) -> int:
    """Bytes of the server process, without its children and the database."""
    return psutil.Process(platform.process.pid).memory_info().rss


def report(
    answers: Counter[int], seconds: list[float], elapsed: float, before: int, memory: list[int], after: int,
    arguments: argparse.Namespace,
) -> None:  # fmt: skip
    ordered = sorted(seconds)
    growth = growth_of(memory)
    print(f"{os.cpu_count()} cores; {arguments.clients} clients; {arguments.reloads} reloads")
    print(f"answers {dict(answers)} in {elapsed:.1f} s: {len(seconds) / elapsed:.1f} a second")
    print(f"median {1000 * ordered[len(ordered) // 2]:.0f} ms, slowest {1000 * ordered[-1]:.0f} ms")
    print(f"resident MB at rest: {before / 1e6:.0f} before, {after / 1e6:.0f} after; under load after each reload:")
    print(" ".join(f"{value / 1e6:.0f}" for value in memory))
    print(f"the last quarter against the one before: {100 * growth:+.1f} %")
    sys.exit(0 if set(answers) == {200} and growth <= LEVEL else 1)


def growth_of(memory: list[int]) -> float:
    """By which the last quarter of the series is above the one before; 0 for series too short to tell."""
    quarter = len(memory) // 4
    if not quarter:
        return 0.0
    return fmean(memory[-quarter:]) / fmean(memory[-2 * quarter : -quarter]) - 1


if __name__ == "__main__":
    main()
