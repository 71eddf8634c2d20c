"""manage.py worker: takes queued jobs, on this or any other machine that reaches the database and the storage."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from common import lifetime
from jobs.worker import run_worker
from models_registry import runtime
from observability import server

ALIVE_SECONDS = 5


class Command(BaseCommand):
    help = "Runs queued jobs. SIGTERM or Ctrl-C lets running jobs end, or hands them back to the queue."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--queues", default="", help="Comma-separated: tts, stt, webhooks, shadow, notices, default (all)."
        )
        parser.add_argument(
            "--concurrency", type=int, default=settings.WORKER_CONCURRENCY, help="Jobs at once (default %(default)s)."
        )
        parser.add_argument(
            "--metrics-port",
            type=int,
            default=settings.METRICS_PORT,
            help="Serves /metrics and /health there, at HOST; 0: nowhere (default %(default)s).",
        )
        parser.add_argument(
            "--alive-file",
            type=Path,
            help=f"A file that is touched every {ALIVE_SECONDS} s, for probes: one that is old tells of a hung worker.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        queues = [queue.strip() for queue in options["queues"].split(",") if queue.strip()]
        self.stdout.write(f"Worker: {options['concurrency']} jobs at once from {', '.join(queues) or 'all queues'}.")
        self.stdout.flush()
        if options["metrics_port"]:
            _serve_metrics(options["metrics_port"])
        runtime.current.start(kind="worker")
        lifetime.has_started()
        try:
            asyncio.run(_run(queues, options["concurrency"], options["alive_file"]))
        finally:
            runtime.current.stop()


def _serve_metrics(port: int) -> None:
    try:
        server.start(settings.HOST, port)
    except OSError as error:
        raise CommandError(f"Metrics cannot be served on port {port} ({error.strerror}).") from None


async def _run(queues: list[str], concurrency: int, alive_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    showing = asyncio.ensure_future(_show_life(alive_file)) if alive_file else None
    await run_worker(queues=queues, concurrency=concurrency, stop=stop)
    if showing:
        showing.cancel()


async def _show_life(file: Path) -> None:
    """Until cancelled: also while running jobs are given their time to end."""
    while True:
        file.touch()
        await asyncio.sleep(ALIVE_SECONDS)
