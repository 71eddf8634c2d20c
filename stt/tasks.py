"""The queue's tasks of this application. Procrastinate finds them here."""

from __future__ import annotations

import uuid

from django.db import connection
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from stt import rollouts

_UNTIL_LOADED = RetryStrategy(max_attempts=10, linear_wait=5, retry_exceptions=[rollouts.NotHere])


@app.task(name="stt.shadow", queue="shadow", retry=_UNTIL_LOADED)
def shadow(rollout_id: str, job_id: str) -> None:
    """A version on trial hears what another one has answered."""
    try:
        rollouts.run_shadow(rollout_id=uuid.UUID(rollout_id), job_id=uuid.UUID(job_id))
    finally:
        connection.close()
