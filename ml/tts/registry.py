"""Which models can speak, their voices, and the way to their engines.

espeak-ng is always there. `install` adds model folders, whose voices are known from `model.json` alone: nothing loads
before the first sentence.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml import errors, runtime
from ml.artifacts import ModelFolder
from ml.residency import ModelSpec, ModelState
from ml.tts import languages
from ml.tts.engines import base, espeak
from ml.tts.engines.base import SpeechRequest, SynthesizerCapabilities, TimingSynthesizer
from ml.tts.script import Run, Style, Utterance
from ml.tts.timing import Sound
from ml.types import Caller, Voice

TASK = "tts"
INSTALLED_PRIORITY, EMBEDDED_PRIORITY = 20, 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that can speak now."""

    name: str
    engine: str  # e.g. "sherpa"
    capabilities: SynthesizerCapabilities
    voices: tuple[Voice, ...]  # the default one first; none of the embedded model's, which has to be asked for them
    priority: int = EMBEDDED_PRIORITY  # the highest that speaks a language is its default
    version: str = ""
    default: bool = False  # speaks before all others, wherever no voice is named

    @property
    def id(self) -> str:
        """In the pool and the batcher; the same for all versions."""
        return runtime.model_id(TASK, self.name)


_infos: dict[str, ModelInfo] = {}
_by_voice: dict[str, tuple[Voice, ModelInfo]] = {}
_lock = threading.Lock()
_installing = threading.RLock()


# ── Installing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def install(folder: ModelFolder, *, priority: int | None = None, default: bool = False) -> ModelState:
    """Lets a model folder speak; where another version of the name does, the new one loads beside it and takes over.

    As `ml.stt.install`, also in what it raises.
    """
    return _install(folder, priority, default, reload=False)


def reload(name: str) -> ModelState:
    """Reads the installed folder again and swaps, as `install` does. Raises `UnknownModel` too."""
    with _installing:
        folder = runtime.reread(TASK, name)
        return _install(folder, None, name in _infos and _infos[name].default, reload=True)


def uninstall(name: str) -> None:
    """Takes an installed model away; sentences under way finish with it. Raises `UnknownModel`."""
    with _installing:
        runtime.remove(TASK, name)
        _forget(name)


def describe(folder: ModelFolder, *, priority: int | None = None, default: bool = False) -> ModelInfo:
    """What `install` would make of a folder. Loads nothing. Raises `ModelInvalid`."""
    manifest = folder.manifest
    tell = runtime.static_function(folder, "capabilities")
    if manifest.task != TASK or tell is None:
        raise errors.ModelInvalid(f"{manifest.id} is no model for speech.")
    if manifest.name in (espeak.MODEL, espeak.NAME):
        raise errors.ModelInvalid(f"The name {manifest.name} is the embedded engine's.")
    engine_folder = runtime.for_engine(folder)
    engine_manifest = engine_folder.manifest
    phonemes, mixing = (runtime.static_function(folder, name) for name in ("takes_phonemes", "mixes_voices"))
    chosen = runtime.serving(folder).priority if priority is None else priority
    return ModelInfo(
        name=manifest.name,
        engine=manifest.engine,
        capabilities=replace(
            tell(engine_manifest),
            phonemes=phonemes is not None and phonemes(engine_folder),
            voice_mixing=mixing is not None and mixing(engine_folder),
        ),
        voices=base.voices(engine_manifest),
        priority=INSTALLED_PRIORITY if chosen is None else chosen,
        version=manifest.version,
        default=default,
    )


def _install(folder: ModelFolder, priority: int | None, default: bool, *, reload: bool) -> ModelState:
    info = describe(folder, priority=priority, default=default)
    with _installing:
        state = runtime.place(folder, capabilities=info.capabilities, reload=reload)
        _remember(info)
    return state


def _remember(info: ModelInfo) -> None:
    with _lock:
        for voice_id in [key for key, (_, owner) in _by_voice.items() if owner.name == info.name]:
            del _by_voice[voice_id]
        _infos[info.name] = info
        _by_voice.update({voice.id: (voice, info) for voice in info.voices})


def _forget(name: str) -> None:
    with _lock:
        info = _infos.pop(name, None)
        for voice in info.voices if info else ():
            _by_voice.pop(voice.id, None)


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def models() -> tuple[ModelInfo, ...]:
    """Every model that can speak now, the preferred first."""
    with _lock:
        infos = list(_infos.values())
    return tuple(sorted(infos, key=lambda info: (not info.default, -info.priority, info.name)))


def model(name: str) -> ModelInfo:
    """Raises `UnknownModel`."""
    with _lock:
        info = _infos.get(name)
    if info is None:
        raise errors.UnknownModel(f"There is no model {name[:80]!r} for speech.", param="model")
    return info


def voices() -> tuple[Voice, ...]:
    """Of all models, the preferred model's first."""
    return tuple(voice for info in models() for voice in (info.voices or espeak.voices()))


def find(voice_id: str) -> Voice | None:
    """The voice with this id; None: there is none."""
    with _lock:
        found = _by_voice.get(voice_id)
    return found[0] if found else espeak.find(voice_id)


def mixes(voice: Voice) -> bool:
    """Whether its model speaks with several of its voices at once (`ml.tts.mixing`)."""
    with _lock:
        info = _infos.get(voice.model)
    return info is not None and info.capabilities.voice_mixing


def for_language(tag: str, model_name: str | None = None) -> Voice | None:
    """The default voice of a BCP-47 language, or of the nearest region of it, maybe of one model; None: it has none.

    Raises `UnknownModel`.
    """
    speaking = sorted(models(), key=_generality) if model_name is None else (model(model_name),)
    for info in speaking:
        voice = _nearest(info.voices, tag) if info.voices else espeak.for_language(tag)
        if voice is not None:
            return voice
    return None


def in_language(voice: Voice, language: str) -> Voice | None:
    """The same speaker of a model, speaking `language`; None: he does not. Raises `UnknownModel`."""
    wanted = languages.primary(language)
    speaker = voice.id.partition("@")[0]
    same = [other for other in model(voice.model).voices if other.id.partition("@")[0] == speaker]
    fitting = [spoken for spoken in (voice, *same) if languages.primary(spoken.language) == wanted]
    exact = [spoken for spoken in fitting if spoken.language == languages.with_case(language.strip())]
    return next(iter(exact + fitting), None)


def _generality(info: ModelInfo) -> int:
    """Of two default models, that with fewer languages was made for them; others keep their order."""
    spoken = {languages.primary(voice.language) for voice in info.voices}
    return len(spoken) if info.default else sys.maxsize


def _nearest(spoken: Sequence[Voice], tag: str) -> Voice | None:
    by_language: dict[str, Voice] = {}
    for voice in spoken:
        by_language.setdefault(voice.language.lower(), voice)
        by_language.setdefault(languages.primary(voice.language), voice)
    wanted = [*languages.candidates(tag), languages.primary(tag)]
    return next((by_language[candidate] for candidate in wanted if candidate in by_language), None)


# ── Speaking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def speak(request: SpeechRequest, *, voice: Voice, caller: Caller, cancel: threading.Event | None = None) -> Sound:
    """Speaks a sentence in its turn, at the rate of the voice's model.

    Raises `EngineFailed`, `EngineUnavailable`, `UnknownModel` where it was taken away meanwhile, or `Cancelled`.
    """
    results = runtime.batcher.run(
        runtime.model_id(TASK, voice.model),
        [request],
        call=speak_batch,
        caller=caller,
        cancel=cancel,
        cost=_characters,
        probe=lambda: SpeechRequest(Utterance((Run("a", Style(voice.id)),))),
    )
    return next(results)


def speak_batch(engine: Any, requests: Sequence[SpeechRequest], cancel: threading.Event | None) -> Sequence[Sound]:
    """The batcher's call of a synthesizer."""
    return [_speak(engine, request, cancel) for request in requests]


def _speak(engine: Any, request: SpeechRequest, cancel: threading.Event | None) -> Sound:
    if request.timed and engine.capabilities.word_times:
        timing: TimingSynthesizer = engine
        return timing.speak_timed(request, cancel=cancel)
    return Sound(engine.speak(request, cancel=cancel))


def _characters(request: SpeechRequest) -> float:
    return float(sum(len(run.said) for run in request.utterance.runs)) or 1.0


def _register_embedded() -> None:
    """Its processes, once started, stay, as they always did: they are small."""
    info = ModelInfo(espeak.MODEL, espeak.NAME, espeak.Espeak.capabilities, ())
    runtime.pool.register(ModelSpec(info.id, TASK, info.name, "", info.engine, espeak.Espeak, pinned=True))
    _remember(info)


_register_embedded()
