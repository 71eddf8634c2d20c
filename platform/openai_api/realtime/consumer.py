"""`WS /v1/realtime`: OpenAI's transcription sessions.

What clients say is checked at once, and done in order by one task, which opens a listening when the first sound comes.
Another task tells what is understood. A listening ends when nothing comes for long or the settings change, and the
next sound opens another: the connection stays.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings as django_settings
from rest_framework.exceptions import ValidationError

from accounts.actors import Access
from accounts.authentication import credential_of, renewed
from accounts.models import Role
from common import errors
from common.api import error_response
from common.concurrency import in_thread
from ml.errors import MlError, TooFarBehind
from ml.stt import live
from ml.stt.live.session import too_far_behind
from openai_api import errors as openai_errors
from openai_api.realtime import client_events, secrets
from openai_api.realtime.settings import LOGPROBS, Settings, Shape, transcription_path
from openai_api.realtime.turns import Telling, Turns
from sockets.consumer import RESTART, Socket
from sockets.places import Places
from stt import services
from stt.live.listening import Listening
from stt.live.session import live_limits

IDLE_SECONDS = 900
_LEAST_SECONDS = 0.1  # of sound in a commit
_HELD_BYTES = 1024 * 1024  # so much may wait before whoever sends is held back
_HOLD_SECONDS = 8.0  # the server's pings are not answered meanwhile
_PIECE_BYTES = 128 * 1024
_END_SECONDS = 10.0  # for the last finals, when the client has left in good order
_KEY, _PROTOCOL, _BETA = "openai-insecure-api-key.", "realtime", "openai-beta.realtime-v1"
_GONE_WELL = {1000, 1001, 1005}  # the protocol has no word of farewell

connections = Places(live_limits, does="listens", sessions="live sessions")


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be done in order. Exactly one of the first two, or a `kind`."""

    sound: bytes = b""
    settings: Settings | None = None
    kind: str = ""  # commit, clear, rest
    event_id: str | None = None


class RealtimeSocket(Socket):
    access: ClassVar[Access] = Access(role=Role.DEVELOPER, scope="stt")
    name = "openai_realtime"

    _settings = Settings()  # as the client knows them
    _using = Settings()  # at the place that the work has reached
    _place: str | None = None
    _listening: Listening | None = None
    _turns: Turns | None = None
    _telling: asyncio.Task[None] | None = None
    _working: asyncio.Task[None] | None = None
    _failure: BaseException | None = None
    _clearing: asyncio.Future[float] | None = None
    _appended_seconds = 0.0  # to the listening
    _offset_seconds = 0.0  # of the listenings before

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._id = f"sess_{uuid.uuid4().hex[:24]}"
        self._steps: deque[_Step] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()  # there is something to do
        self._room = asyncio.Event()

    # ── Opening ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def subprotocol(self) -> str | None:
        return _PROTOCOL if _PROTOCOL in self.scope["subprotocols"] else None

    def credential(self) -> str:
        named = (name.removeprefix(_KEY) for name in self.scope["subprotocols"] if name.startswith(_KEY))
        return secrets.as_client_token(next(named, "") or credential_of(self.request))

    @property
    def _shape(self) -> Shape:
        header = self.request.headers.get("OpenAI-Beta", "")
        return "beta" if "realtime=v1" in header or _BETA in self.scope["subprotocols"] else "ga"

    async def opened(self) -> None:
        organization_id = str(self.actor.organization.id)
        connections.take(organization_id)
        self._place = organization_id
        self._active_at = time.monotonic()
        self._settings = self._using = await in_thread(self._first_settings)
        self._working = asyncio.create_task(self._work())
        created = "session.created" if self._shape == "ga" else "transcription_session.created"
        await self._send({"type": created, "session": self._session()})

    def _first_settings(self) -> Settings:
        """Those of the secret or the usual ones, with the model that the address names. Raises for another intent."""
        query = self.request.GET
        if query.get("intent", "transcription") != "transcription" or "call_id" in query:
            raise errors.InvalidRequest("There are transcription sessions only: ?intent=transcription", param="intent")
        wanted = secrets.settings_of(self.admission.token)
        if model := query.get("model", ""):
            changes = {"audio": {"input": {"transcription": {"model": model}}}}
            wanted = wanted.updated(changes, shape="ga")
        self._verify(wanted)
        return wanted

    def _verify(self, wanted: Settings) -> None:
        """Raises what says that it cannot be done."""
        actor = renewed(self.actor)
        services.verify(services.with_defaults(actor=actor, options=wanted.start(actor=actor).options))

    def _session(self) -> dict[str, Any]:
        shown = self._settings.to_json() if self._shape == "ga" else self._settings.to_beta_json()
        return {"id": self._id, "object": "realtime.transcription_session", **shown}

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def received_text(self, text: str) -> None:
        """What is wrong with an event is told, and the session goes on."""
        event_id = None
        self._active_at = time.monotonic()
        try:
            event = client_events.read(text)
            event_id = event.get("event_id")
            await self._take(event, event_id if isinstance(event_id, str) else None)
        except (errors.ApiError, MlError, ValidationError) as error:
            if isinstance(error, TooFarBehind):
                raise
            await self._tell_error(error, event_id)

    async def received_bytes(self, data: bytes) -> None:
        error = errors.InvalidRequest("Events are text messages; send sound with input_audio_buffer.append.")
        await self._tell_error(error, None)

    async def _take(self, event: dict[str, Any], event_id: str | None) -> None:
        match event["type"]:
            case "session.update":
                await self._update(event, "ga")
            case "transcription_session.update":
                await self._update(event, "beta")
            case "input_audio_buffer.append":
                await self._append(client_events.sound_of(event.get("audio")))
            case "input_audio_buffer.commit":
                self._do(_Step(kind="commit", event_id=event_id))
            case "input_audio_buffer.clear":
                self._forget_sound()
                self._do(_Step(kind="clear", event_id=event_id))
            case other:
                raise errors.InvalidRequest(
                    f"Invalid value: '{str(other)[:80]}'. A transcription session takes 'session.update', "
                    "'transcription_session.update' and 'input_audio_buffer.append', '.commit' and '.clear'.",
                    code="invalid_value",
                    param="type",
                )

    async def _update(self, event: dict[str, Any], shape: Shape) -> None:
        wanted = self._settings.updated(event.get("session"), shape=shape)
        try:
            await in_thread(self._verify, wanted)
        except (errors.ApiError, MlError) as error:
            raise _within(error, transcription_path(shape)) from None
        self._settings = wanted
        self._do(_Step(settings=wanted))
        kind = "session.updated" if shape == "ga" else "transcription_session.updated"
        await self._send({"type": kind, "session": self._session()})

    async def _append(self, sound: bytes) -> None:
        self._waiting_bytes += len(sound)
        for start in range(0, len(sound), _PIECE_BYTES):
            self._do(_Step(sound=sound[start : start + _PIECE_BYTES]))
        if self._waiting_bytes <= _HELD_BYTES:
            return
        self._room.clear()
        try:
            async with asyncio.timeout(_HOLD_SECONDS):
                await self._room.wait()
        except TimeoutError:
            if self._waiting_bytes > 2 * client_events.MAX_APPEND_BYTES:
                raise too_far_behind() from None

    def _do(self, step: _Step) -> None:
        self._steps.append(step)
        self._changed.set()

    def _forget_sound(self) -> None:
        """Of the sound that waits, what no commit has made an item."""
        while self._steps and self._steps[-1].sound:
            self._waiting_bytes -= len(self._steps.pop().sound)

    # ── What is done with it, in order ──────────────────────────────────────────────────────────────────────────────

    async def _work(self) -> None:
        try:
            while not self.gone:
                if self._steps:
                    await self._done(self._steps.popleft())
                else:
                    await self._wait()
        except Exception as error:
            await self.fail(error)

    async def _wait(self) -> None:
        self._changed.clear()
        left = IDLE_SECONDS - (time.monotonic() - self._active_at)
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self._changed.wait()
        except TimeoutError:
            if time.monotonic() - self._active_at >= IDLE_SECONDS:
                raise _expired(f"Nothing came for {IDLE_SECONDS} seconds.") from None

    async def _done(self, step: _Step) -> None:
        if step.sound:
            await self._hear(step.sound)
        elif step.settings is not None:
            if step.settings != self._using:
                await self._end_listening()
                self._using = step.settings
        elif step.kind == "commit":
            await self._commit(step.event_id)
        elif step.kind == "clear":
            await self._clear()
        else:
            await self._end_listening()

    async def _hear(self, sound: bytes) -> None:
        if self._listening is not None and self._listening.ended_by is not None:
            await self._end_listening()  # it was idle: this is for the next one
        listening = self._listening or await self._open()
        await listening.push(sound)
        self._appended_seconds += len(sound) / self._using.bytes_per_second
        self._waiting_bytes -= len(sound)
        if self._waiting_bytes <= _HELD_BYTES:
            self._room.set()

    async def _open(self) -> Listening:
        wanted = self._using
        start = await in_thread(wanted.start, actor=self.actor)
        listening = await Listening.open(actor=self.actor, start=start)
        self._listening = listening
        vad = wanted.turn_detection
        telling = Telling(
            turns=vad is not None,
            beta=self._shape == "beta",
            logprobs=LOGPROBS in wanted.include,
            languages=wanted.model == "gpt-transcribe",
            padding_ms=(vad or {}).get("prefix_padding_ms", 300),
        )
        left = self._turns.uncommitted(self._appended_seconds) if self._turns else 0.0
        self._turns = Turns(telling, after=self._turns, carried_seconds=left, offset_seconds=self._offset_seconds)
        self._appended_seconds = 0.0
        self._telling = asyncio.create_task(self._tell_all(listening, self._turns))
        return listening

    async def _commit(self, event_id: str | None) -> None:
        left = self._turns.uncommitted(self._appended_seconds) if self._turns else 0.0
        if left < _LEAST_SECONDS or self._turns is None:
            error = errors.InvalidRequest(
                f"Error committing input audio buffer: buffer too small. Expected at least "
                f"{_LEAST_SECONDS * 1000:g}ms of audio, but buffer only has {left * 1000:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
            await self._tell_error(error, event_id)
            return
        for event in self._turns.commit(self._appended_seconds):
            await self._send(event)
        if self._listening is not None and self._listening.ended_by is None:
            self._listening.finalize()
        else:
            for event in self._turns.settle():
                await self._send(event)

    async def _clear(self) -> None:
        if self._listening is None or self._listening.ended_by is not None:
            await self._end_listening()
            if self._turns is not None:
                self._turns.forget(self._appended_seconds)
            return await self._send({"type": "input_audio_buffer.cleared"})
        self._clearing = asyncio.get_running_loop().create_future()
        self._listening.clear()
        self._appended_seconds = await self._clearing
        return None

    async def _end_listening(self) -> None:
        """Hears the rest, tells it and closes; the next sound opens another."""
        listening, telling = self._listening, self._telling
        if listening is None or telling is None:
            return
        listening.stop()
        await asyncio.wait([telling])
        await listening.close(self._failure)
        self._offset_seconds += listening.audio_seconds
        self._listening = self._telling = None

    # ── What clients are told ───────────────────────────────────────────────────────────────────────────────────────

    async def _tell_all(self, listening: Listening, turns: Turns) -> None:
        try:
            async for event in listening.events():
                for told in turns.tell(event):
                    await self._send(told)
                if isinstance(event, live.Cleared) and self._clearing is not None and not self._clearing.done():
                    self._clearing.set_result(event.at)
            await self._tell_end(listening, turns)
        except Exception as error:
            await self.fail(error)
        finally:
            if self._clearing is not None and not self._clearing.done():
                self._clearing.set_result(0.0)

    async def _tell_end(self, listening: Listening, turns: Turns) -> None:
        error = listening.failure
        if error is not None:
            for told in turns.failed(openai_errors.event(error)["error"]):
                await self._send(told)
            return await self.fail(error)
        if listening.ended_by == "too_long":
            return await self.fail(
                _expired(f"A session hears at most {django_settings.STT_LIVE_MAX_SECONDS:,} seconds.")
            )
        if listening.ended_by == "idle":
            self._do(_Step(kind="rest"))  # its place is for others
        return None

    async def _send(self, event: dict[str, Any]) -> None:
        await self.send_json({"event_id": f"event_{uuid.uuid4().hex[:24]}", **event})

    async def _tell_error(self, error: BaseException, event_id: Any) -> dict[str, Any]:
        """event_id: of the client's event that it is about."""
        told: dict[str, Any] = openai_errors.event(error)["error"]
        await self._send({"type": "error", "error": {**told, "event_id": event_id}})
        return told

    # ── The end ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fail(self, error: BaseException) -> None:
        """What cannot be mended ends the connection."""
        self._failure = error
        answer = error_response(error)
        told = await self._tell_error(error, None)
        await self.finish(self.close_code(answer.status_code if answer else 500), f"{told['type']}.{told['code']}")

    def close_code(self, status: int) -> int:
        return {401: 3000, 403: 3003}.get(status) or super().close_code(status)

    async def drain(self) -> None:
        if self._working is not None:
            self._working.cancel()
        if self._listening is not None and self._telling is not None:
            self._listening.stop("draining")
            await asyncio.wait([self._telling])
        await self.finish(RESTART, "the server restarts")

    async def ended(self) -> None:
        current = asyncio.current_task()
        if self._working is not None and self._working is not current:
            self._working.cancel()
        try:
            if self._listening is not None:
                await self._part(self._listening, current)
        finally:
            if self._place is not None:
                connections.give_back(self._place)
                self._place = None

    async def _part(self, listening: Listening, current: asyncio.Task[Any] | None) -> None:
        """A client that closes in good order gets its job with all that it said; one that was lost is cancelled."""
        if self._telling is not None and self._telling is not current:
            if self._failure is None and self._close_code in _GONE_WELL:
                listening.stop()
                await asyncio.wait([self._telling], timeout=_END_SECONDS)
            self._telling.cancel()
        await listening.close(self._failure)


def _within(error: errors.ApiError | MlError, path: str) -> errors.ApiError | MlError:
    """With the whole name of the parameter that it is about."""
    if error.param in ("model", "prompt", "hotwords", "language_hint"):
        known = {"language_hint": "language", "hotwords": "keywords"}
        error.param = f"{path}.{known.get(error.param, error.param)}"
    return error


def _expired(message: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(message, code="session_expired")
