"""How loud a voice is, so that a stream can be brought to a loudness from its first sample on."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from ml.audio import loudness
from ml.tts import pipeline, registry
from ml.tts.languages import primary
from ml.types import Caller, SynthesisOptions

_TEXTS = {
    "en": "The boy was there when the sun rose, and nobody had asked him to come along.",
    "de": "Der Junge war schon da, als die Sonne aufging, und niemand hatte ihn gerufen.",
    "fr": "Le garçon était là quand le soleil se leva, et personne ne lui avait rien demandé.",
    "es": "El niño estaba allí cuando salió el sol, y nadie le había pedido que viniera.",
    "hi": "जब सूरज निकला तब लड़का वहीं था, और किसी ने उसे बुलाया नहीं था।",
}
_TEXT = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
"""For other languages: digits are the words that all of them have."""


def gain_db(options: SynthesisOptions, target: float, *, caller: Caller) -> float:
    """What to turn a voice up by to reach `target` LUFS, about: sentences differ by a decibel or two.

    Computes a sentence, once for each voice, speed, pitch and volume. Raises as `pipeline.synthesize`.
    """
    plain = replace(
        options, ssml=False, timestamps=False, trim_silence=False, lexicon=None, normalize=None, sample_rate=None,
    )  # fmt: skip
    voice = pipeline.resolve(plain)
    version = registry.model(voice.model).version
    key = (voice.id, version, options.speed, options.pitch, options.volume)
    if options.own_voices:  # whose likeness is no key
        return target - _loudness(plain, caller)
    return target - _known(key, plain, caller)


class _Unkeyed:
    """An argument that a cache does not look at."""

    def __init__(self, options: SynthesisOptions, caller: Caller) -> None:
        self.options, self.caller = options, caller

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unkeyed)

    def __hash__(self) -> int:
        return 0


def _known(key: tuple[object, ...], options: SynthesisOptions, caller: Caller) -> float:
    return _cached(key, _Unkeyed(options, caller))


@functools.lru_cache(maxsize=512)
def _cached(_key: tuple[object, ...], how: _Unkeyed) -> float:
    return _loudness(how.options, how.caller)


def _loudness(options: SynthesisOptions, caller: Caller) -> float:
    """LUFS."""
    text = _TEXTS.get(primary(pipeline.resolve(options).language), _TEXT)
    chunks = list(pipeline.synthesize(text, options, caller=caller))
    measured = loudness.measure(np.concatenate([chunk.samples for chunk in chunks]), chunks[0].sample_rate)
    return measured[0] if measured else -23.0
