"""What the queue costs: `python benchmarks/job_queue.py` (`--small` for a quick look).

With a database of its own, and worker processes that run jobs of synthesis which compute nothing: they are claimed, end
as succeeded with their usage record, and are acknowledged, through the same code as all others; only the engine is left
out. Measures

1. overhead: from the commit that enqueues a job to its start in an idle worker
2. throughput: jobs a second, from a full queue, with one worker process and with two
3. claim: the time of the query that hands out a task, with 100 queued and with 100,000
4. throughput again, with 100,000 queued

Needs an idle machine; the figures of one run belong together.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

RUN_SECONDS = 120


def set_up(data_dir: str) -> None:
    os.environ.update(DATA_DIR=data_dir, ENV_FILE=os.devnull, LOG_LEVEL="WARNING", DATABASE_URL="",
                      DJANGO_SETTINGS_MODULE="config.settings")  # fmt: skip
    import django

    django.setup()


# ── Workers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(*, job: Any) -> None:
    """A job's whole course but for the engine. Stands in the place of `tts.services.run`."""
    from analytics.services import Metered
    from jobs import services

    services.succeed(job, metered=Metered(model=job.model, characters=job.characters))


def work(data_dir: str, concurrency: int) -> None:
    set_up(data_dir)
    from jobs import queue
    from jobs.worker import run_worker

    queue.RUNNERS["tts"] = __name__
    stop = asyncio.Event()

    async def until_stopped() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await run_worker(queues=["tts"], concurrency=concurrency, stop=stop)

    asyncio.run(until_stopped())


@contextmanager
def workers(data_dir: str, count: int, concurrency: int) -> Iterator[None]:
    command = [sys.executable, __file__, "--work", data_dir, "--concurrency", str(concurrency)]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def new_job(organization: Any) -> Any:
    from tts.models import TtsJob

    return TtsJob(organization=organization, is_async=True, text="Nothing.", characters=8, language="en-US",
                  voice="espeak:en-us", model="espeak-ng", format="wav", sample_rate=22050)  # fmt: skip


def enqueue(organization: Any) -> tuple[uuid.UUID, float]:
    """One job as a request enqueues it; its id, and when it was committed."""
    from jobs import services

    job = services.create(new_job(organization))
    return job.id, time.time()


def enqueue_many(organization: Any, count: int) -> list[uuid.UUID]:
    """Rows and tasks like `enqueue`'s, a thousand at a time."""
    from django.db import connection, transaction

    from tts.models import TtsJob

    ids = []
    for start in range(0, count, 1000):
        with transaction.atomic(), connection.cursor() as cursor:
            rows = TtsJob.objects.bulk_create(new_job(organization) for _ in range(min(1000, count - start)))
            cursor.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, args) SELECT 'tts', 'jobs.run', "
                "jsonb_build_object('kind', 'tts', 'job_id', id) FROM unnest(%s::uuid[]) AS id",
                [[row.id for row in rows]],
            )
        ids += [row.id for row in rows]
    return ids


def clear() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs")
        cursor.execute("DELETE FROM tts_ttsjob")
        cursor.execute("VACUUM ANALYZE procrastinate_jobs, tts_ttsjob, analytics_usagerecord")


def ended() -> int:
    from tts.models import TtsJob

    return TtsJob.objects.filter(status="succeeded").count()


# ── Measurements ────────────────────────────────────────────────────────────────────────────────────────────────────


def measure_overhead(data_dir: str, organization: Any, count: int) -> None:
    from tts.models import TtsJob

    with workers(data_dir, 1, 2):
        enqueue(organization)
        wait_for(1)
        sent = {}
        for _ in range(count):
            job_id, committed = enqueue(organization)
            sent[job_id] = committed
            time.sleep(0.05)
        wait_for(count + 1)
    waits = sorted(
        1e3 * (started.timestamp() - sent[job_id])
        for job_id, started in TtsJob.objects.filter(id__in=sent).values_list("id", "started_at")
    )
    print(f"commit to start  {count} jobs: p50 {waits[count // 2]:.1f} ms  p95 {waits[int(count * 0.95)]:.1f} ms"
          f"  worst {waits[-1]:.1f} ms", flush=True)  # fmt: skip


def wait_for(count: int) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while ended() < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {ended()} of {count} jobs ended")
        time.sleep(0.05)


def measure_throughput(data_dir: str, count: int, processes: int, concurrency: int, queued: int) -> None:
    """Of the `queued` jobs that are there, the first `count`."""
    from tts.models import TtsJob

    with workers(data_dir, processes, concurrency):
        wait_for(count)
    times = list(
        TtsJob.objects.filter(status="succeeded").order_by("finished_at").values_list("finished_at", flat=True)[:count]
    )
    skipped = count // 10  # processes start at different moments
    seconds = (times[-1] - times[skipped]).total_seconds()
    rate = (count - skipped - 1) / seconds
    print(f"throughput       {rate:6.0f} jobs/s  {processes} worker processes x {concurrency} jobs at once,"
          f" {queued:,} queued", flush=True)  # fmt: skip


def measure_claim(queued: int, samples: int = 90) -> float:
    """Median milliseconds of the query that takes a task."""
    from django.db import connection

    seconds = []
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")  # as workers take tasks; the disk's time is not the query's
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")
        (worker,) = cursor.fetchone()
        for _ in range(min(samples, queued - 10)):
            started = time.perf_counter()
            cursor.execute("SELECT id FROM jobs_fetch_task(%s::varchar[], %s)", [["tts", "stt"], worker])
            seconds.append(time.perf_counter() - started)
            assert cursor.fetchone()[0] is not None
        cursor.execute("UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL WHERE worker_id = %s", [worker])
        cursor.execute("SET synchronous_commit = on")
    milliseconds = 1e3 * statistics.median(seconds)
    print(f"claim            p50 {milliseconds:.2f} ms  {queued:,} queued", flush=True)
    return milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--work", metavar="DATA_DIR", help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, default=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.concurrency)
        return
    few, many, backlog = (20, 200, 2000) if options.small else (200, 3000, 100_000)
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        set_up(data_dir)
        measure(data_dir, few, many, backlog)


def measure(data_dir: str, few: int, many: int, backlog: int) -> None:
    from django.core.management import call_command

    from accounts.models import Organization

    call_command("migrate", verbosity=0, interactive=False)
    organization = Organization.objects.create(name="Benchmark", slug="benchmark")
    measure_overhead(data_dir, organization, few)
    for processes, concurrency in ((1, 4), (2, 4)):
        clear()
        enqueue_many(organization, many)
        measure_throughput(data_dir, many, processes, concurrency, many)
    clear()
    enqueue_many(organization, 100)
    short = measure_claim(100)
    clear()
    enqueue_many(organization, backlog)
    long = measure_claim(backlog)
    print(f"                 {long / short:.2f} times as long")
    measure_throughput(data_dir, many, 2, 4, backlog)
    measure_claim(backlog - many)  # with the dead rows of those that are done at the head of the queue


if __name__ == "__main__":
    main()
