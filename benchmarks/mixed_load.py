"""Mixed load on one server: does it grow, does a request fail, and how long does each kind of request take?

    python -m benchmarks.mixed_load                                   an hour
    python -m benchmarks.mixed_load --minutes 10                      the shorter form
    python -m benchmarks.mixed_load --minutes 0.5 --growth 1          does it run? Too short to tell growth

Starts `manage.py serve` with a data folder of its own and its usual limits. Clients of three organisations, each with
keys of one scope, send syntheses short and long, whole and streamed, transcriptions, queued jobs, live recognition and
live speech over WebSockets, and what is not theirs; somebody reads the dashboard. Each sends the next request `pause`
(benchmarks/mixed_clients.py) after the answer; `--pace 2` halves the pauses.

Memory of the server, of the engines' processes and of PostgreSQL is read every few seconds. A line is fitted through
what was read after the warm-up (a quarter of the time, ten minutes at most; latencies count from then on too). Ends
with 1 where a request failed, or where the line of the server or of the engines rises by more than `--growth` of its
mean. PostgreSQL's is told only: its cache fills until `shared_buffers` is full.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "platform")]  # not this folder: its whisper.py is no library

from benchmarks.mixed_clients import TIMEOUT_SECONDS, Keys, Loop, loops  # noqa: E402
from benchmarks.platform_overhead import percentile  # noqa: E402
from benchmarks.processes import Reading, of_platform, this_machine  # noqa: E402
from tests.platform_process import Platform, environment, manage, running  # noqa: E402

EMAIL, PASSWORD = "owner@load-0.example", "ChangeMe123!"  # pragma: allowlist secret
ORGANIZATIONS = f"""
import json
from accounts import services
from accounts.actors import Actor
from accounts.models import Membership, Organization, User
made = []
for number in range(3):
    organization = Organization.objects.create(name=f"Load {{number}}", slug=f"load-{{number}}")
    user = User(email=f"owner@load-{{number}}.example", name="Owner")
    user.set_password({PASSWORD!r})
    user.save()
    Membership.objects.create(organization=organization, user=user, role="owner")
    actor = Actor(organization=organization, role="owner", user=user)
    new = lambda scope: services.create_api_key(actor=actor, name=scope, scopes=[scope])[1]
    made.append({{scope: new(scope) for scope in ("tts", "stt")}})
print(json.dumps(made))
"""
BOUNDED = ("server", "engine")


@dataclass
class Measured:
    """Of all clients; any thread may write."""

    since: float = 0.0  # monotonic; latencies of requests that began earlier do not count
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def repeat(self, loop: Loop, pause: float, stop: threading.Event) -> None:
        while not stop.is_set():
            began, started = time.monotonic(), time.perf_counter()
            try:
                took, failure = loop.action(), ""
            except Exception as error:
                took, failure = None, f"{type(error).__name__}: {error}"
            elapsed = time.perf_counter() - started if took is None else took
            with self.lock:
                self.requests += 1
                if failure:
                    self.failures[loop.kind][failure] += 1
                elif began >= self.since:
                    self.seconds[loop.kind].append(elapsed)
            stop.wait(pause)


@dataclass(frozen=True)
class Sample:
    at: float  # monotonic seconds
    reading: Reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--growth", type=float, default=0.05, help="allowed after the warm-up; 0.05: five in a hundred")
    parser.add_argument("--pace", type=float, default=1.0)
    options = parser.parse_args()
    print(f"mixed load for {options.minutes:g} minutes on {this_machine()}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with running(Path(scratch) / "data") as platform:
            organizations = make_organizations(platform)
            clients = loops(platform.url, organizations, EMAIL, PASSWORD)
            measured, samples = load(platform, clients, 60 * options.minutes, options.pace)
    sys.exit(0 if report(measured, samples, options.growth) else 1)


def make_organizations(platform: Platform) -> list[Keys]:
    done = manage("shell", "-c", ORGANIZATIONS, env=environment(platform.data_dir))
    if done.returncode:
        sys.exit(done.stderr)
    return [Keys(**keys) for keys in json.loads(done.stdout.splitlines()[-1])]


def load(platform: Platform, clients: list[Loop], seconds: float, pace: float) -> tuple[Measured, list[Sample]]:
    """Samples begin when the warm-up is over."""
    began = time.monotonic()
    measured, stop = Measured(since=began + min(seconds / 4, 600)), threading.Event()
    threads = [threading.Thread(target=measured.repeat, args=(each, each.pause / pace, stop)) for each in clients]
    for thread in threads:
        thread.start()
    try:
        samples = list(_watch(platform, measured.since, began + seconds))
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * TIMEOUT_SECONDS)
    return measured, samples


def _watch(platform: Platform, since: float, until: float) -> Iterator[Sample]:
    every = min(5.0, max(0.5, (until - since) / 60))
    while (now := time.monotonic()) < until:
        if platform.process.poll() is not None:
            raise SystemExit(f"the server ended: {platform.output.read_text()[-2000:]}")
        if now >= since:
            yield Sample(time.monotonic(), of_platform(platform.process.pid, platform.data_dir))
        time.sleep(every)


def report(measured: Measured, samples: list[Sample], bound: float) -> bool:
    """Whether nothing failed and nothing grew."""
    print("\n| request | count | failed | p50 ms | p95 ms | p99 ms |\n|---|---|---|---|---|---|")
    for kind in sorted({*measured.seconds, *measured.failures}):
        milliseconds = [1e3 * second for second in measured.seconds[kind]]
        cells = [f"{percentile(milliseconds, share):,.0f}" if milliseconds else "–" for share in (0.5, 0.95, 0.99)]
        failed = measured.failures[kind].total()
        print(f"| {kind} | {len(milliseconds):,} | {failed} | {' | '.join(cells)} |")
    bounded = _report_memory(samples, bound)
    _report_processors(measured, samples)
    failed = sum(each.total() for each in measured.failures.values())
    print(f"\n{measured.requests:,} requests with the warm-up, {failed} failed")
    for kind, failures in measured.failures.items():
        for failure, times in failures.most_common(5):
            print(f"  FAILED {times} times, {kind}: {failure}")
    return bounded and not failed


def _report_memory(samples: list[Sample], bound: float) -> bool:
    hours = (samples[-1].at - samples[0].at) / 3600
    print(f"\n| memory over {60 * hours:.1f} minutes | first MB | last MB | most MB | slope MB/h | growth | bound |")
    print("|---|---|---|---|---|---|---|")
    good = True
    for kind in ("server", "engine", "database"):
        values = [sample.reading.memory.get(kind, 0.0) for sample in samples]
        slope = 3600 * statistics.linear_regression([sample.at for sample in samples], values).slope
        growth = slope * hours / (statistics.fmean(values) or 1.0)
        limit = f"{bound:.0%}" if kind in BOUNDED else "–"
        good = good and (kind not in BOUNDED or growth <= bound)
        cells = f"{values[0]:.0f} | {values[-1]:.0f} | {max(values):.0f} | {slope:+.1f} | {growth:+.1%} | {limit}"
        print(f"| {kind} | {cells} |")
    return good


def _report_processors(measured: Measured, samples: list[Sample]) -> None:
    elapsed = samples[-1].at - samples[0].at
    used = samples[-1].reading.seconds_since(samples[0].reading)
    counted = sum(map(len, measured.seconds.values()))
    parts = ", ".join(f"{kind} {seconds / elapsed:.2f}" for kind, seconds in used.most_common())
    print(
        f"\nprocessors: {used.total() / elapsed:.2f} busy ({parts}); {used.total() / max(1, counted):.3f} s a request"
    )


if __name__ == "__main__":
    main()
