"""Live recognition: sound as it comes, events as they are understood. The one way for every live protocol.

    session = live.recognizer.start(LiveOptions(encoding="pcm_s16le", sample_rate=16_000), on_event=print)
    session.push(data)       # any number of bytes; waits where the engine is behind
    session.finalize()       # ends the utterance under way
    session.stop()           # hears the rest, then `Closed`
    session.closed.wait()

In asyncio, `AsyncLiveSession.start(…)` has the same methods, an awaitable `push`, and is iterated for its events. What
the events mean stands in `ml.stt.live.events`; what a session may be asked in `ml.stt.live.options`.
"""

from ml.stt.live.aio import AsyncLiveSession
from ml.stt.live.events import (
    Cleared,
    Closed,
    Failed,
    Final,
    Finalized,
    LiveEvent,
    Partial,
    Ready,
    SpeechEnded,
    SpeechStarted,
    UtteranceEnd,
)
from ml.stt.live.options import Endpointing, LiveOptions
from ml.stt.live.recogniser import LiveRecognizer, recognizer
from ml.stt.live.session import LiveSession

__all__ = [
    "AsyncLiveSession",
    "Cleared",
    "Closed",
    "Endpointing",
    "Failed",
    "Final",
    "Finalized",
    "LiveEvent",
    "LiveOptions",
    "LiveRecognizer",
    "LiveSession",
    "Partial",
    "Ready",
    "SpeechEnded",
    "SpeechStarted",
    "UtteranceEnd",
    "recognizer",
]
