"""A transcription whose segments come while the rest is still being recognised."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from django.core.files.uploadedfile import UploadedFile

from accounts.actors import Actor
from common import db
from common.concurrency import in_request_context
from common.streaming import Channel
from ml.types import Segment, TranscriptionOptions
from stt import services
from stt.models import SttJob

MAX_STREAMS = 128
"""That compute at once; each waits for engines most of the time."""

_threads = ThreadPoolExecutor(MAX_STREAMS, thread_name_prefix="transcribe")


class TranscriptStream:
    """Segments as an asynchronous iterator; the job has its transcription when they have ended.

    Closing it stops the computing, and what was heard until then is billed.
    """

    def __init__(self, cancel: threading.Event) -> None:
        self._job: SttJob | None = None
        self._cancel = cancel
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._segments: Channel[Segment] = Channel()

    def __aiter__(self) -> TranscriptStream:
        return self

    async def __anext__(self) -> Segment:
        return await self._segments.__anext__()

    def close(self) -> None:
        self._cancel.set()

    @property
    def job(self) -> SttJob:
        if self._job is None:
            raise RuntimeError("The stream has not begun.")
        return self._job

    # ── Called by the thread that transcribes ───────────────────────────────────────────────────────────────────────

    def began(self, job: SttJob) -> None:
        self._job = job
        self._begun.set()

    def wrote(self, segment: Segment) -> None:
        self._segments.put(segment)

    def end(self, error: BaseException | None = None) -> None:
        self._failure = error
        self._segments.end(error)
        self._begun.set()

    def wait_until_begun(self) -> None:
        """Raises what went wrong before recognition."""
        self._begun.wait()
        if self._job is None and self._failure is not None:
            raise self._failure


def transcribe_stream(
    *,
    actor: Actor,
    upload: UploadedFile,
    options: TranscriptionOptions,
    reference: UploadedFile | None = None,
    cancel: threading.Event | None = None,
) -> TranscriptStream:
    """Starts `services.transcribe` in a thread, and returns once the recording is being recognised.

    Raises what `services.transcribe` raises until then; what comes later is raised to whoever reads.
    """
    stream = TranscriptStream(cancel or threading.Event())

    def work() -> None:
        try:
            services.transcribe(
                actor=actor,
                upload=upload,
                options=options,
                reference=reference,
                cancel=stream._cancel,
                follower=stream,
            )
        except BaseException as error:
            stream.end(error)
        else:
            stream.end()

    with db.released():
        _threads.submit(in_request_context(work))
        stream.wait_until_begun()
    return stream
