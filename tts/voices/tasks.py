"""The queue's task: train a voice. Procrastinate finds it here."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from procrastinate.contrib.django import app

from jobs.tasks import WhenAsked
from tts.voices import training

QUEUE = "voices"

_threads = ThreadPoolExecutor(4, thread_name_prefix="voice")


@app.task(name="voices.train", queue=QUEUE, retry=WhenAsked())
async def train(voice_id: str) -> None:
    """One attempt, in a thread: models block, and the worker's loop must go on beating."""
    await asyncio.get_running_loop().run_in_executor(_threads, training.run, uuid.UUID(voice_id))
