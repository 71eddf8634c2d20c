"""Runs queued jobs: inside the server (its ASGI lifespan) or alone (`manage.py worker`)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.db import connection
from procrastinate import App, JobContext
from procrastinate.contrib.django import app
from procrastinate.exceptions import ConnectorException
from procrastinate.middleware import AsyncCallNext
from procrastinate.worker import Worker

from audit import services as audit
from common import db, lifetime, uploads
from jobs import batches, idempotency, queue
from jobs.connector import PatientConnector, be_patient
from jobs.events import listeners
from jobs.monitor import HEARTBEAT_SECONDS, LEASE_SECONDS, monitor
from jobs.services import WORKER_NAME

log = logging.getLogger(__name__)

PURGE_SECONDS = 600
"""How often what is past its retention period is looked for."""


SPEECH_QUEUES = ("tts", "stt", "voices")
BACKGROUND_QUEUES = ("webhooks", "notices", "models", "default")
BACKGROUND_CONCURRENCY = 16
"""Tasks that wait for others rather than compute have places of their own: a webhook's receiver that hangs must not
take the place of speech."""
SHADOW_QUEUES = ("shadow",)
"""What versions on trial hear in secret: one at a time, so that it takes no other's place.

Every queue that is used stands in one of the three."""


async def run_worker(
    *, queues: Sequence[str] | None = None, concurrency: int | None = None, stop: asyncio.Event
) -> None:
    """Takes jobs until `stop` is set; then gives those that run DRAIN_SECONDS to end, and hands back the rest."""
    monitor.stopping = False
    be_patient(True)
    db.stopping.clear()
    while not stop.is_set():
        working = asyncio.ensure_future(_work(queues, concurrency or settings.WORKER_CONCURRENCY))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            await _drain(working)
        elif error := working.exception():
            log.error("the worker lost the queue and connects again", exc_info=error)
            await asyncio.sleep(2)


async def _work(queues: Sequence[str] | None, concurrency: int) -> None:
    connector = await asyncio.get_running_loop().run_in_executor(None, PatientConnector)
    running = _Running(connector)
    async with app.with_connector(connector).open_async() as worker_app:
        recovering = asyncio.ensure_future(_recover(worker_app, running, connector))
        try:
            async with asyncio.TaskGroup() as group:  # when one fails the other stops, and both connect again
                groups = ((SPEECH_QUEUES, concurrency), (BACKGROUND_QUEUES, BACKGROUND_CONCURRENCY), (SHADOW_QUEUES, 1))
                for names, places in groups:
                    taken = [name for name in names if not queues or name in queues]
                    if taken:
                        group.create_task(_take(worker_app, taken, places, running))
        finally:
            recovering.cancel()


class _Running:
    """The tasks that run in this process."""

    def __init__(self, connector: PatientConnector) -> None:
        self._connector = connector
        self._tasks: set[int | None] = set()
        self._missed: set[int | None] = set()

    async def watch(self, proceed: AsyncCallNext, context: JobContext, worker: Worker) -> Any:
        """A middleware of the worker: everything that it runs passes here."""
        self._tasks.add(context.job.id)
        try:
            return await proceed()
        finally:
            self._tasks.discard(context.job.id)

    async def give_back(self, worker_app: App) -> None:
        """Tasks that the database gave to this process, which never heard of it: the connection was lost just then.

        One that has only just begun or ended does not run either, and so is looked at twice.
        """
        taken = [
            task
            for number in self._connector.workers
            for task in await worker_app.job_manager.list_jobs_async(status="doing", worker_id=number)
            if task.id not in self._tasks
        ]
        for task in taken:
            if task.id in self._missed:
                log.warning("a task was taken without its worker's knowledge", extra={"task": task.call_string})
                with suppress(ConnectorException):  # it ended just now
                    await worker_app.job_manager.retry_job(task)
        self._missed = {task.id for task in taken}


async def _take(worker_app: App, queues: list[str], concurrency: int, running: _Running) -> None:
    await worker_app.run_worker_async(
        queues=queues,
        concurrency=concurrency,
        name=WORKER_NAME,
        install_signal_handlers=False,
        fetch_job_polling_interval=5.0,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=LEASE_SECONDS,
        delete_jobs="successful",
        worker_middleware=[running.watch],
    )
    raise ConnectionError("The worker stopped by itself.")  # as it does when a part of it fails; it raises nothing


async def _recover(worker_app: App, running: _Running, connector: PatientConnector) -> None:
    """Gives the tasks of workers that died to others. Every worker does this; whoever comes second changes nothing.

    After an outage of the database all seem to have died: they have the time of a lease to say that they live.
    """
    manager, loop = worker_app.job_manager, asyncio.get_running_loop()
    purged_at = float(-PURGE_SECONDS)
    while True:
        await asyncio.sleep(LEASE_SECONDS / 2)
        try:
            stalled = await manager.get_stalled_jobs(seconds_since_heartbeat=LEASE_SECONDS)
            if connector.was_away_within(LEASE_SECONDS):
                continue
            for task in stalled:
                with suppress(ConnectorException):  # another worker was quicker
                    await manager.retry_job(task)
            await running.give_back(worker_app)
            await manager.delete_old_jobs(nb_hours=24, include_failed=True)
            await loop.run_in_executor(None, _tidy)
            if time.monotonic() - purged_at > PURGE_SECONDS:
                purged_at = time.monotonic()
                await loop.run_in_executor(None, _purge)
        except Exception:
            log.exception("could not look for lost jobs; trying again")


def _tidy() -> None:
    try:
        queue.fail_interrupted()
        queue.release_reservations()
        batches.close_abandoned()
        listeners.purge()
        idempotency.purge()
    finally:
        connection.close()


def _purge() -> None:
    from retention import services as retention

    try:
        for purge in (uploads.purge, audit.purge, retention.purge):
            try:
                purge()
            except Exception:  # a storage that is away keeps nothing else from being deleted
                log.exception("could not delete what is past its time; trying again")
    finally:
        connection.close()


async def _drain(working: asyncio.Future[None]) -> None:
    be_patient(False)
    db.stopping.set()
    working.cancel()  # procrastinate takes no new jobs, and waits for those under way
    with suppress(asyncio.CancelledError, asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(working), settings.DRAIN_SECONDS)
    if working.done():  # in a server, requests and live sessions have the rest of the time
        return
    monitor.stop_all()
    with suppress(asyncio.CancelledError, Exception):
        await asyncio.wait_for(working, 10)


async def _stop_in_time(stop: asyncio.Event) -> None:
    """The end of the lifespan is told when all answers have been given: too late for those that take longer.

    From the signal on no more jobs are taken, and requests have DRAIN_SECONDS as jobs have.
    """
    while not lifetime.server_is_stopping():
        await asyncio.sleep(0.2)
    stop.set()
    await asyncio.sleep(settings.DRAIN_SECONDS)
    monitor.stop_all()


class Lifespan:
    """The ASGI lifespan: a worker beside the server, in its process, so that jobs share its resident models."""

    def __init__(self, start: Sequence[Callable[[], None]] = (), stop: Sequence[Callable[[], None]] = ()) -> None:
        self._start, self._stop = start, stop

    async def __call__(self, scope: dict, receive: Callable, send: Callable) -> None:
        stop, working = asyncio.Event(), None
        stopping = asyncio.ensure_future(_stop_in_time(stop))
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                for hook in self._start:
                    hook()
                if settings.EMBEDDED_WORKER:
                    working = asyncio.ensure_future(run_worker(stop=stop))
                await send({"type": "lifespan.startup.complete"})
            else:
                stop.set()
                if working is not None:
                    await working
                stopping.cancel()
                for hook in self._stop:
                    hook()
                await send({"type": "lifespan.shutdown.complete"})
                return
