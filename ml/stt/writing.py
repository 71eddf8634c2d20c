"""From hypotheses to written segments: at the end of a recording, or while it is being heard.

The text stages look back to where a sentence began and one segment ahead, because a sentence ends where a pause
follows. So while a recording is being heard, a segment is finished as soon as there is one behind it, and the stages
run again over the sentence under way only. What was told stays: the transcript is made of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ml.stt import registry, vad
from ml.stt.confidence import calibrate_segment, without_noise_words
from ml.stt.diarization import Speakers
from ml.stt.engines.base import EngineCapabilities, Hypothesis
from ml.stt.recognition import Heard
from ml.stt.stages import Recognition
from ml.stt.text import TEXT_STAGES
from ml.stt.text.rescoring import rescore
from ml.stt.text.truecasing import ends_sentence
from ml.types import Segment, TranscriptionOptions, Word

OnSegment = Callable[[Segment], None]
"""Called with each segment of the transcript, in order, once nothing will change it any more."""

_CONTEXT_SEGMENTS = 16
"""How far back a sentence that does not end is looked at."""

_SENTENCE_STAGES = ("punctuate", "truecase")


class Stages(Protocol):
    """The run that the stages are part of."""

    def stage(self, name: str) -> contextlib.AbstractContextManager[None]: ...

    def show(self, stage: str, **output: Any) -> None: ...


@dataclass
class Writer:
    """Writes down one recording. Windows come in order; `finish` ends it."""

    windows: Sequence[vad.SpeechSpan]
    noisy: frozenset[vad.SpeechSpan]
    options: TranscriptionOptions
    run: Stages
    on_segment: OnSegment | None = None
    speakers: Speakers | None = None  # a segment is cut where the speaker changes
    _written: list[Segment] = field(default_factory=list)
    _sentence: list[Segment] = field(default_factory=list)  # as heard: the sentences of which not all is written
    _ahead: int = 0  # how many of them are written

    def hear(self, first: int, heard: Heard) -> None:
        """Takes what was heard in the windows from number `first` on, and writes what is finished by it."""
        for span, hypothesis in zip(self.windows[first:], self._rescored(heard), strict=False):
            if segment := self._segment(span, hypothesis, heard.model.capabilities):
                self._sentence += self.speakers.divide(segment) if self.speakers else (segment,)
        if self._ahead < len(self._sentence) - 1:
            sentences, written = self._write(heard)
            self._tell(written[self._ahead : -1])
            self._ahead = len(written) - 1
            self._forget(sentences)

    def finish(self, heard: Heard) -> tuple[Segment, ...]:
        """Writes the rest; the whole transcript."""
        if self._ahead < len(self._sentence):
            self._tell(self._write(heard)[1][self._ahead :])
        self._sentence, self._ahead = [], 0
        return tuple(self._written)

    def _rescored(self, heard: Heard) -> Sequence[Hypothesis]:
        if not any(hypothesis.alternatives for hypothesis in heard.hypotheses):
            return heard.hypotheses
        spoken = registry.primary_language(heard.language)
        with self.run.stage("rescore"):
            best = rescore(heard.hypotheses, spoken, self.options, heard.model.capabilities)
        self.run.show("rescore", texts=[hypothesis.text for hypothesis in best])
        return best

    def _segment(self, span: vad.SpeechSpan, hypothesis: Hypothesis, able: EngineCapabilities) -> Segment | None:
        kept = without_noise_words(hypothesis, able) if span in self.noisy else hypothesis
        return calibrate_segment(in_recording(span, kept), able) if kept.text else None

    def _write(self, heard: Heard) -> tuple[Sequence[Segment], Sequence[Segment]]:
        """The sentences under way, with marks and capitals, and as all stages leave them."""
        recognition = Recognition(tuple(self._sentence), heard.language, heard.language_confidence)
        sentences = recognition.segments
        for stage in TEXT_STAGES:
            if stage.applies(heard.model.capabilities, self.options):
                with self.run.stage(stage.name):
                    recognition = stage.run(recognition, self.options)
                self.run.show(stage.name, texts=[segment.text for segment in recognition.segments])
            if stage.name in _SENTENCE_STAGES:
                sentences = recognition.segments
        return sentences, recognition.segments

    def _tell(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            self._written.append(segment)
            if self.on_segment is not None:
                self.on_segment(segment)

    def _forget(self, sentences: Sequence[Segment]) -> None:
        """Drops what no later segment depends on: all up to the last sentence that has ended, or is too far back."""
        ended = [number for number in range(self._ahead) if ends_sentence(sentences[number].text)]
        done = max(ended[-1] + 1 if ended else 0, self._ahead - _CONTEXT_SEGMENTS)
        del self._sentence[:done]
        self._ahead -= done


def in_recording(span: vad.SpeechSpan, hypothesis: Hypothesis) -> Segment:
    """Moves words from the window's time to the recording's; the segment lasts from its first word to its last."""
    words = tuple(
        Word(
            word.text,
            round(min(span.end, span.start + word.start), 3),
            round(min(span.end, span.start + word.end), 3),
            round(word.confidence, 4),
        )
        for word in hypothesis.words
    )
    start, end = (words[0].start, words[-1].end) if words else (round(span.start, 3), round(span.end, 3))
    return Segment(start, end, hypothesis.text, round(hypothesis.confidence, 4), words)


def without_words(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(replace(segment, words=()) for segment in segments)
