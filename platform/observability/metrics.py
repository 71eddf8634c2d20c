"""What is counted and measured, as Prometheus has it; docs/observability.md says what each is good for.

Whoever knows that something happened calls the function for it here. Labels say which part, model or cause, never who
or what: no organisation, user, key, address or text. Values that installations add to (models, error codes) are kept to
MAX_VALUES a label, so that no mistake can let the number of series grow without end.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

MAX_VALUES = 200
OTHER: Final = "other"

registry = CollectorRegistry()
ProcessCollector(registry=registry)
PlatformCollector(registry=registry)

_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_WORK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_JOB_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
_FACTORS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 5)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"speech_{name}", text, labels, registry=registry)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"speech_{name}", text, labels, buckets=buckets, registry=registry)


REQUESTS = _counter("http_requests", "Answers.", "route", "method", "status")
REQUEST_SECONDS = _histogram(
    "http_request_seconds", "Until the head of the answer.", "route", "method", buckets=_REQUEST_SECONDS
)
ERRORS = _counter("errors", "Errors that clients were told, by the contract's code.", "code")

JOBS_ENDED = _counter("jobs_ended", "Jobs that ended.", "task", "status", "mode")
JOB_FAILURES = _counter("job_failures", "Jobs that failed, by the cause.", "task", "code")
JOB_WAIT_SECONDS = _histogram(
    "job_wait_seconds", "From the request to the start, of queued jobs.", "task", buckets=_JOB_SECONDS
)
JOB_RUN_SECONDS = _histogram("job_run_seconds", "From the start to the end.", "task", buckets=_JOB_SECONDS)
AUDIO_SECONDS = _counter("audio_seconds", "Sound that was made or heard by jobs that succeeded.", "task")
REAL_TIME_FACTOR = _histogram(
    "real_time_factor", "Seconds of computing a second of audio.", "task", "model", buckets=_FACTORS
)

BATCH_SIZE = _histogram("batch_size", "Items computed together.", "model", buckets=_SIZES)
BATCH_WAIT_SECONDS = _histogram("batch_wait_seconds", "Of items in a model's queue.", "model", buckets=_WORK_SECONDS)
BATCH_COMPUTE_SECONDS = _histogram("batch_compute_seconds", "Of batches in an engine.", "model", buckets=_WORK_SECONDS)
BATCH_FAILURES = _counter("batch_failures", "Batches that an engine did not compute.", "model")
BATCH_REFUSALS = _counter("batch_refusals", "Items that a model's full queue refused.", "model")

MODEL_LOADS = _counter("model_loads", "Models loaded.", "model", "device")
MODEL_LOAD_SECONDS = _histogram("model_load_seconds", "Until a model is loaded.", "model", buckets=_WORK_SECONDS)
MODEL_LOAD_FAILURES = _counter("model_load_failures", "Loads that failed, by the cause.", "model", "code")
MODEL_BREAKS = _counter("model_breaks", "Loaded models that computed no more.", "model")
MODELS_FREED = _counter("models_freed", "Models whose memory was freed.", "model", "reason")
PROCESS_DEATHS = _counter("engine_process_deaths", "Engines' processes that ended by themselves.", "target")

SOCKET_CLOSES = _counter("websocket_closes", "WebSockets that ended, by the close code.", "socket", "code")
QUOTA_REFUSALS = _counter("quota_refusals", "Work that a quota refused.", "resource")
WEBHOOK_ATTEMPTS = _counter("webhook_attempts", "Attempts to deliver.", "outcome")
WEBHOOK_DELIVERIES = _counter("webhook_deliveries", "Deliveries that ended.", "status")
DATABASE_ERRORS = _counter("database_errors", "Queries that failed for want of the database.", "kind")

BUILD = Gauge("speech_build_info", "What runs here.", ("version",), registry=registry)


class Bounded:
    """At most `limit` values of a label, those that come first; the rest are told together."""

    def __init__(self, limit: int = MAX_VALUES) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        with self._lock:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(value)
        return value


model_label = Bounded()
_code_label = Bounded()

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))
_OWN_CLOSE_CODES = range(4400, 4430)
"""Clients may name any number from 3000 on: only the protocol's and our own are told apart."""


def request_answered(route: str, method: str, status: int, seconds: float) -> None:
    """route: as the URLconf has it, without a leading slash; see `route_label`."""
    method = method if method in _METHODS else OTHER
    REQUESTS.labels(route, method, str(status)).inc()
    REQUEST_SECONDS.labels(route, method).observe(seconds)


@functools.lru_cache(maxsize=1024)
def route_label(route: str) -> str:
    """`/api/v1/tts/jobs/{job_id}` for Django's `api/v1/tts/jobs/<uuid:job_id>`."""
    plain = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", r"{\1}", route)
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain).replace("^", "").replace("$", "").removesuffix("\\Z")


def error_told(code: str) -> None:
    ERRORS.labels(_code_label(code)).inc()


def job_ended(*, task: str, status: str, queued: bool, code: str, wait_seconds: float, run_seconds: float) -> None:
    """wait_seconds and run_seconds: 0 where it never started."""
    JOBS_ENDED.labels(task, status, "queued" if queued else "direct").inc()
    if status == "failed":
        JOB_FAILURES.labels(task, _code_label(code)).inc()
    if queued and run_seconds:
        JOB_WAIT_SECONDS.labels(task).observe(wait_seconds)
    if run_seconds:
        JOB_RUN_SECONDS.labels(task).observe(run_seconds)


def job_computed(*, task: str, model: str, audio_seconds: float, compute_seconds: float) -> None:
    AUDIO_SECONDS.labels(task).inc(audio_seconds)
    if audio_seconds > 0 and compute_seconds > 0:
        REAL_TIME_FACTOR.labels(task, model_label(model)).observe(compute_seconds / audio_seconds)


def socket_closed(socket: str, code: int | None) -> None:
    known = code in _CLOSE_CODES or code in _OWN_CLOSE_CODES
    SOCKET_CLOSES.labels(socket, str(code) if known else "none" if code is None else OTHER).inc()


def quota_refused(resource: str) -> None:
    QUOTA_REFUSALS.labels(resource).inc()


def webhook_attempted(*, delivered: bool) -> None:
    WEBHOOK_ATTEMPTS.labels("delivered" if delivered else "failed").inc()


def webhook_ended(status: str) -> None:
    WEBHOOK_DELIVERIES.labels(status).inc()


def database_failed(kind: str) -> None:
    """kind: the class of the error."""
    DATABASE_ERRORS.labels(kind).inc()
