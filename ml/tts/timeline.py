"""When each word, sentence and mark of a whole text is heard, put together from the chunks as they pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ml.stt import subtitles
from ml.tts import text as plain
from ml.types import AudioChunk, Segment, SpokenWord, Word

FORMATS = ("json", "srt", "vtt")


@dataclass(slots=True)
class _Sentence:
    text: str
    start: float  # seconds from the beginning of the audio
    end: float
    words: list[SpokenWord] = field(default_factory=list)


class Timeline:
    """Watches chunks. What it tells is JSON, as it is stored and answered."""

    def __init__(self, *, words: bool) -> None:
        """words: whether words and sentences are wanted; marks always are."""
        self._wanted = words
        self._seconds = 0.0
        self._sentences: list[_Sentence] = []
        self._marks: list[tuple[str, float]] = []
        self._open = False  # the last sentence goes on with the next chunk
        self._estimated: set[bool] = set()

    def watched(self, chunks: Iterator[AudioChunk]) -> Iterator[AudioChunk]:
        for chunk in chunks:
            self._note(chunk)
            yield chunk

    def told(self) -> dict[str, Any] | None:
        """`{source, words, sentences, marks}`; None: there is nothing to tell."""
        if not self._wanted and not self._marks:
            return None
        source = {(): None, (False,): "engine", (True,): "estimated"}.get(tuple(self._estimated), "mixed")
        return {
            "source": source,
            "sentences": [
                {
                    "text": sentence.text,
                    "start": round(sentence.start, 3),
                    "end": round(sentence.end, 3),
                    "words": [[word.text, round(word.start, 3), round(word.end, 3)] for word in sentence.words],
                }
                for sentence in self._sentences
            ],
            "marks": [[name, round(seconds, 3)] for name, seconds in self._marks],
        }

    def _note(self, chunk: AudioChunk) -> None:
        start = self._seconds
        self._seconds += chunk.duration_seconds
        self._marks += [(mark.name, start + mark.time) for mark in chunk.marks]
        if chunk.words or chunk.marks:
            self._estimated.add(chunk.estimated)
        if not self._wanted or not chunk.text:
            self._open = self._open and not chunk.samples.size
            return
        if not self._open:
            self._sentences.append(_Sentence("", start, start))
        sentence = self._sentences[-1]
        sentence.text = f"{sentence.text} {chunk.text}".strip()
        sentence.end = start + (chunk.words[-1].end if chunk.words else chunk.duration_seconds)
        sentence.words += [SpokenWord(word.text, start + word.start, start + word.end) for word in chunk.words]
        self._open = not plain.ends_sentence(chunk.text)


def as_json(told: dict[str, Any]) -> dict[str, Any]:
    """For the API: objects with names, the words of all sentences in a row."""
    return {
        "source": told["source"],
        "words": [
            {"word": word, "start": start, "end": end}
            for sentence in told["sentences"]
            for word, start, end in sentence["words"]
        ],
        "sentences": [{name: sentence[name] for name in ("text", "start", "end")} for sentence in told["sentences"]],
        "marks": [{"name": name, "time": seconds} for name, seconds in told["marks"]],
    }


def rendered(told: dict[str, Any], format_name: str) -> str:
    """As "srt" or "vtt"."""
    segments = [_segment(sentence) for sentence in told["sentences"]]
    return subtitles.to_srt(segments) if format_name == "srt" else subtitles.to_vtt(segments)


def _segment(sentence: dict[str, Any]) -> Segment:
    """With its words as they are written, punctuation and all."""
    times = iter(sentence["words"])
    words, last = [], sentence["start"]
    for token in sentence["text"].split():
        _, start, end = next(times, (token, last, last)) if plain.is_speakable(token) else (token, last, last)
        words.append(Word(token, start, end, 1.0))
        last = end
    return Segment(sentence["start"], sentence["end"], sentence["text"], 1.0, tuple(words))
