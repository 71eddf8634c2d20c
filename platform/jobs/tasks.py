"""The queue's one task: run a job. Procrastinate finds it here."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from procrastinate import JobContext, RetryDecision
from procrastinate.contrib.django import app
from procrastinate.jobs import Job as QueuedTask
from procrastinate.retry import BaseRetryStrategy

from jobs import queue

# As many as the largest `--concurrency`; Procrastinate hands out no more than that at once.
_threads = ThreadPoolExecutor(64, thread_name_prefix="job")


class WhenAsked(BaseRetryStrategy):
    """Runs the task again after as long as `queue.Later` says; how often in all, the job's row counts."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedTask) -> RetryDecision | None:
        if isinstance(exception, queue.Later):
            return RetryDecision(retry_in={"seconds": exception.seconds})
        return None


@app.task(name="jobs.run", pass_context=True, retry=WhenAsked())
async def run(context: JobContext, kind: str, job_id: str, traceparent: str = "") -> None:
    """Runs one job in a thread: models block, and the worker's loop must go on beating."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(_threads, queue.run_job, kind, uuid.UUID(job_id), traceparent)
