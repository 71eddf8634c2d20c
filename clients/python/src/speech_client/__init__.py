"""Client of the speech platform.

    from speech_client import Speech

    speech = Speech("http://localhost:8000", api_key="sp_…")
    print(speech.stt.transcribe("call.mp3").text)
    with speech.tts.stream("Good morning.", format="mp3") as audio:
        audio.save("morning.mp3")

`AsyncSpeech` has the same methods, awaited. Errors are in `speech_client.errors`, answers in `speech_client.types`,
`webhooks.verify` checks deliveries.
"""

from __future__ import annotations

from speech_client import errors, live, types, webhooks
from speech_client._client import AsyncSpeech, Speech
from speech_client._events import AsyncEventStream, EventStream
from speech_client._streams import AsyncAudioStream, AsyncPages, AudioStream, Pages
from speech_client._version import __version__
from speech_client.errors import (
    ApiError,
    AuthenticationError,
    Conflict,
    ConnectionFailed,
    InvalidRequest,
    InvalidSignature,
    JobCancelled,
    JobFailed,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ServerError,
    SessionClosed,
    SpeechError,
    TimedOut,
)
from speech_client.live import AsyncLiveSession, LiveSession

__all__ = [
    "ApiError", "AsyncAudioStream", "AsyncEventStream", "AsyncLiveSession", "AsyncPages", "AsyncSpeech", "AudioStream",
    "AuthenticationError", "Conflict", "ConnectionFailed", "EventStream", "InvalidRequest", "InvalidSignature",
    "JobCancelled", "JobFailed", "LiveSession", "NotFound", "Pages", "PermissionDenied", "QuotaExceeded", "RateLimited",
    "ServerError", "SessionClosed", "Speech", "SpeechError", "TimedOut", "__version__", "errors", "live", "types",
    "webhooks",
]  # fmt: skip
