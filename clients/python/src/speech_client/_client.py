"""`Speech` and `AsyncSpeech`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import httpx

from speech_client import _account, _jobs, _stt, _tts
from speech_client._events import AsyncEventStream, EventFilters, EventStream
from speech_client._flow import AsyncResource, Operation, SyncResource
from speech_client._jobs import JobFilters
from speech_client._streams import AsyncAudioStream, AsyncPages, AudioStream, Pages, as_kind
from speech_client._transport import AsyncTransport, Transport
from speech_client._tts import SynthesisOptions
from speech_client.live import AsyncLiveSession, LiveSession, SessionOptions
from speech_client.types import Job, Task

TIMEOUT_SECONDS = 600.0
"""The longest silence of the server: a long recording that is not queued is answered when all of it was heard."""
RETRIES = 2


# ── What both have ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Tts:
    synthesize = Operation(_tts.synthesize)
    create = Operation(_tts.create)
    batch = Operation(_tts.batch)
    download = Operation(_tts.download)
    voices = Operation(_tts.voices)
    voice = Operation(_tts.voice)
    clone = Operation(_tts.clone)
    wait_voice = Operation(_tts.wait_voice)
    revoke_consent = Operation(_tts.revoke_consent)
    delete_voice = Operation(_tts.delete_voice)


class _Stt:
    transcribe = Operation(_stt.transcribe)
    batch = Operation(_stt.batch)
    export = Operation(_stt.export)
    document = Operation(_stt.document)
    correct = Operation(_stt.correct)
    client_token = Operation(_stt.client_token)


class _Jobs:
    get = Operation(_jobs.get)
    wait = Operation(_jobs.wait)
    cancel = Operation(_jobs.cancel)
    retry = Operation(_jobs.retry)


class _Batches:
    get = Operation(_jobs.get_batch)
    wait = Operation(_jobs.wait_batch)


class _Account:
    models = Operation(_account.models)
    usage = Operation(_account.usage)
    quota = Operation(_account.quota)
    me = Operation(_account.me)


# ── Synchronous ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Tts(_Tts, SyncResource):
    """Text to speech."""

    def stream(
        self, text: str, *, extra: Mapping[str, Any] | None = None, **options: Unpack[SynthesisOptions]
    ) -> AudioStream:
        """Audio while it is made; see AudioStream."""
        return AudioStream(self._io, _tts.synthesis(text, extra, **options, stream=True))


class Stt(_Stt, SyncResource):
    """Speech to text."""

    def stream(self, **options: Unpack[SessionOptions]) -> LiveSession:
        """Live recognition; see LiveSession."""
        return LiveSession(self._io.url("/stt/stream").replace("http", "ws", 1), self._io.headers, **options)


class Jobs(_Jobs, SyncResource):
    """What was asked for, finished or not."""

    def list(self, task: Task, **filters: Unpack[JobFilters]) -> Pages[Job]:
        """The organisation's jobs of a task, newest first."""
        return Pages(self._io, f"/{task}/jobs", as_kind(_jobs.KINDS[task]), _jobs.query(**filters))

    def events(self, **filters: Unpack[EventFilters]) -> EventStream:
        """What happens to jobs, as it happens; see EventStream."""
        return EventStream(self._io, **filters)


class Batches(_Batches, SyncResource):
    """Jobs that were asked for together."""


class Speech(_Account, SyncResource):
    """The platform, for code that waits for answers. Threads may share one.

    speech = Speech("https://speech.example.com", api_key="sp_…")    # or SPEECH_URL and SPEECH_API_KEY

    api_key: an API key, or a member's access token. timeout: seconds that the server may say nothing.
    retries: how often a request is repeated after 429, 503 and broken connections, where that is safe.
    """

    _io: Transport

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        http_client: httpx.Client | None = None,
    ) -> None:
        super().__init__(Transport(base_url, api_key, timeout, retries, http_client))
        self.base_url = self._io.base_url
        self.tts, self.stt = Tts(self._io), Stt(self._io)
        self.jobs, self.batches = Jobs(self._io), Batches(self._io)

    def close(self) -> None:
        self._io.close()

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ── Asynchronous ────────────────────────────────────────────────────────────────────────────────────────────────────


class AsyncTts(_Tts, AsyncResource):
    """Text to speech."""

    def stream(
        self, text: str, *, extra: Mapping[str, Any] | None = None, **options: Unpack[SynthesisOptions]
    ) -> AsyncAudioStream:
        """Audio while it is made; see AsyncAudioStream."""
        return AsyncAudioStream(self._io, _tts.synthesis(text, extra, **options, stream=True))


class AsyncStt(_Stt, AsyncResource):
    """Speech to text."""

    def stream(self, **options: Unpack[SessionOptions]) -> AsyncLiveSession:
        """Live recognition; see AsyncLiveSession."""
        return AsyncLiveSession(self._io.url("/stt/stream").replace("http", "ws", 1), self._io.headers, **options)


class AsyncJobs(_Jobs, AsyncResource):
    """What was asked for, finished or not."""

    def list(self, task: Task, **filters: Unpack[JobFilters]) -> AsyncPages[Job]:
        """The organisation's jobs of a task, newest first."""
        return AsyncPages(self._io, f"/{task}/jobs", as_kind(_jobs.KINDS[task]), _jobs.query(**filters))

    def events(self, **filters: Unpack[EventFilters]) -> AsyncEventStream:
        """What happens to jobs, as it happens; see AsyncEventStream."""
        return AsyncEventStream(self._io, **filters)


class AsyncBatches(_Batches, AsyncResource):
    """Jobs that were asked for together."""


class AsyncSpeech(_Account, AsyncResource):
    """The platform, for asyncio: what `Speech` has, awaited.

    async with AsyncSpeech("https://speech.example.com", api_key="sp_…") as speech:
        print((await speech.stt.transcribe("call.mp3")).text)
    """

    _io: AsyncTransport

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(AsyncTransport(base_url, api_key, timeout, retries, http_client))
        self.base_url = self._io.base_url
        self.tts, self.stt = AsyncTts(self._io), AsyncStt(self._io)
        self.jobs, self.batches = AsyncJobs(self._io), AsyncBatches(self._io)

    async def close(self) -> None:
        await self._io.close()

    async def __aenter__(self) -> AsyncSpeech:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
