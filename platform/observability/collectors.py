"""What is looked up when somebody asks: the queue, resident models, open sockets, GPUs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import Error as DatabaseError
from django.db import connection
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.worker import BACKGROUND_QUEUES, SHADOW_QUEUES, SPEECH_QUEUES
from ml import devices, runtime, workers
from observability import metrics
from sockets import consumer

log = logging.getLogger(__name__)

CACHE_SECONDS = 1.0
QUEUES = (*SPEECH_QUEUES, *BACKGROUND_QUEUES, *SHADOW_QUEUES)
_STATES = ("queued", "scheduled", "processing")

# Tasks that ended well are deleted, so that the table is as long as the queue. The second part reads one row a queue.
_QUERY = """
SELECT queue_name,
       CASE WHEN status = 'doing' THEN 'processing' WHEN scheduled_at > now() THEN 'scheduled' ELSE 'queued' END,
       count(*), NULL::float
FROM procrastinate_jobs WHERE status IN ('todo', 'doing') GROUP BY 1, 2
UNION ALL
SELECT oldest.queue_name, 'oldest', 0, extract(epoch FROM now() - coalesce(oldest.scheduled_at, event.at))
FROM unnest(%s::varchar[]) AS queue (name) CROSS JOIN LATERAL (
    (SELECT id, queue_name, scheduled_at FROM procrastinate_jobs
     WHERE queue_name = queue.name AND status = 'todo' AND scheduled_at IS NULL ORDER BY id LIMIT 1)
    UNION ALL
    (SELECT id, queue_name, scheduled_at FROM procrastinate_jobs
     WHERE queue_name = queue.name AND status = 'todo' AND scheduled_at <= now() ORDER BY scheduled_at LIMIT 1)
) AS oldest LEFT JOIN LATERAL (
    SELECT at FROM procrastinate_events WHERE job_id = oldest.id AND type = 'deferred' ORDER BY id LIMIT 1
) AS event ON true
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The queue of all processes together."""

    jobs: dict[tuple[str, str], int]  # by queue and state
    oldest_seconds: dict[str, float]  # by queue: how long the task that is due longest has waited


def backlog() -> Backlog:
    """One query. Raises the database's errors."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERY, [list(QUEUES)])
        rows = cursor.fetchall()
    jobs = {(queue, state): 0 for queue in QUEUES for state in _STATES}
    oldest = dict.fromkeys(QUEUES, 0.0)
    for queue, state, count, seconds in rows:
        if queue not in oldest:
            continue
        if state == "oldest":
            oldest[queue] = max(oldest[queue], seconds or 0.0)
        else:
            jobs[queue, state] = count
    return Backlog(jobs, oldest)


class QueueCollector(Collector):
    """The backlog, asked for once in CACHE_SECONDS however many scrape."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._found: Backlog | None = None

    def collect(self) -> Iterator[Metric]:
        found = self._cached()
        yield GaugeMetricFamily("speech_database_up", "Whether the queue could be read.", value=float(bool(found)))
        jobs = GaugeMetricFamily("speech_queue_jobs", "Tasks of all processes together.", labels=("queue", "status"))
        oldest = GaugeMetricFamily(
            "speech_queue_oldest_seconds", "For how long the oldest task that is due has waited.", labels=("queue",)
        )
        if found is not None:
            for labels, count in found.jobs.items():
                jobs.add_metric(labels, count)
            for queue, seconds in found.oldest_seconds.items():
                oldest.add_metric((queue,), seconds)
        yield jobs
        yield oldest

    def _cached(self) -> Backlog | None:
        with self._lock:
            if self._clock() - self._read_at >= CACHE_SECONDS:
                self._found, self._read_at = _read(), self._clock()
            return self._found


def _read() -> Backlog | None:
    try:
        return backlog()
    except DatabaseError:
        log.warning("the queue could not be measured", exc_info=True)
        return None
    finally:
        if not connection.in_atomic_block:
            connection.close()


class RuntimeCollector(Collector):
    """This process's models, their queues, its sockets, and the machine's GPUs."""

    def collect(self) -> Iterator[Metric]:
        yield _memory()
        yield _processes()
        yield from _models()
        yield _waiting()
        yield _sockets()
        yield from _gpus()


def _memory() -> Metric:
    gauge = GaugeMetricFamily(
        "speech_model_memory_bytes", "Of resident models, by where it is.", labels=("model", "device")
    )
    for state in runtime.pool.states():
        if state.memory_bytes is not None:
            gauge.add_metric((metrics.model_label(state.id), state.device), state.memory_bytes)
    return gauge


def _processes() -> Metric:
    gauge = GaugeMetricFamily(
        "speech_engine_process_memory_bytes", "Resident memory of engines' child processes.", labels=("target",)
    )
    for target, taken in workers.memory_bytes().items():
        gauge.add_metric((target.rpartition(".")[2],), taken)
    return gauge


def _models() -> Iterator[Metric]:
    """How many are in which state, and what they may take."""
    gauge = GaugeMetricFamily("speech_models", "Known models, by their state.", labels=("status",))
    counts = dict.fromkeys(("registered", "loading", "ready", "failed"), 0)
    for state in runtime.pool.states():
        counts[state.status] += 1
    for status, count in counts.items():
        gauge.add_metric((status,), count)
    yield gauge
    budget = GaugeMetricFamily("speech_model_memory_limit_bytes", "That models may take.", labels=("device",))
    for device, limit in runtime.pool.memory_budget_bytes.items():
        budget.add_metric((device,), limit)
    yield budget


def _waiting() -> Metric:
    gauge = GaugeMetricFamily(
        "speech_batch_queue_items", "Items that wait for a model here.", labels=("model", "priority")
    )
    for lane in runtime.batcher.stats():
        for priority, waiting in lane.queued.items():
            gauge.add_metric((metrics.model_label(lane.model_id), priority), waiting)
    return gauge


def _sockets() -> Metric:
    from sockets import routing

    gauge = GaugeMetricFamily("speech_live_sessions", "Open WebSockets.", labels=("socket",))
    served = {consumer.name_of(route.callback.consumer_class) for route in routing.routes}  # type: ignore[attr-defined]
    for name, count in (dict.fromkeys(sorted(served), 0) | consumer.open_by_name()).items():
        gauge.add_metric((name,), count)
    return gauge


def _gpus() -> Iterator[Metric]:
    used = GaugeMetricFamily("speech_gpu_memory_used_bytes", "Of all processes.", labels=("gpu",))
    total = GaugeMetricFamily("speech_gpu_memory_bytes", "That the GPU has.", labels=("gpu",))
    busy = GaugeMetricFamily("speech_gpu_utilization_ratio", "The share of time that it computed.", labels=("gpu",))
    for gpu in devices.gpus():
        used.add_metric((str(gpu.number),), gpu.used_bytes)
        total.add_metric((str(gpu.number),), gpu.memory_bytes)
        busy.add_metric((str(gpu.number),), gpu.utilization)
    yield from (used, total, busy)


def register() -> None:
    metrics.registry.register(QueueCollector())
    metrics.registry.register(RuntimeCollector())
