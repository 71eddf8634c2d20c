"""One thread a process looks after the jobs that run in it: it writes heartbeats and progress, and stops the computing
of those that were cancelled or lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.utils import timezone

from jobs.models import Job, JobStatus

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.4
"""A cancelled job computes for at most this long."""
LEASE_SECONDS: float = settings.JOB_LEASE_SECONDS
"""A job without a heartbeat for so long has lost its process."""
HEARTBEAT_SECONDS = LEASE_SECONDS / 4


@dataclass(eq=False)
class Watch:
    """A job that runs here. `cancel` goes to the engine and is this job's own; `report` is called by the engine."""

    job: Job
    cancel: threading.Event
    client_left: threading.Event | None = None  # one for all jobs of a request
    share: float = 0.0  # 0–1
    stage: str = ""
    written: tuple[float, str] = (0.0, "")

    def report(self, share: float, stage: str) -> None:
        """Called by the engine's thread; the monitor writes the newest when it comes by."""
        self.share, self.stage = share, stage


class Monitor:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._beaten_at = 0.0
        self.stopping = False
        """Whether this process ends: queued jobs that are stopped go back to the queue, others have failed."""

    @contextmanager
    def watching(
        self, job: Job, cancel: threading.Event, client_left: threading.Event | None = None
    ) -> Iterator[Watch]:
        """Looks after `job` for the time of the block: sets `cancel` when its computing is to stop.

        `cancel` may be set late, after the job has ended: it must not be shared with other jobs.
        """
        watch = Watch(job, cancel, client_left)
        if self.stopping:
            cancel.set()
        with self._lock:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="job-monitor", daemon=True)
                self._thread.start()
        self._wake.set()
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

    def stop_all(self) -> None:
        """Stops all computing here, for a process that ends."""
        self.stopping = True
        with self._lock:
            for watch in self._watches:
                watch.cancel.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(CHECK_SECONDS)  # jobs that are shorter than this cost no query
            with self._lock:
                watches = list(self._watches)
                if not watches:
                    self._wake.clear()
                    continue
            try:
                self._look_after(watches)
            except Exception:  # the thread goes on: without its heartbeats all jobs here would be taken for lost
                log.exception("the job monitor could not reach the database; it goes on trying")
            finally:
                connection.close()

    def _look_after(self, watches: list[Watch]) -> None:
        beat = time.monotonic() - self._beaten_at > HEARTBEAT_SECONDS
        for model in {type(watch.job) for watch in watches}:
            mine = [watch for watch in watches if type(watch.job) is model]
            rows = model._default_manager.filter(status=JobStatus.PROCESSING)
            found = dict(rows.filter(id__in=[watch.job.id for watch in mine]).values_list("id", "attempts"))
            alive = [watch for watch in mine if found.get(watch.job.id) == watch.job.attempts]
            for watch in mine:
                left = watch.client_left is not None and watch.client_left.is_set()
                if left or watch not in alive:  # cancelled, deleted, or taken over by another worker
                    watch.cancel.set()
            if beat:
                rows.filter(id__in=[watch.job.id for watch in alive]).update(heartbeat_at=timezone.now())
            for watch in alive:
                newest = (round(watch.share, 3), watch.stage)
                if newest != watch.written:
                    watch.written = newest
                    rows.filter(id=watch.job.id).update(progress=newest[0], stage=newest[1])
        if beat:
            self._beaten_at = time.monotonic()


monitor = Monitor()
