"""Which code serves a model folder: by its task, `engine` and `format`, never by its name.

A loader takes a `ModelFolder` and returns a loaded engine of the task's protocol (`ml.stt.engines.base.Recognizer`,
`ml.tts.engines.base.Synthesizer`, …). It raises `ModelInvalid` for files that it cannot serve, before any native code
that would end the process sees them. Loaders are imported when they are first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ml.artifacts import ModelFolder
from ml.errors import ModelInvalid

LOADERS: dict[tuple[str, str, str], str] = {
    # (task, engine, format): "module:function"
    ("stt", "whisper", "ctranslate2"): "ml.stt.engines.whisper_ctranslate2:load",
    ("stt", "whisper", "openai"): "ml.stt.engines.whisper_openai:load",
    ("stt", "sherpa", "transducer"): "ml.stt.engines.sherpa_offline:load",
    ("stt", "sherpa", "streaming_transducer"): "ml.stt.engines.sherpa_streaming:load",
    ("stt", "sherpa", "ctc"): "ml.stt.engines.sherpa_offline:load",
    ("stt", "sherpa", "whisper"): "ml.stt.engines.sherpa_whisper:load",
    ("stt", "sherpa", "moonshine"): "ml.stt.engines.sherpa_offline:load",
    ("stt", "sherpa", "sense_voice"): "ml.stt.engines.sherpa_offline:load",
    ("stt", "pocketsphinx", "sphinx"): "ml.stt.engines.pocketsphinx:load",
    ("tts", "sherpa", "vits"): "ml.tts.engines.sherpa:load",
    ("tts", "sherpa", "kokoro"): "ml.tts.engines.sherpa:load",
    ("tts", "sherpa", "matcha"): "ml.tts.engines.sherpa:load",
    ("tts", "sherpa", "kitten"): "ml.tts.engines.sherpa:load",
    ("tts", "sherpa", "pocket"): "ml.tts.engines.sherpa:load",
    ("tts", "coqui", "vits"): "ml.tts.engines.coqui:load",
    ("tts", "coqui", "xtts"): "ml.tts.engines.coqui:load",
    ("punctuation", "sherpa", "ct_transformer"): "ml.stt.helpers.sherpa:load_punctuation",
    ("diarization", "sherpa", "pyannote"): "ml.stt.helpers.sherpa:load_diarization",
    ("speaker", "sherpa", "embedding"): "ml.stt.helpers.sherpa:load_speaker_embedding",
    ("language", "sherpa", "whisper"): "ml.stt.helpers.sherpa:load_language_identification",
    ("lm", "arpa", "arpa"): "ml.stt.helpers.arpa:load",
}


def load(folder: ModelFolder) -> Any:
    """The loaded engine for a folder. Raises `ModelInvalid`, also where no loader serves its format."""
    return loader(folder)(folder)


def loader(folder: ModelFolder) -> Callable[[ModelFolder], Any]:
    manifest = folder.manifest
    target = LOADERS.get((manifest.task, manifest.engine, manifest.format))
    if target is None:
        raise ModelInvalid(
            f"{manifest.id}: no engine serves {manifest.task} models of {manifest.engine}/{manifest.format}."
        )
    module, _, function = target.partition(":")
    return getattr(importlib.import_module(module), function)
