"""The queue's tasks: send a delivery, and purge old ones. Procrastinate finds them here."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from procrastinate.contrib.django import app

from jobs.tasks import WhenAsked
from webhooks import delivering

QUEUE = "webhooks"

_threads = ThreadPoolExecutor(delivering.CONCURRENCY, thread_name_prefix="webhook")


@app.task(name="webhooks.deliver", queue=QUEUE, retry=WhenAsked())
async def deliver(delivery_id: str, attempt: int) -> None:
    """One attempt, in a thread: it waits for somebody else's server."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(_threads, delivering.run_attempt, uuid.UUID(delivery_id), attempt)


@app.periodic(cron="23 3 * * *")
@app.task(name="webhooks.purge", queue=QUEUE)
async def purge(timestamp: int) -> None:
    """Every night."""
    await asyncio.get_running_loop().run_in_executor(_threads, delivering.purge)
