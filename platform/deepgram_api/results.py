"""What was heard, as Deepgram tells it: `Results` of a stream, and the answer for a recording."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.serializers import json_time
from ml import stt as engine
from ml.stt import live
from ml.stt.registry import primary_language
from ml.stt.text.tokens import UNSPACED_LANGUAGES, split_marks
from ml.types import Segment, Word
from openai_api.rendering import words_in
from stt import selectors
from stt.models import SttJob

_MODELS = uuid.UUID("5c1a4b5e-6f0f-4e0e-9d0c-0a4a9f1c2b7d")
"""In whose name space the ids of models are: Deepgram's clients expect one."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How words are written."""

    punctuated: bool  # with marks and capitals, as Deepgram writes with `punctuate` or `smart_format`
    language: str = ""  # BCP-47

    def text(self, text: str) -> str:
        if self.punctuated or primary_language(self.language) in UNSPACED_LANGUAGES:
            return text
        return " ".join(filter(None, map(bare, text.split())))

    def words(self, words: Sequence[Word], speaker: str | None = None) -> list[dict[str, Any]]:
        return [self._word(word, speaker) for word in words if bare(word.text)]

    def _word(self, word: Word, speaker: str | None) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "word": bare(word.text), "start": word.start, "end": word.end, "confidence": word.confidence,
        }  # fmt: skip
        if self.punctuated:
            shown["punctuated_word"] = word.text.strip()
        return shown if speaker is None else {**shown, "speaker": speaker_number(speaker)}


def bare(text: str) -> str:
    """A word without the marks around it, in lower case."""
    return split_marks(text.strip())[1].lower()


def speaker_number(speaker: str) -> int:
    """`speaker_1` → 0."""
    number = speaker.rpartition("_")[2]
    return int(number) - 1 if number.isdecimal() else 0


def model_info(name: str) -> tuple[str, dict[str, str]]:
    """An id and what is known of a model."""
    found = next((model for model in engine.models() if model.name == name), None)
    version = (found.version if found else "") or "0"
    info = {"name": name, "version": version, "arch": found.engine if found else ""}
    return str(uuid.uuid5(_MODELS, f"{name}@{version}")), info


# ── A stream ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Stream:
    """What is said about one stream."""

    request_id: str
    writing: Writing
    model: str

    def partial(self, event: live.Partial) -> dict[str, Any]:
        confidence = sum(word.confidence for word in event.words) / len(event.words) if event.words else 0.0
        segment = Segment(event.start, event.end, event.text, round(confidence, 4), event.words)
        return self._results(segment, is_final=False)

    def final(self, event: live.Final, *, speech_final: bool) -> dict[str, Any]:
        segment = Segment(event.start, event.end, event.text, event.confidence, event.words)
        return self._results(segment, is_final=True, speech_final=speech_final)

    def flushed(self, at: float) -> dict[str, Any]:
        """The answer to a `Finalize` where there was nothing more to say."""
        return self._results(Segment(at, at, "", 0.0), is_final=True, speech_final=True)

    def metadata(self, *, sha256: str, created_at: datetime, duration_seconds: float) -> dict[str, Any]:
        """The last message."""
        return {"type": "Metadata", **_metadata(self.request_id, sha256, created_at, duration_seconds, 1, self.model)}

    def _results(self, segment: Segment, *, is_final: bool, speech_final: bool = False) -> dict[str, Any]:
        model_uuid, info = model_info(self.model)
        alternative = {
            "transcript": self.writing.text(segment.text),
            "confidence": segment.confidence,
            "words": self.writing.words(words_in(segment)),
        }
        return {
            "type": "Results",
            "channel_index": [0, 1],
            "start": segment.start,
            "duration": round(segment.end - segment.start, 3),
            "is_final": is_final,
            "speech_final": speech_final,
            "from_finalize": False,
            "channel": {"alternatives": [alternative]},
            "metadata": {"request_id": self.request_id, "model_info": info, "model_uuid": model_uuid},
        }


def speech_started(event: live.SpeechStarted) -> dict[str, Any]:
    return {"type": "SpeechStarted", "channel": [0, 1], "timestamp": event.start}


def utterance_end(event: live.UtteranceEnd) -> dict[str, Any]:
    return {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": event.last_word_end}


# ── A recording ─────────────────────────────────────────────────────────────────────────────────────────────────────


def of_job(job: SttJob, *, fields: dict[str, Any], sha256: str) -> dict[str, Any]:
    """The answer for a job that succeeded. fields: those of the query."""
    transcription = job.transcription
    writing = Writing(bool(job.options.get("punctuate")), transcription.language)
    segments = selectors.segments(transcription)
    channels = _by_channel(segments, _channel_count(job)) if job.options.get("channels") == "separate" else [segments]
    shown = [_channel(channel, writing, fields, transcription) for channel in channels]
    results: dict[str, Any] = {"channels": shown}
    if fields.get("utterances"):
        results["utterances"] = _utterances(channels, writing)
    duration = job.duration_seconds or 0.0
    metadata = _metadata(str(job.id), sha256, job.created_at, duration, len(channels), transcription.model_used)
    return {"metadata": {**metadata, **_echoed(fields)}, "results": results}


def _channel(
    segments: Sequence[Segment], writing: Writing, fields: dict[str, Any], transcription: Any
) -> dict[str, Any]:
    seconds = sum(segment.end - segment.start for segment in segments)
    weighted = sum(segment.confidence * (segment.end - segment.start) for segment in segments)
    alternative: dict[str, Any] = {
        "transcript": " ".join(writing.text(segment.text) for segment in segments),
        "confidence": round(weighted / seconds, 4) if seconds else 0.0,
        "words": [word for segment in segments for word in writing.words(words_in(segment), segment.speaker)],
    }
    if fields.get("paragraphs"):
        alternative["paragraphs"] = _paragraphs(segments, writing)
    channel: dict[str, Any] = {"alternatives": [alternative]}
    if fields.get("detect_language"):
        channel["detected_language"] = primary_language(transcription.language)
        channel["language_confidence"] = transcription.language_confidence
    return channel


def _by_channel(segments: Sequence[Segment], count: int) -> list[list[Segment]]:
    """Each channel is a speaker, and says so no more."""
    found: list[list[Segment]] = [[] for _ in range(count)]
    for segment in segments:
        place = speaker_number(segment.speaker or "")
        found[min(place, count - 1)].append(Segment(*(getattr(segment, name) for name in Segment.__slots__[:-1])))
    return found


def _channel_count(job: SttJob) -> int:
    """The metered seconds are those of all channels."""
    heard = job.metered.audio_seconds if job.metered else 0.0
    return max(1, round(heard / job.duration_seconds)) if job.duration_seconds else 1


def _utterances(channels: Sequence[Sequence[Segment]], writing: Writing) -> list[dict[str, Any]]:
    found = [
        {
            "start": segment.start,
            "end": segment.end,
            "confidence": segment.confidence,
            "channel": number,
            "transcript": writing.text(segment.text),
            "words": writing.words(words_in(segment), segment.speaker),
            **({"speaker": speaker_number(segment.speaker)} if segment.speaker else {}),
            "id": str(uuid.uuid4()),
        }
        for number, channel in enumerate(channels)
        for segment in channel
    ]
    return sorted(found, key=lambda utterance: utterance["start"])


def _paragraphs(segments: Sequence[Segment], writing: Writing) -> dict[str, Any]:
    """A paragraph is what somebody says between two pauses."""
    paragraphs, texts = [], [writing.text(segment.text) for segment in segments]
    for segment, text in zip(segments, texts, strict=True):
        times = {"start": segment.start, "end": segment.end}
        speaker = {"speaker": speaker_number(segment.speaker)} if segment.speaker else {}
        paragraphs.append({"sentences": [{"text": text, **times}], **speaker, "num_words": len(text.split()), **times})
    return {"transcript": "\n\n".join(texts), "paragraphs": paragraphs}


def _metadata(
    request_id: str, sha256: str, created_at: datetime, duration_seconds: float, channels: int, model: str
) -> dict[str, Any]:
    model_uuid, info = model_info(model)
    return {
        "transaction_key": "deprecated",  # as Deepgram says
        "request_id": request_id,
        "sha256": sha256,
        "created": json_time(created_at),
        "duration": duration_seconds,
        "channels": channels,
        "models": [model_uuid],
        "model_info": {model_uuid: info},
    }


def _echoed(fields: dict[str, Any]) -> dict[str, Any]:
    echoed: dict[str, Any] = {}
    if fields.get("tag"):
        echoed["tags"] = fields["tag"]
    if fields.get("extra"):
        echoed["extra"] = dict(item.split(":", 1) for item in fields["extra"] if ":" in item)
    return echoed
