"""Events, read within limits, and what they ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from wyoming.asr import Transcribe
from wyoming.event import Event, async_read_event
from wyoming.tts import SynthesizeTextFormat, SynthesizeVoice

from common import errors
from ml.types import SynthesisOptions
from stt.live.protocol import MAX_HOTWORDS

MAX_PART_BYTES = 1024 * 1024
"""Of an event's data, and of its payload."""
MAX_LINE_BYTES = 64 * 1024

T = TypeVar("T")


class _Bounded:
    """A stream from which nobody can have more than a part read at once: the length is the client's to say."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.readline = reader.readline
        self._reader = reader

    async def readexactly(self, size: int) -> bytes:
        if not 0 <= size <= MAX_PART_BYTES:
            raise ValueError(f"A part of an event has at most {MAX_PART_BYTES} bytes.")
        return await self._reader.readexactly(size)


async def read(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None at the end. Raises InvalidRequest for what is no event, or too large for one."""
    try:
        event = await async_read_event(_Bounded(reader))  # type: ignore[arg-type]
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise _malformed() from None
    if event is None and not reader.at_eof():
        raise _malformed()
    if event is not None and not (isinstance(event.type, str) and isinstance(event.data, dict)):
        raise _malformed()
    return event


def parsed(make: Callable[[Event], T], event: Event) -> T:
    """The event as the library reads it. Raises InvalidRequest."""
    try:
        return make(event)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise errors.InvalidRequest(
            f"The event {event.type[:40]!r} lacks something, or has something of a wrong type.", code="malformed_event"
        ) from None


def transcription_options(wanted: Transcribe) -> dict[str, Any]:
    """Of TranscriptionOptions, those that the request names. Raises InvalidRequest."""
    options: dict[str, Any] = {}
    if wanted.language:
        options["language_hint"] = _text("language", wanted.language, 35)
    if wanted.name:
        options["model"] = _text("name", wanted.name, 100)
    favoured = [*(wanted.transcript_names or ()), *(wanted.transcript_terms or ())]
    if favoured:
        options["hotwords"] = tuple(_text("transcript_terms", term, 100) for term in favoured[:MAX_HOTWORDS])
    return options


def synthesis_options(voice: SynthesizeVoice | None, text_format: str | None) -> SynthesisOptions:
    """Raises InvalidRequest."""
    if text_format not in (None, SynthesizeTextFormat.TEXT, SynthesizeTextFormat.SSML):
        raise errors.InvalidRequest("The text_format is 'text' or 'ssml'.", code="parameter_invalid")
    ssml = text_format == SynthesizeTextFormat.SSML
    if voice is None:
        return SynthesisOptions(ssml=ssml)
    if voice.speaker:
        raise errors.InvalidRequest("The voices here have no speakers to choose from.", code="parameter_invalid")
    name = _text("voice", voice.name, 200) if voice.name else None
    language = _text("language", voice.language, 35) if voice.language else None
    return SynthesisOptions(voice=name, language=language, ssml=ssml)


def text_of(value: object) -> str:
    """Raises InvalidRequest for what is no text."""
    if not isinstance(value, str):
        raise errors.InvalidRequest("The text is no text.", code="malformed_event", param="text")
    return value


def _text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise errors.InvalidRequest(f"{name} is a text of at most {most} characters.", code="parameter_invalid")
    return value


def _malformed() -> errors.InvalidRequest:
    return errors.InvalidRequest("This is no event of the Wyoming protocol.", code="malformed_event")
