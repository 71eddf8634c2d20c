"""WS /v1/listen: a stream of sound, told of as Deepgram tells it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any, ClassVar

from django.utils import timezone

from common.concurrency import in_thread
from deepgram_api import errors, results
from deepgram_api.authentication import token_of
from deepgram_api.query import LiveSerializer, Query
from deepgram_api.results import Stream, Writing
from deepgram_api.sound import Mixer
from ml.stt import live
from sockets.consumer import FAULT, NORMAL, RESTART
from stt.live.listening import Listening
from stt.live.socket import ListeningSocket

POLICY = 1008
_SUBPROTOCOLS = ("token", "bearer")
_REASONS = {"audio_undecodable": "DATA-0000", "session_idle": "NET-0001"}
"""Deepgram's, for the ends that it has a name for."""


class ListenSocket(ListeningSocket):
    name = "deepgram"
    answers_handshake: ClassVar[bool] = True

    _mixer: Mixer | None = None
    _cut = False  # the utterance under way was too long: its speaker goes on

    # ── The handshake ───────────────────────────────────────────────────────────────────────────────────────────────

    def subprotocol(self) -> str | None:
        """Browsers cannot set headers: they offer the subprotocols `token` and the key."""
        offered = self.scope.get("subprotocols") or [""]
        return offered[0] if offered[0].lower() in _SUBPROTOCOLS else None

    def credential(self) -> str:
        offered = self.scope.get("subprotocols") or []
        return offered[1] if self.subprotocol() and len(offered) > 1 else token_of(self.request)

    async def prepare(self) -> None:
        query = Query.of(self.request.GET, LiveSerializer)
        start = await in_thread(query.start, self.actor)
        if query.fields["channels"] > 1 and start.sound["encoding"] != "opus":
            self._mixer = Mixer(start.sound["encoding"], query.fields["channels"])
        listening = await self._listen(start)
        self._tells_speech = query.wants("vad_events")
        self._request_id = str(listening.job.job.id)
        self._created_at, self._digest = timezone.now(), hashlib.sha256()
        self._finalizing = 0  # `Finalize`s that have not been answered
        self._last: dict[str, Any] | None = None  # the newest final; while there are any, it may be the answer

    def handshake_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"dg-request-id", self._request_id.encode())]

    def refusal(self, status: int, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return errors.refusal(status, body)

    async def opened(self) -> None:
        self._telling = asyncio.create_task(self._tell_all(self._session))

    @property
    def _session(self) -> Listening:
        if self._listening is None:
            raise RuntimeError("The stream has not been opened.")
        return self._listening

    # ── What clients say ────────────────────────────────────────────────────────────────────────────────────────────

    async def received_bytes(self, data: bytes) -> None:
        if not data:  # what older SDKs send for `CloseStream`
            return self._session.stop()
        self._digest.update(data)
        await self._session.push(self._mixer.mix(data) if self._mixer else data)

    async def received_text(self, text: str) -> None:
        match _type_of(text):
            case "KeepAlive":
                self._session.touch()
            case "Finalize":
                self._finalizing += 1
                self._session.finalize()
            case "CloseStream":
                self._session.stop()
            case "Configure":
                code = "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
                await self.send_json({"type": "ConfigureFailure", "request_id": self._request_id, "code": code})
            case _:
                await self.send_json(
                    {
                        "type": "Error",
                        "variant": "SchemaError",
                        "description": "A message is JSON whose type is KeepAlive, Finalize or CloseStream.",
                        "message": text[:500],
                    }
                )

    # ── What they are told ──────────────────────────────────────────────────────────────────────────────────────────

    async def _tell_all(self, listening: Listening) -> None:
        model, options = "", listening.job.options
        writing = Writing(options.punctuate, options.language_hint or "")
        stream = Stream(self._request_id, writing, model)
        try:
            async for event in listening.events():
                if isinstance(event, live.Ready):
                    stream = Stream(self._request_id, Writing(options.punctuate, event.language), event.model)
                elif isinstance(event, live.Closed):
                    await self._say_closed(stream, listening)
                else:
                    await self._tell(stream, event)
        except Exception as error:
            await self.fail(error)

    async def _tell(self, stream: Stream, event: live.LiveEvent) -> None:
        if isinstance(event, live.Finalized):
            return await self._tell_flushed(stream, event)
        await self._tell_last()
        match event:
            case live.SpeechStarted() if self._tells_speech:
                await self.send_json(results.speech_started(event))
            case live.SpeechEnded():
                self._cut = event.cut
            case live.Partial():
                await self.send_json(stream.partial(event))
            case live.Final():
                self._last = stream.final(event, speech_final=not self._cut)
                if not self._finalizing:
                    await self._tell_last()
            case live.UtteranceEnd():
                await self.send_json(results.utterance_end(event))

    async def _tell_last(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            await self.send_json(last)

    async def _tell_flushed(self, stream: Stream, event: live.Finalized) -> None:
        """What was heard until the `Finalize` has been told but for the last, which says so."""
        self._finalizing -= 1
        last = self._last or stream.flushed(event.at)
        self._last = {**last, "from_finalize": True}
        await self._tell_last()

    async def _say_closed(self, stream: Stream, listening: Listening) -> None:
        await self._tell_last()
        if listening.failure is not None:
            return await self.fail(listening.failure)
        duration = round(listening.audio_seconds, 3)
        digest = self._digest.hexdigest()
        await self.send_json(stream.metadata(sha256=digest, created_at=self._created_at, duration_seconds=duration))
        if (limit := listening.limit()) is not None:
            return await self.fail(limit)
        await self.finish(RESTART if listening.ended_by == "draining" else NORMAL)

    def error_message(self, body: dict[str, Any]) -> dict[str, Any]:
        return errors.message(body)

    def close_code(self, status: int) -> int:
        return FAULT if status >= 500 or status == 429 else POLICY

    async def finish(self, code: int = NORMAL, reason: str = "") -> None:
        await super().finish(code, _REASONS.get(reason, reason))


def _type_of(text: str) -> str | None:
    """Of a control message; None for what is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kind = message.get("type") if isinstance(message, dict) else None
    return kind if isinstance(kind, str) else None
