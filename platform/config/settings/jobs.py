"""The queue and its workers."""

from __future__ import annotations

import os

from config import env

EMBEDDED_WORKER = env.flag("EMBEDDED_WORKER", True)
"""Whether the server takes queued jobs itself; off where `manage.py worker` runs on other machines."""
WORKER_CONCURRENCY = env.integer("WORKER_CONCURRENCY", os.cpu_count() or 2, minimum=1)
JOB_LEASE_SECONDS = env.integer("JOB_LEASE_SECONDS", 30, minimum=2)
"""A worker that gave no sign of life for so long has died, and its jobs go to others."""
JOB_MAX_ATTEMPTS = env.integer("JOB_MAX_ATTEMPTS", 3, minimum=1)
JOB_PATIENCE_HOURS = env.integer("JOB_PATIENCE_HOURS", 24, minimum=1)
"""How long a queued job waits for a storage or a database that is away, or for room on a disk, before it fails."""
DRAIN_SECONDS = env.integer("DRAIN_SECONDS", 8)
"""How long running jobs may take to end when the process is asked to stop; then they go back to the queue."""

JOB_EVENTS_MAX_LISTENERS = env.integer("JOB_EVENTS_MAX_LISTENERS", 50, minimum=1)
"""Streams of GET /jobs/events that one organisation may have open, on all servers together."""
JOB_EVENTS_BEAT_SECONDS = 15.0
"""How often a stream that has nothing to tell says that it lives, and its credential is looked at again."""
JOB_EVENTS_MAX_BEHIND = 256
"""Events that such a stream may lag behind. One that lags more is told to look at everything anew."""

PROCRASTINATE_READONLY_MODELS = True

IDEMPOTENCY_WAIT_SECONDS = 600.0
"""How long a repetition waits for the first request's answer: as long as the SDKs wait."""
IDEMPOTENCY_GRACE_SECONDS = 15.0
"""How long after its client left the work goes on, should the client come back."""
IDEMPOTENCY_STREAM_GRACE_SECONDS = 3.0
"""The same for a stream, of which nothing is made meanwhile. The SDKs come back within a second or two."""
