"""Whether a synthesis says what it should: a recogniser hears it, and its words are compared with the text."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml import evaluation, stt
from ml.errors import MlError
from ml.tts.languages import primary
from ml.types import AudioChunk, Caller, TranscriptionOptions


class Copy:
    """A wav file of chunks that pass, and their text. A context manager: the file goes with it."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._folder = tempfile.TemporaryDirectory(prefix="verify-")
        self.path = Path(self._folder.name, "speech.wav")
        self._texts: list[str] = []

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def text(self) -> str:
        return " ".join(filter(None, self._texts))

    def kept(self, chunks: Iterator[AudioChunk]) -> Iterator[AudioChunk]:
        with wave.open(str(self.path), "wb") as file:
            file.setparams((1, 2, self._rate, 0, "NONE", ""))
            for chunk in chunks:
                file.writeframes(chunk.samples.astype("<i2", copy=False).tobytes())
                self._texts.append(chunk.text)
                yield chunk


def verify(copy: Copy, language: str, caller: Caller) -> dict[str, Any]:
    """`{wer, text, model}`, by the best recogniser of the language; what went wrong stands in `error`, for the speech
    itself is made."""
    try:
        heard = stt.transcribe(copy.path, TranscriptionOptions(language_hint=language), caller=caller)
    except MlError as error:
        return {"wer": None, "text": None, "model": None, "error": error.message}
    expected, written = (evaluation.normalise(text, primary(language)) for text in (copy.text, heard.text))
    rate = evaluation.word_errors(expected, written).rate if expected else None
    return {"wer": None if rate is None else round(rate, 4), "text": heard.text, "model": heard.model_used}
