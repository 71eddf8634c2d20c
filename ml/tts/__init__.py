"""Text to speech.

`synthesize(text, options)` verifies everything, then yields one `AudioChunk` a sentence as it is made (`Speech`).
`resolve(options)` is the voice that it would use, `output_sample_rate(options)` the rate that its chunks will have,
`voices()` the voices that can speak, and `variants()` the timbres that any espeak voice can be given: the variant "f2"
of the voice "espeak:en-us" has the id "espeak:en-us+f2". `Narrator` speaks text that is still being written. `models()`
says which models speak; `install`, `reload` and `uninstall` change that while requests run.

The names are loaded when they are first used: a worker process imports this package for its engine module alone, and
stays small and quick to fork without numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml.tts.engines.espeak import Variant
    from ml.tts.narration import Narrator
    from ml.tts.pipeline import MAX_CHARACTERS, Speech, output_sample_rate, resolve, synthesize, variants, voices
    from ml.tts.registry import ModelInfo, install, mixes, models, reload, uninstall

__all__ = [
    "MAX_CHARACTERS",
    "ModelInfo",
    "Narrator",
    "Speech",
    "Variant",
    "install",
    "mixes",
    "models",
    "output_sample_rate",
    "reload",
    "resolve",
    "synthesize",
    "uninstall",
    "variants",
    "voices",
]

_MODULES = {
    "Narrator": "ml.tts.narration",
    "Variant": "ml.tts.engines.espeak",
    **dict.fromkeys(("ModelInfo", "install", "mixes", "models", "reload", "uninstall"), "ml.tts.registry"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES.get(name, "ml.tts.pipeline")), name)
