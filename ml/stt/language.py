"""Which language is spoken: from the hint, else from an installed identification model, else from the recogniser.

The order is honest: a hint is taken at its word (confidence 1); a model's guess comes with its probability; what nobody
determined has confidence 0 and is the recogniser's default. A guess also chooses the recogniser; where none speaks the
guessed language, the default one goes on with its own, and the confidence says that it is unlikely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml import errors
from ml.audio.decode import SAMPLE_RATE
from ml.stt import registry
from ml.stt.helpers import base as helpers
from ml.stt.helpers.base import LanguageGuess, LanguageIdentifier
from ml.stt.stages import wanted
from ml.types import PcmSamples, TranscriptionOptions

HEARD_SECONDS = 30.0
"""What identification models look at, and more than they need."""


def applies(options: TranscriptionOptions) -> bool:
    return options.language_hint is None and wanted("language", options) and helpers.installed("language")


def identify(
    windows: Sequence[PcmSamples], resolution: registry.Resolution, options: TranscriptionOptions
) -> registry.Resolution:
    """The resolution with the language that the windows, (T,) int16 at 16 kHz each, are found to be in.

    Raises `EngineFailed`.
    """
    identifier: LanguageIdentifier | None = helpers.helper("language")
    if identifier is None or not windows:
        return resolution
    guesses = identifier.identify(_first_speech(windows))
    return _choose(guesses, resolution, options) if guesses else resolution


def _choose(
    guesses: Sequence[LanguageGuess], resolution: registry.Resolution, options: TranscriptionOptions
) -> registry.Resolution:
    best = guesses[0]
    try:
        chosen = registry.resolve(replace(options, language_hint=best.language))
    except errors.LanguageNotSupported:
        own = registry.primary_language(resolution.language)
        likelihood = sum(guess.probability for guess in guesses if guess.language == own)
        return replace(resolution, language_confidence=round(likelihood, 4))
    if registry.primary_language(chosen.model.default_language) == best.language:
        chosen = replace(chosen, language=chosen.model.default_language)  # "en-US" says more than "en"
    return replace(chosen, language_confidence=round(best.probability, 4))


def _first_speech(windows: Sequence[PcmSamples]) -> PcmSamples:
    """Up to `HEARD_SECONDS` of speech, of as many windows as that takes."""
    left = int(HEARD_SECONDS * SAMPLE_RATE)
    parts = []
    for window in windows:
        parts.append(window[:left])
        left -= len(parts[-1])
        if left <= 0:
            break
    return np.concatenate(parts)
