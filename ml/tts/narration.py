"""One voice that speaks text while it is still being written, piece by piece, as one stream of sound."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ml.tts import pipeline
from ml.tts import text as plain
from ml.tts.incremental import GrowingText
from ml.tts.listening import Listener
from ml.tts.resampling import Resampler
from ml.tts.script import Run, Style, Utterance
from ml.tts.sentences import is_closed, utterances
from ml.types import AudioChunk, Caller, SynthesisOptions, Voice


class Narrator:
    """Takes text as it comes, and speaks it. `speak` may be called in another thread than `text` is filled from, but
    not twice at once.

    text: what is to be spoken; whoever fills it takes the pieces for `speak` from it.
    """

    def __init__(self, options: SynthesisOptions, *, caller: Caller) -> None:
        """options: plain text's; caller: in whose turn the engines compute.

        Raises `InvalidRequest` and its kinds, and `EngineUnavailable`. Computes nothing.
        """
        self.voice: Voice = pipeline.resolve(options)
        pipeline.verify("", options)
        self.sample_rate = pipeline.output_sample_rate(options)  # hertz, of every chunk
        self.text = GrowingText()
        self.listener = Listener(caller)
        self._options = replace(options, voice=self.voice.id, sample_rate=self.sample_rate)
        self._shape = functools.partial(pipeline.shaped, self._options)
        self._resampler = Resampler(self.sample_rate)

    def speak(self, piece: str, cancel: threading.Event | None = None) -> AudioChunk:
        """The sound of a piece, maybe none at all: it goes on where the last one ended.

        Raises `EngineFailed`, `EngineUnavailable`, `UnknownVoice` where the voice was taken away, or `Cancelled`.
        """
        if not plain.is_speakable(piece):
            return self._joined((), piece)
        chunks: list[AudioChunk] = []
        for part in utterances([Run(piece, Style(self.voice.id))], self._shape):
            if isinstance(part, Utterance):
                last = replace(part, pause=is_closed(part.source))
                sound, rate = pipeline.speak_utterance(last, self._options, self.listener.turn(), cancel)
                chunk = pipeline.as_chunk(last, sound, rate, self._options)
                chunks += self._resampler.push(chunk)
        return self._joined(chunks, piece)

    def end_utterance(self) -> AudioChunk:
        """The few milliseconds of sound that are held back until the next piece."""
        return self._joined(self._resampler.rest(), "")

    def _joined(self, chunks: Iterable[AudioChunk], text: str) -> AudioChunk:
        parts = [chunk.samples for chunk in chunks]
        samples = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)
        self.listener.gets(len(samples) / self.sample_rate)
        return AudioChunk(samples, self.sample_rate, text.strip())
