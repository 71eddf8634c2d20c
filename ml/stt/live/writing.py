"""From what was heard in one utterance to its written segment, as a file's transcription writes it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ml.stt import registry, vad
from ml.stt.confidence import calibrate_segment
from ml.stt.recognition import Heard
from ml.stt.stages import Recognition
from ml.stt.text import TEXT_STAGES
from ml.stt.text.redaction import PROFANITIES, mask
from ml.stt.text.rescoring import rescore
from ml.stt.writing import in_recording
from ml.types import Segment, TranscriptionOptions

_CONTEXT_SEGMENTS = 16


@dataclass
class LiveWriter:
    """Writes the utterances of one session in order.

    A pause ends a sentence, and nothing before it matters any more. An utterance that was cut for its length does not:
    what follows is written as its continuation.
    """

    options: TranscriptionOptions
    stages: set[str] = field(default_factory=set)  # the names of those that ran
    _sentence: list[Segment] = field(default_factory=list)  # as heard, of the utterances that were cut

    def write(self, span: vad.SpeechSpan, heard: Heard, *, cut: bool) -> Segment | None:
        """The segment; None where nothing was said. span: what was recognised, in seconds of the session."""
        able = heard.model.capabilities
        hypothesis = heard.hypotheses[0]
        if hypothesis.alternatives:
            self.stages.add("rescore")
            (hypothesis,) = rescore([hypothesis], registry.primary_language(heard.language), self.options, able)
        if not hypothesis.text:
            return None
        segment = calibrate_segment(in_recording(span, hypothesis), able)
        going_on = [Segment(segment.end, segment.end, "", 0.0)] if cut else []  # so that no full stop is put
        recognition = Recognition((*self._sentence, segment, *going_on), heard.language, heard.language_confidence)
        for stage in TEXT_STAGES:
            if stage.applies(able, self.options):
                self.stages.add(stage.name)
                recognition = stage.run(recognition, self.options)
        written = recognition.segments[len(self._sentence)]
        self._sentence = [*self._sentence, segment][-_CONTEXT_SEGMENTS:] if cut else []
        return written


def masked(text: str, language: str, options: TranscriptionOptions) -> str:
    """A partial's text as the profanity filter, where it is wanted, would show it."""
    if not options.profanity_filter or "profanity_filter" in options.disable:
        return text
    bad = PROFANITIES.get(registry.primary_language(language), frozenset())
    return " ".join(mask(word, bad) for word in text.split(" "))
