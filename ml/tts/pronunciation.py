"""How a text is pronounced, in the IPA: the words by espeak-ng's rules, those of the lexicon as it says."""

from __future__ import annotations

from ml.tts import delivery, own, pipeline
from ml.tts import text as plain
from ml.tts.engines import espeak
from ml.tts.lexicon import Entry
from ml.tts.script import Run, Style, Utterance
from ml.types import SynthesisOptions


def of(text: str, options: SynthesisOptions) -> tuple[str, list[Entry]]:
    """The phonemes of a short plain text, and the lexicon's entries that apply.

    Raises as `pipeline.resolve`; `LanguageNotSupported` where espeak-ng has no rules for the language.
    """
    voice = own.base_of(pipeline.resolve(options), options)
    run = Run(plain.clean(text), Style(voice.id))
    found = list(options.lexicon.find(run.text, voice.language)) if options.lexicon else []
    runs = options.lexicon.applied(run, voice.language) if options.lexicon else [run]
    spoken = delivery.normalised(Utterance(tuple(runs)), voice) if options.normalize else Utterance(tuple(runs))
    return espeak.phonemize_runs(spoken, voice.language), list(dict.fromkeys(hit.entry for hit in found))
