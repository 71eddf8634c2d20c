"""One queue and 1, 2, 4 workers: jobs a second, and what each job costs the workers and the database.

    python benchmarks/scale.py                                   about five minutes
    python benchmarks/scale.py --empty 300 --real 40 --workers 1 2      half a minute

With a database of its own. Empty jobs are those of `job_queue.py`: they are claimed, end with their usage record and
are acknowledged, and compute nothing. Real ones are `manage.py worker` speaking a text of 100 characters with espeak-ng
to wav, which is written to the store. Counted from the tenth job in a hundred to the last, by processor time of the
processes, and by PostgreSQL's own counters (`pg_stat_database`, `pg_current_wal_lsn`). The measurement's own asking how
many have ended, twice a second, is among them.

Needs an idle machine; where it has fewer cores than workers, the curve shows the cores and not the queue.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "platform")]  # not this folder: its whisper.py is no library

from benchmarks import job_queue, processes  # noqa: E402

CONCURRENCY = 4
TEXT = ("The committee will meet on Thursday to discuss the new budget and the plans for the coming year. " * 2)[:100]
ASK_SECONDS = 0.5
COUNTERS = """
SELECT xact_commit, blks_read + blks_hit, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'), pg_database_size(datname)
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True)
class Moment:
    at: float  # monotonic seconds
    ended: int
    reading: processes.Reading
    counters: tuple[float, ...]  # commits, blocks, bytes of the log, bytes of the database


@dataclass(frozen=True)
class Kind:
    name: str
    jobs: int
    command: tuple[str, ...]  # of a worker
    text: str


@contextmanager
def workers(kind: Kind, data_dir: str, count: int) -> Iterator[list[int]]:
    """Their process ids."""
    env = {**os.environ, "DATA_DIR": data_dir, "ENV_FILE": os.devnull, "LOG_LEVEL": "WARNING"}
    started = [subprocess.Popen(kind.command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)


def enqueue(kind: Kind, organization: Any) -> None:
    """As requests do, a thousand rows at a time."""
    from common import storage
    from tts.models import TtsJob

    ids = job_queue.enqueue_many(organization, kind.jobs)
    rows = list(TtsJob.objects.filter(id__in=ids))
    for row in rows:
        row.text, row.characters = kind.text, len(kind.text)
        row.audio_key = storage.new_key(organization.id, "tts", ".wav")
    TtsJob.objects.bulk_update(rows, ["text", "characters", "audio_key"], batch_size=1000)


def moment(data_dir: str, pids: list[int]) -> Moment:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(COUNTERS)
        counters = tuple(map(float, cursor.fetchone()))
    roots = {**dict.fromkeys(pids, "worker"), **dict.fromkeys(processes.databases(data_dir), "database")}
    return Moment(time.monotonic(), job_queue.ended(), processes.read(roots), counters)


def measure(kind: Kind, data_dir: str, organization: Any, count: int) -> tuple[Moment, Moment]:
    """When the tenth job in a hundred had ended, and when all had."""
    job_queue.clear()
    enqueue(kind, organization)
    deadline = time.monotonic() + job_queue.RUN_SECONDS
    with workers(kind, data_dir, count) as pids:
        wait_for(kind.jobs // 10, deadline)
        first = moment(data_dir, pids)
        wait_for(kind.jobs, deadline)
        return first, moment(data_dir, pids)


def wait_for(count: int, deadline: float) -> None:
    from tts.models import TtsJob

    while job_queue.ended() < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {job_queue.ended()} of {count} jobs ended in {job_queue.RUN_SECONDS} s")
        if TtsJob.objects.filter(status="failed").exists():
            raise SystemExit(TtsJob.objects.filter(status="failed").first().error_message)
        time.sleep(ASK_SECONDS)


def rate(first: Moment, last: Moment) -> float:
    """By the rows: when the last job ended lies before the moment in which that was seen."""
    from tts.models import TtsJob

    times = list(TtsJob.objects.order_by("finished_at").values_list("finished_at", flat=True))
    return (last.ended - first.ended) / (times[last.ended - 1] - times[first.ended - 1]).total_seconds()


def row(kind: Kind, count: int, first: Moment, last: Moment, alone: float) -> str:
    jobs = last.ended - first.ended
    used = last.reading.seconds_since(first.reading)
    commits, blocks, log, size = ((b - a) / jobs for a, b in zip(first.counters, last.counters, strict=True))
    milliseconds = [1e3 * used[name] / jobs for name in ("worker", "engine", "database")]
    share = used["database"] / (used.total() or 1.0)
    per_second = rate(first, last)
    costs = " | ".join(f"{value:.1f}" for value in milliseconds)
    return (
        f"| {kind.name} | {count} | {per_second:.1f} | {per_second / (alone or per_second):.2f} | {costs} | {share:.0%}"
        f" | {commits:.1f} | {blocks:.0f} | {log / 1e3:.1f} | {size / 1e3:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--empty", type=int, default=5000, help="jobs")
    parser.add_argument("--real", type=int, default=800, help="jobs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        job_queue.set_up(data_dir)
        report(options, data_dir)


def report(options: argparse.Namespace, data_dir: str) -> None:
    from django.core.management import call_command

    from accounts.models import Organization
    from models_registry.services import register_embedded

    call_command("migrate", verbosity=0, interactive=False)
    register_embedded()
    organization = Organization.objects.create(name="Benchmark", slug="benchmark")
    empty = (sys.executable, job_queue.__file__, "--work", data_dir, "--concurrency", str(CONCURRENCY))
    real = (sys.executable, "manage.py", "worker", "--queues", "tts", "--concurrency", str(CONCURRENCY))
    print(f"workers of {CONCURRENCY} jobs at once on {processes.this_machine()}; costs are of one job\n")
    columns = ("jobs", "workers", "jobs/s", "of one", "worker ms", "engine ms", "database ms", "database's share",
               "commits", "blocks", "log kB", "growth kB")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|", flush=True)
    for kind in (Kind("empty", options.empty, empty, "Nothing."), Kind("real", options.real, real, TEXT)):
        alone = 0.0
        for count in options.workers:
            first, last = measure(kind, data_dir, organization, count)
            print(row(kind, count, first, last, alone), flush=True)
            alone = alone or rate(first, last)


if __name__ == "__main__":
    main()
