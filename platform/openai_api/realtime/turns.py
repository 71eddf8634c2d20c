"""What is understood of live speech, as the events of OpenAI's transcription sessions.

With turn detection every utterance is an item. Without it, an item is what lies between two commits, in however many
utterances it was heard. Events have no `event_id` yet: whoever sends them gives it.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ml.stt import live
from ml.types import Segment
from openai_api import rendering

Event = dict[str, Any]

_TRANSCRIPTION = "conversation.item.input_audio_transcription"


@dataclass(frozen=True, slots=True)
class Telling:
    """How a session wants to be told."""

    turns: bool  # its ends are detected
    beta: bool
    logprobs: bool
    languages: bool  # that were heard; `gpt-transcribe` tells them
    padding_ms: int


@dataclass(eq=False)
class _Item:
    id: str = field(default_factory=lambda: f"item_{uuid.uuid4().hex[:24]}")
    committed: bool = False
    told: str = ""  # the deltas until now, joined
    stable: str = ""  # of the utterance under way, as far as it has been told
    finals: list[live.Final] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(eq=False)
class _Commit:
    """What a client asked for, until it is done."""

    item: _Item | None  # with turn detection none: the utterance under way becomes the item
    met: bool = False  # and has


class Turns:
    """Of one listening. after: those of the listening before, on the same connection; what it heard and nobody has
    committed yet, carried_seconds, belongs to the next item. offset_seconds: of all sound before."""

    def __init__(
        self, telling: Telling, *, after: Turns | None = None, carried_seconds: float = 0.0, offset_seconds: float = 0.0
    ) -> None:
        self._previous: str | None = after._previous if after else None  # item
        self._telling = telling
        self._offset_ms = round(offset_seconds * 1000)
        self._utterances: dict[int, _Item] = {}  # by segment, until they are final
        carried = after is not None and not telling.turns and not after._telling.turns
        # Without turn detection: what comes before the next commit.
        self._pending: _Item = after._pending if after is not None and carried else _Item()
        self._carried = carried_seconds if carried else 0.0
        self._commits: deque[_Commit] = deque()
        self._committed_to = 0.0  # seconds of this listening

    # ── What clients ask for ────────────────────────────────────────────────────────────────────────────────────────

    def uncommitted(self, appended_seconds: float) -> float:
        """Seconds of sound that belong to no item yet."""
        return max(0.0, self._carried + appended_seconds - self._committed_to)

    def commit(self, appended_seconds: float) -> Iterator[Event]:
        """All sound until now is an item; the utterance under way is being ended, which `Finalized` tells."""
        if self._telling.turns:
            self._commits.append(_Commit(None))
            return
        item, self._pending = self._pending, _Item()
        self._commits.append(_Commit(item))
        yield from self._commit(item, appended_seconds)

    def forget(self, at: float) -> None:
        """What was heard before belongs to no item."""
        self._pending, self._carried, self._committed_to = _Item(), 0.0, at

    def settle(self) -> Iterator[Event]:
        """Completes what was committed after the last sound had been understood."""
        while self._commits:
            yield from self._finalized(live.Finalized(self._committed_to))

    # ── What is heard ───────────────────────────────────────────────────────────────────────────────────────────────

    def tell(self, event: live.LiveEvent) -> Iterator[Event]:
        match event:
            case live.SpeechStarted():
                yield from self._started(event)
            case live.SpeechEnded() if self._telling.turns:
                item = self._utterances[event.segment]
                yield _buffer("speech_stopped", item, audio_end_ms=self._offset_ms + round(event.end * 1000))
                for commit in self._commits:
                    commit.met = True
                yield from self._commit(item, event.end)
            case live.Partial():
                yield from self._partial(self._utterances[event.segment], event)
            case live.Final():
                yield from self._final(event)
            case live.Finalized():
                yield from self._finalized(event)
            case live.Cleared():
                self.forget(event.at)
                yield {"type": "input_audio_buffer.cleared"}

    def failed(self, error: Event) -> Iterator[Event]:
        """No more is understood of what was committed. error: OpenAI's error object."""
        shown = {name: error.get(name) for name in ("type", "code", "message", "param")}
        asked = [commit.item for commit in self._commits if commit.item is not None]
        for item in dict.fromkeys((*self._utterances.values(), *asked)):
            if not item.committed:
                continue
            yield {"type": f"{_TRANSCRIPTION}.failed", "item_id": item.id, "content_index": 0, "error": shown}

    # ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _started(self, event: live.SpeechStarted) -> Iterator[Event]:
        if self._telling.turns:
            item = _Item()
            start = max(0, round(event.start * 1000) - self._telling.padding_ms)
            yield _buffer("speech_started", item, audio_start_ms=self._offset_ms + start)
        else:
            item = (self._commits[0].item if self._commits else None) or self._pending
        item.stable = ""
        self._utterances[event.segment] = item

    def _commit(self, item: _Item, until: float) -> Iterator[Event]:
        item.committed = True
        item.seconds = round(self.uncommitted(until), 3)
        self._committed_to, self._carried = max(until, self._committed_to), 0.0
        previous, self._previous = self._previous, item.id
        shown = {
            "id": item.id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        yield _buffer("committed", item, previous_item_id=previous)
        for kind in ("created",) if self._telling.beta else ("added", "done"):
            yield {"type": f"conversation.item.{kind}", "previous_item_id": previous, "item": shown}

    def _partial(self, item: _Item, event: live.Partial) -> Iterator[Event]:
        """What will not be taken back, and has not been told."""
        new = event.stable[len(item.stable) :]
        if new:
            opens = item.finals and not item.stable
            item.stable = event.stable
            yield self._delta(item, f" {new}" if opens else new)

    def _final(self, event: live.Final) -> Iterator[Event]:
        item = self._utterances.pop(event.segment)
        rest = _rest(event.text, item.stable)
        if rest:
            opens = item.finals and not item.stable
            logprobs = rendering.logprobs([_segment(event)], begins=not item.finals) if not item.stable else None
            yield self._delta(item, f" {rest}" if opens else rest, logprobs)
        item.stable = ""
        if event.text:
            item.finals.append(event)
        if self._telling.turns and item.committed:
            yield self._completed(item)

    def _finalized(self, event: live.Finalized) -> Iterator[Event]:
        if not self._commits:
            return
        commit = self._commits.popleft()
        if commit.met:  # by an utterance, which is complete by now
            return
        item = commit.item or _Item()
        if not item.committed:
            yield from self._commit(item, event.at)
        yield self._completed(item)

    def _delta(self, item: _Item, text: str, logprobs: list[Event] | None = None) -> Event:
        item.told += text
        delta = {"type": f"{_TRANSCRIPTION}.delta", "item_id": item.id, "content_index": 0, "delta": text}
        return {**delta, "logprobs": logprobs} if self._telling.logprobs and logprobs is not None else delta

    def _completed(self, item: _Item) -> Event:
        completed: Event = {
            "type": f"{_TRANSCRIPTION}.completed",
            "item_id": item.id,
            "content_index": 0,
            "transcript": " ".join(final.text for final in item.finals),
            "usage": {"type": "duration", "seconds": item.seconds},
        }
        if self._telling.logprobs:
            completed["logprobs"] = rendering.logprobs([_segment(final) for final in item.finals])
        if self._telling.languages:
            heard = dict.fromkeys(final.language.partition("-")[0] for final in item.finals)
            completed["languages"] = [{"code": code} for code in heard]
        return completed


def _buffer(name: str, item: _Item, **fields: Any) -> Event:
    return {"type": f"input_audio_buffer.{name}", "item_id": item.id, **fields}


def _segment(final: live.Final) -> Segment:
    return Segment(final.start, final.end, final.text, final.confidence, final.words)


def _rest(text: str, told: str) -> str:
    """What of `text` follows on `told`, in which neither marks nor capitals count; nothing where it says otherwise, as
    in "21" for "twenty one"."""
    letters = [letter for letter in told.lower() if letter.isalnum()]
    place = 0
    for letter in letters:
        while place < len(text) and not text[place].isalnum():
            place += 1
        if place == len(text) or text[place].lower() != letter:
            return ""
        place += 1
    return text[place:]
