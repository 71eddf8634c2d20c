"""What the runtime tells of batches and models, as metrics."""

from __future__ import annotations

from ml import observe
from observability import metrics
from observability.metrics import model_label


def follow() -> None:
    observe.listen(note)


def note(event: observe.Event) -> None:
    match event:
        case observe.BatchComputed():
            _batch(event)
        case observe.ItemRefused(model_id):
            metrics.BATCH_REFUSALS.labels(model_label(model_id)).inc()
        case observe.ModelLoaded(model_id, device, _, seconds):
            metrics.MODEL_LOADS.labels(model_label(model_id), device).inc()
            metrics.MODEL_LOAD_SECONDS.labels(model_label(model_id)).observe(seconds)
        case observe.ModelLoadFailed(model_id, code):
            metrics.MODEL_LOAD_FAILURES.labels(model_label(model_id), code).inc()
        case observe.ModelBroke(model_id):
            metrics.MODEL_BREAKS.labels(model_label(model_id)).inc()
        case observe.ModelFreed(model_id, _, reason):
            metrics.MODELS_FREED.labels(model_label(model_id), reason).inc()
        case observe.ProcessDied(target):
            metrics.PROCESS_DEATHS.labels(target.rpartition(".")[2]).inc()


def _batch(batch: observe.BatchComputed) -> None:
    model = model_label(batch.model_id)
    metrics.BATCH_SIZE.labels(model).observe(batch.size)
    metrics.BATCH_COMPUTE_SECONDS.labels(model).observe(batch.compute_seconds)
    for seconds in batch.wait_seconds:
        metrics.BATCH_WAIT_SECONDS.labels(model).observe(seconds)
    if batch.failed:
        metrics.BATCH_FAILURES.labels(model).inc()
