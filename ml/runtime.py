"""The models and the queues of this process.

    runtime.configure(memory_budget_bytes={"host": 8 << 30}, idle_seconds=900)
    runtime.pool        the resident models
    runtime.batcher     the way to their computing

Without a configuration, models may take 60% of the machine's memory and all of a GPU's.
"""

from __future__ import annotations

from collections.abc import Mapping

from ml import devices
from ml.batching import Batcher
from ml.residency import ModelPool

_HOST_SHARE = 0.6

pool = ModelPool({"host": round(_HOST_SHARE * devices.host_memory_bytes())})
batcher = Batcher(pool)


def configure(
    *,
    memory_budget_bytes: Mapping[str, int] | None = None,
    idle_seconds: float | None = None,
    retry_after_failure_seconds: float | None = None,
    window_seconds: float | None = None,
    max_queue: int | None = None,
    max_queue_per_tenant: int | None = None,
) -> None:
    """Sets limits as `ModelPool` and `Batcher` have them; None leaves one as it is. `idle_seconds` of 0: never free."""
    if memory_budget_bytes is not None:
        pool.memory_budget_bytes = dict(memory_budget_bytes)
    if idle_seconds is not None:
        pool.idle_seconds = idle_seconds or None
    if retry_after_failure_seconds is not None:
        pool.retry_after_failure_seconds = retry_after_failure_seconds
    if window_seconds is not None:
        batcher.window_seconds = window_seconds
    if max_queue is not None:
        batcher.max_queue = max_queue
    if max_queue_per_tenant is not None:
        batcher.max_queue_per_tenant = max_queue_per_tenant
