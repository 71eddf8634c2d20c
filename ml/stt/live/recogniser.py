"""The live recogniser of this process: its sessions and the threads that work for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from ml import errors
from ml.audio.stream import ENCODINGS, MAX_RATE, MIN_RATE
from ml.stt import registry
from ml.stt.live.events import LiveEvent
from ml.stt.live.options import LiveOptions
from ml.stt.live.session import LiveSession
from ml.stt.stages import check_switches
from ml.types import Caller


class LiveRecognizer:
    """Sessions share its threads, and with all other work the resident models. Safe to use from any thread."""

    def __init__(self, *, threads: int | None = None) -> None:
        count = threads or 2 * (os.cpu_count() or 1) + 4
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="live")
        self.loaders: Executor = ThreadPoolExecutor(8, thread_name_prefix="live-load")
        self._lock = threading.Lock()
        self._sessions: set[LiveSession] = set()

    def start(
        self,
        options: LiveOptions | None = None,
        *,
        caller: Caller = Caller(),  # noqa: B008  frozen
        on_event: Callable[[LiveEvent], None],
        on_heard: Callable[[float], None] | None = None,
    ) -> LiveSession:
        """A session that takes sound at once; `Ready` is told when the model is loaded.

        on_event: called in the recogniser's threads with each event, in order, `Closed` last; must be quick and must
        not wait for the session. on_heard: called with the seconds heard so far in all before more is heard; what it
        raises ends the session as `Failed` with that error, after the finals of what was heard.

        Raises, before anything is computed, what `registry.resolve` raises, and `InvalidRequest`.
        """
        options = options or LiveOptions()
        options.check()
        check_switches(options.transcription)
        _check_sound(options)
        resolution = registry.resolve(options.transcription)
        session = LiveSession(self, options, resolution, caller=caller, on_event=on_event, on_heard=on_heard)
        with self._lock:
            self._sessions.add(session)
        session.begin()
        return session

    @property
    def sessions(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._sessions)

    def run(self, work: Callable[[], None]) -> bool:
        """For sessions: has a thread run it. False where the process is ending."""
        try:
            self._threads.submit(work)
        except RuntimeError:
            return False
        return True

    def forget(self, session: LiveSession) -> None:
        """For sessions that have closed."""
        with self._lock:
            self._sessions.discard(session)

    def close(self) -> None:
        """Aborts all sessions and ends the threads."""
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.abort()
        self._threads.shutdown(wait=True)
        self.loaders.shutdown(wait=False, cancel_futures=True)


def _check_sound(options: LiveOptions) -> None:
    if options.encoding not in ENCODINGS:
        raise errors.InvalidRequest(f"The encoding must be one of {', '.join(ENCODINGS)}.", param="encoding")
    if not MIN_RATE <= options.sample_rate <= MAX_RATE:
        raise errors.InvalidRequest(
            f"The sample rate must be between {MIN_RATE:,} and {MAX_RATE:,} hertz.", param="sample_rate"
        )


recognizer = LiveRecognizer()
"""This process's."""
