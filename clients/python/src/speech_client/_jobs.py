"""Jobs and batches: looking, waiting, following, cancelling."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypedDict

from speech_client._flow import IO, Flow
from speech_client._http import Call, fetch, without_none
from speech_client._reading import read
from speech_client.errors import (
    ApiError,
    AuthenticationError,
    ConnectionFailed,
    JobCancelled,
    JobFailed,
    NotFound,
    PermissionDenied,
    TimedOut,
)
from speech_client.types import BatchState, Job, JobState, SpeechJob, Status, Task, Transcription

KINDS: dict[Task, type[Any]] = {"stt": Transcription, "tts": SpeechJob}
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.25, 5.0


class JobFilters(TypedDict, total=False):
    """Which jobs a list has."""

    status: Status | None
    created_after: datetime | None
    q: str | None  # words of the text or the transcript
    page_size: int | None


def query(
    *, status: Status | None = None, created_after: datetime | None = None, q: str | None = None,
    page_size: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """`JobFilters` as the server reads them."""
    after = created_after.isoformat() if created_after else None
    return without_none(status=status, created_after=after, q=q, page_size=page_size)


def get(io: IO, job: JobState | str, *, task: Task | None = None) -> Flow[Job]:
    """A job as it is now. task: `stt` or `tts`; without it, both are asked."""
    job_id, tasks = _identity(job, task)
    found = yield from _first(io, tasks, lambda kind: Call("GET", f"/{kind}/jobs/{job_id}"))
    return _job(*found)


def _job(task: Task, data: Mapping[str, Any]) -> Job:
    job: Job = read(KINDS[task], data)
    return job


def cancel(io: IO, job: JobState | str, *, task: Task | None = None) -> Flow[None]:
    """Cancels a job that runs; deletes one that has ended, with its audio and text."""
    job_id, tasks = _identity(job, task)
    yield from _first(io, tasks, lambda kind: Call("DELETE", f"/{kind}/jobs/{job_id}"))


def retry(io: IO, job: JobState | str, *, task: Task | None = None) -> Flow[Job]:
    """Queues the work of a failed or cancelled job again; the new job."""
    job_id, tasks = _identity(job, task)
    return _job(*(yield from _first(io, tasks, lambda kind: _retry(kind, job_id))))


def _retry(task: str, job_id: str) -> Call:
    return Call("POST", f"/{task}/jobs/{job_id}/retry", makes_job=True)


def wait(
    io: IO,
    job: JobState | str,
    *,
    task: Task | None = None,
    timeout: float | None = None,
    on_progress: Callable[[JobState], object] | None = None,
) -> Flow[Job]:
    """The job once it has succeeded. Follows its events; asks again and again where they cannot be had.

    Raises JobFailed, JobCancelled, and TimedOut after `timeout` seconds; the job goes on then.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    state = yield from get(io, job, task=task)
    tell = on_progress or (lambda _: None)
    if not state.ended:
        tell(state)
        yield from _follow(io, {"job_id": state.job_id}, deadline, tell)
        state = yield from _poll(io, lambda: get(io, state.job_id, task=state.task), deadline, tell)
    tell(state)
    if state.status == "succeeded":
        return state
    raise (JobCancelled if state.status == "cancelled" else JobFailed)(state)


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def get_batch(io: IO, batch_id: str, *, task: Task | None = None) -> Flow[BatchState]:
    """A batch as it is now, with its jobs."""
    tasks: tuple[Task, ...] = (task,) if task else ("stt", "tts")
    kind, data = yield from _first(io, tasks, lambda kind: Call("GET", f"/{kind}/batches/{batch_id}"))
    state = read(BatchState, {**data, "task": kind})
    return replace(state, jobs=[_job(kind, item) for item in data["items"]])


def wait_batch(
    io: IO,
    batch_id: str,
    *,
    task: Task | None = None,
    timeout: float | None = None,
    on_progress: Callable[[BatchState], object] | None = None,
) -> Flow[BatchState]:
    """The batch once all of its jobs have ended, however they did. Raises TimedOut; the batch goes on then."""
    deadline = None if timeout is None else time.monotonic() + timeout
    state = yield from get_batch(io, batch_id, task=task)
    tell = on_progress or (lambda _: None)
    if not state.ended:
        tell(state)
        yield from _follow(io, {"batch_id": batch_id}, deadline, tell)
        state = yield from _poll(io, lambda: get_batch(io, batch_id, task=state.task), deadline, tell)
    tell(state)
    return state


# ── Waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _follow(io: IO, filters: dict[str, str], deadline: float | None, tell: Callable[[Any], object]) -> Flow[None]:
    """Until an event says that it has ended, or there are no more events."""
    events = io.events(**filters)
    try:
        try:
            yield events.open(quiet_seconds=_left(deadline))
            while (event := (yield events.next())) is not None:
                _left(deadline)
                for state in event.batches if "batch_id" in filters else event.jobs:
                    if state.ended:
                        return
                    tell(state)
        except (AuthenticationError, NotFound):
            raise
        except (ApiError, ConnectionFailed):
            _left(deadline)  # too many listeners, a proxy that holds back, a network that is away: ask instead
    finally:
        yield events.close()


def _poll(io: IO, look: Callable[[], Flow[Any]], deadline: float | None, tell: Callable[[Any], object]) -> Flow[Any]:
    """Asks until it has ended, at first often."""
    delay = FIRST_POLL_SECONDS
    while not (state := (yield from look())).ended:
        tell(state)
        left = _left(deadline)
        yield io.sleep(delay if left is None else min(delay, left))
        delay = min(delay * 1.5, LONGEST_POLL_SECONDS)
    return state


def _left(deadline: float | None) -> float | None:
    """Seconds. Raises TimedOut when there are none."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimedOut("It has not ended in the time that it was waited for; it goes on.")
    return left


# ── Which list a job is in ──────────────────────────────────────────────────────────────────────────────────────────


def _identity(job: JobState | str, task: Task | None) -> tuple[str, tuple[Task, ...]]:
    if isinstance(job, str):
        return job, ((task,) if task else ("stt", "tts"))
    return job.job_id, (task or job.task,)


def _first(io: IO, tasks: tuple[Task, ...], call: Callable[[str], Call]) -> Flow[tuple[Task, Any]]:
    """The first of the tasks that knows the id, and its answer. A key's scope may allow one of them only."""
    refusals: list[ApiError] = []
    for task in tasks:
        try:
            response = yield from fetch(io, call(task))
        except (NotFound, PermissionDenied) as refusal:
            refusals.append(refusal)
        else:
            return task, response.json() if response.content else None
    raise next((refusal for refusal in refusals if isinstance(refusal, NotFound)), refusals[0])
