"""The settings that `ml` keeps models and queues work by."""

from __future__ import annotations

from django.conf import settings

from ml import runtime


def apply() -> None:
    """Tells the runtime of this process. What no setting names stays as `ml.runtime` has it."""
    budget = dict(runtime.pool.memory_budget_bytes)
    budget |= {kind: size for kind, size in settings.MODEL_MEMORY_BYTES.items() if size is not None}
    runtime.configure(
        memory_budget_bytes=budget,
        idle_seconds=settings.MODEL_IDLE_SECONDS,
        window_seconds=settings.MODEL_BATCH_WAIT_SECONDS,
        max_queue=settings.MODEL_MAX_QUEUE,
        max_queue_per_tenant=settings.MODEL_MAX_QUEUE_PER_ORGANIZATION,
    )
