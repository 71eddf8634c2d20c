"""What webhooks are told of a job: the job as the API shows it, without the signed link, which would expire."""

from __future__ import annotations

import json
from typing import Any

from django.utils.module_loading import import_string
from rest_framework import serializers
from rest_framework.utils.encoders import JSONEncoder

from jobs import batches
from jobs.models import Job
from webhooks import events

SERIALIZERS = {"tts": "tts.api.TtsJobSerializer", "stt": "stt.api.SttJobSerializer"}

_TEXTS = ("text", "timestamps")
"""What an organisation that keeps no transcripts has in no delivery either: those are kept until they arrive."""

MAX_BYTES = 256 * 1024
"""Receivers often refuse more. Hours of word times are fetched with GET, not pushed."""


def ended(job: Job) -> None:
    """`job.succeeded`, `job.failed` or `job.cancelled`; after the last of a batch `batch.finished`.

    Call it in the transaction that ends the job.
    """
    events.publish(
        organization_id=job.organization_id,
        event=f"job.{job.status}",
        data=lambda: describe(job),
        object_id=job.id,
    )
    batches.job_ended(job)


def deleted(job: Job) -> None:
    """Takes the job's text out of what was and will be sent of it."""
    events.forget(object_id=job.id, kept={"job_id": str(job.id), "task": job.task, "status": job.status})


def describe(job: Job) -> dict[str, Any]:
    """JSON values. Texts that are not kept, and the largest fields of a very large job, are null and in `omitted`."""
    serializer: serializers.ModelSerializer = import_string(SERIALIZERS[job.task])(job, context={"request": None})
    serializer.fields.pop("audio_url", None)
    data = json.loads(json.dumps(serializer.data, cls=JSONEncoder))
    sizes = {name: len(json.dumps(value)) for name, value in data.items()}
    omitted = [name for name in _TEXTS if name in data and job.organization.transcript_retention_days == 0]
    for name in omitted:
        data[name], sizes[name] = None, 0
    while sum(sizes.values()) > MAX_BYTES:
        omitted.append(max(sizes, key=sizes.__getitem__))
        data[omitted[-1]] = None
        del sizes[omitted[-1]]
    return {**data, "task": job.task, "omitted": omitted}
