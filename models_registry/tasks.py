"""The queue's task that installs models. Procrastinate finds it here."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from procrastinate.contrib.django import app

from jobs.tasks import WhenAsked
from models_registry import installations

QUEUE = "models"

_threads = ThreadPoolExecutor(2, thread_name_prefix="installation")


@app.task(name="models.install", queue=QUEUE, retry=WhenAsked())
async def install(installation_id: str) -> None:
    """In a thread: gigabytes come over the network."""
    await asyncio.get_running_loop().run_in_executor(_threads, installations.run, uuid.UUID(installation_id))
