"""A finished transcription in the formats of OpenAI's API.

`tokens` are empty: not every engine has tokens. `avg_logprob` is the logarithm of the segment's confidence, and
`no_speech_prob` 0, because what is not speech is left out before recognition.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ml.stt import subtitles
from ml.stt.text.tokens import split_marks, words_of
from ml.types import Segment, Word
from openai_api.languages import english_name
from stt import selectors
from stt.models import SttJob

LEAST_CONFIDENCE = 1e-4
"""Under it a logarithm says nothing more."""

TEXTS = {
    "text": lambda transcript: transcript.text + "\n",
    "srt": lambda transcript: subtitles.to_srt(transcript.segments),
    "vtt": lambda transcript: subtitles.to_vtt(transcript.segments),
}
"""Formats that are no JSON."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a request is answered with."""

    text: str
    segments: tuple[Segment, ...]
    language: str  # BCP-47
    language_known: bool  # named by the caller, or detected
    duration_seconds: float
    task: str


def transcript_of(job: SttJob) -> Transcript:
    """Of a job that succeeded."""
    transcription = job.transcription
    return Transcript(
        text=transcription.text,
        segments=selectors.segments(transcription),
        language=transcription.language,
        language_known=transcription.language_confidence > 0,
        duration_seconds=job.duration_seconds or 0.0,
        task=job.options.get("task", "transcribe"),
    )


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def to_json(transcript: Transcript, *, with_logprobs: bool = False, with_languages: bool = False) -> dict[str, Any]:
    """`json`; a translation has its text alone."""
    if transcript.task == "translate":
        return {"text": transcript.text}
    body: dict[str, Any] = {"text": transcript.text}
    if with_languages:
        body["languages"] = languages(transcript)
    if with_logprobs:
        body["logprobs"] = logprobs(transcript.segments)
    return {**body, "usage": usage(transcript)}


def to_verbose_json(
    transcript: Transcript, *, granularities: Iterable[str], temperature: float = 0.0
) -> dict[str, Any]:
    """`verbose_json`, with `segments` and `words` as the granularities ask for them."""
    translated = transcript.task == "translate"
    body: dict[str, Any] = {
        "task": transcript.task,
        "language": "english" if translated else english_name(transcript.language),
        "duration": transcript.duration_seconds,
        "text": transcript.text,
    }
    if "word" in granularities:
        body["words"] = [_word(word) for segment in transcript.segments for word in words_in(segment)]
    if "segment" in granularities:
        body["segments"] = [
            _verbose_segment(number, segment, temperature) for number, segment in enumerate(transcript.segments)
        ]
    return body if translated else {**body, "usage": usage(transcript)}


def to_diarized_json(transcript: Transcript, *, known: Collection[str] = ()) -> dict[str, Any]:
    """`diarized_json`. known: names that stand for themselves."""
    return {
        "task": "transcribe",
        "duration": transcript.duration_seconds,
        "text": transcript.text,
        "segments": diarized(transcript.segments, known),
        "usage": usage(transcript),
    }


def diarized(segments: Sequence[Segment], known: Collection[str] = ()) -> list[dict[str, Any]]:
    """Segments as events and as parts of `diarized_json`. Who is not known is A, B, … by first appearance."""
    labels = speaker_labels(segments, known)
    return [
        {
            "type": "transcript.text.segment",
            "id": segment_id(number),
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "speaker": labels[segment.speaker],
        }
        for number, segment in enumerate(segments)
    ]


def segment_id(number: int) -> str:
    return f"seg_{number:03}"


def speaker_labels(segments: Iterable[Segment], known: Collection[str] = ()) -> dict[str | None, str]:
    """The platform's speaker → a known name, or a capital letter; after Z two of them."""
    found = dict.fromkeys(segment.speaker for segment in segments)
    unknown = (speaker for speaker in found if speaker not in known)
    letters = {speaker: _letters(number) for number, speaker in enumerate(unknown)}
    return {speaker: letters.get(speaker) or str(speaker) for speaker in found}


def usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": transcript.duration_seconds}


def languages(transcript: Transcript) -> list[dict[str, str]]:
    """What `gpt-transcribe` says of them; none where nobody named or detected one."""
    return [{"code": transcript.language.partition("-")[0]}] if transcript.language_known else []


def logprobs(segments: Sequence[Segment], *, begins: bool = True) -> list[dict[str, Any]]:
    """A word a token; joined they are the text. begins: the first one opens the transcript, without a space."""
    found = []
    for segment in segments:
        for word in words_in(segment):
            token = word.text if begins else f" {word.text}"
            begins = False
            found.append({"token": token, "bytes": list(token.encode()), "logprob": log_probability(word.confidence)})
    return found


def log_probability(confidence: float) -> float:
    return round(math.log(min(1.0, max(LEAST_CONFIDENCE, confidence))), 6)


def words_in(segment: Segment) -> list[Word]:
    """The words of the segment's text; where a later stage rewrote it past telling, with the segment's own times."""
    words = words_of(segment)
    if words is None:
        return [Word(text, segment.start, segment.end, segment.confidence) for text in segment.text.split()]
    return words


def _word(word: Word) -> dict[str, Any]:
    """Without the marks around it, as Whisper's words are."""
    return {"word": split_marks(word.text)[1] or word.text, "start": word.start, "end": word.end}


def _verbose_segment(number: int, segment: Segment, temperature: float) -> dict[str, Any]:
    text = f" {segment.text}"  # as Whisper's, so that segments can be joined
    shown = {
        "id": number,
        "seek": round(segment.start * 100),  # in frames of 10 ms
        "start": segment.start,
        "end": segment.end,
        "text": text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": log_probability(segment.confidence),
        "compression_ratio": _compression_ratio(text),
        "no_speech_prob": 0.0,
    }
    return {**shown, "speaker": segment.speaker} if segment.speaker else shown


def _compression_ratio(text: str) -> float:
    """Whisper's: high where the same is said again and again."""
    encoded = text.encode()
    return round(len(encoded) / len(zlib.compress(encoded)), 4)


def _letters(number: int) -> str:
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
