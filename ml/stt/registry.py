"""Which models can recognise, and which of them serves a request.

The embedded recogniser is always there. `install` adds model folders beside it; `resolve` chooses by declared
capabilities and priority, never by name, and refuses what none of them can do. Neither loads anything: engines are
reached through `ml.runtime`, when there is something to recognise.

Helpers (punctuation, language identification, …) are installed in the same way, and found by `ml.stt.helpers`.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ml import errors, runtime
from ml.artifacts import ModelFolder, ModelManifest
from ml.residency import ModelSpec, ModelState
from ml.stt import diarization
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Recognizer, Window
from ml.stt.engines.pocketsphinx import MODEL_NAME, PocketSphinx
from ml.types import TranscriptionOptions

TASK = "stt"
HELPER_TASKS = ("punctuation", "diarization", "speaker", "language", "lm")

TRANSDUCER_PRIORITY, OTHER_PRIORITY, EMBEDDED_PRIORITY = 30, 20, 0
_TRANSDUCERS = ("transducer", "streaming_transducer")

_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that can serve requests now."""

    name: str
    engine: str  # e.g. "pocketsphinx"
    default_language: str  # BCP-47; what is reported where nobody named or detected a language
    capabilities: EngineCapabilities
    priority: int = EMBEDDED_PRIORITY  # the highest that fits serves
    version: str = ""
    default: bool = False  # serves before all others, wherever it fits
    fallback_confidence: float = 0.0  # a transcript under it goes to the next candidate
    on_trial: bool = False  # beside the version that serves under the name: see `ml.stt.trials`

    @property
    def label(self) -> str:
        """For people: the name, and the version where it is not the one that serves."""
        return f"{self.name}@{self.version}" if self.on_trial else self.name

    @property
    def id(self) -> str:
        """In the pool and the batcher; the same for all versions that serve."""
        return runtime.model_id(TASK, self.label)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What serves a request."""

    model: ModelInfo
    language: str  # BCP-47, as the caller wrote it where he did
    language_confidence: float  # 1 where the caller named it, 0 where it is only the model's default
    candidates: tuple[ModelInfo, ...] = ()  # `model`, and those that take over where it fails; one if it was named


_infos: dict[str, ModelInfo] = {}
_lock = threading.Lock()
_installing = threading.RLock()


# ── Installing ──────────────────────────────────────────────────────────────────────────────────────────────────────


def install(folder: ModelFolder, *, priority: int | None = None, default: bool = False) -> ModelState:
    """Lets a model folder serve: a recogniser, or a helper of recognition.

    A new name is only made known: the model loads with its first use, or by `runtime.pool.warm`. Where another version
    of the name serves, the new one loads beside it and takes over: no request fails. The same folder again changes no
    more than priority and default. Does not verify the files: see `artifacts.verify`.

    priority: None for what its settings say, or else the kind of model does. Raises `ModelInvalid`, `EngineFailed` or
    `EngineUnavailable`, and then what served goes on serving.
    """
    return _install(folder, priority, default, reload=False)


def reload(name: str, *, task: str = TASK) -> ModelState:
    """Reads the installed folder again and swaps, as `install` does. Raises `UnknownModel` too."""
    with _installing:
        folder = runtime.reread(task, name)
        info = _infos.get(name) if task == TASK else None
        return _install(folder, None, info.default if info else False, reload=True)


def uninstall(name: str, *, task: str = TASK) -> None:
    """Takes an installed model away; requests under way finish with it. Raises `UnknownModel`."""
    with _installing:
        runtime.remove(task, name)
        if task == TASK:
            with _lock:
                _infos.pop(name, None)
        else:
            from ml.stt.helpers import base as helpers

            helpers.unregister(task, name)


def describe(folder: ModelFolder, *, priority: int | None = None, default: bool = False) -> ModelInfo:
    """What `install` would make of a recogniser's folder. Loads nothing. Raises `ModelInvalid`."""
    manifest = folder.manifest
    tell = runtime.static_function(folder, "capabilities")
    own = tell(runtime.for_engine(folder).manifest) if tell else EngineCapabilities(languages=frozenset())
    serving = runtime.serving(folder)
    by_kind = TRANSDUCER_PRIORITY if manifest.format in _TRANSDUCERS else OTHER_PRIORITY
    chosen = serving.priority if priority is None else priority
    return ModelInfo(
        name=manifest.name,
        engine=manifest.engine,
        default_language=manifest.languages[0].replace("_", "-") if manifest.languages else "und",
        capabilities=merge_capabilities(own, manifest),
        priority=by_kind if chosen is None else chosen,
        version=manifest.version,
        default=default,
        fallback_confidence=serving.fallback_confidence,
    )


def merge_capabilities(own: EngineCapabilities, manifest: ModelManifest) -> EngineCapabilities:
    """The engine's capabilities with what `model.json` says of this model. Raises `ModelInvalid`."""
    changes: dict[str, Any] = {}
    known = {field.name: getattr(own, field.name) for field in fields(own) if field.name != "languages"}
    for name, raw in manifest.capabilities.items():
        if name not in known:
            raise errors.ModelInvalid(f"{manifest.id}: there is no capability {name!r}.")
        wanted = (int, float) if isinstance(known[name], float) else type(known[name])
        value = _as_tuples(raw)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise errors.ModelInvalid(f"{manifest.id}: the capability {name!r} has a wrong type.")
        changes[name] = value
    spoken = frozenset(primary_language(language) for language in manifest.languages)
    return replace(own, languages=spoken or own.languages, **changes)


def _as_tuples(value: Any) -> Any:
    """JSON's lists as the frozen types have them."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def register(info: ModelInfo, load: Callable[[], Recognizer], *, pinned: bool = False) -> None:
    """Makes a recogniser available that is no folder; `load` runs once, when it is first used.

    A name registered again is replaced, without loading.
    """
    with _installing:
        runtime.pool.unregister(info.id)
        runtime.pool.register(ModelSpec(info.id, TASK, info.name, info.version, info.engine, load, pinned=pinned))
        with _lock:
            _infos[info.name] = info


def unregister(name: str) -> None:
    """Takes away what was registered; requests under way finish with it."""
    with _installing:
        with _lock:
            _infos.pop(name, None)
        runtime.pool.unregister(runtime.model_id(TASK, name))


def _install(folder: ModelFolder, priority: int | None, default: bool, *, reload: bool) -> ModelState:
    manifest = folder.manifest
    if manifest.task in HELPER_TASKS:
        return _install_helper(folder, priority, reload=reload)
    if manifest.task != TASK:
        raise errors.ModelInvalid(f"{manifest.id} is no model for recognition.")
    if manifest.name == MODEL_NAME:
        raise errors.ModelInvalid(f"The name {MODEL_NAME} is the embedded recogniser's.")
    info = describe(folder, priority=priority, default=default)
    with _installing:
        state = runtime.place(folder, capabilities=info.capabilities, reload=reload)
        with _lock:
            _infos[info.name] = info
    return state


def _install_helper(folder: ModelFolder, priority: int | None, *, reload: bool) -> ModelState:
    from ml.stt.helpers import base as helpers

    manifest = folder.manifest
    chosen = runtime.serving(folder).priority if priority is None else priority
    languages = frozenset(primary_language(language) for language in manifest.languages)
    info = helpers.HelperInfo(manifest.task, manifest.name, languages, chosen or 0)
    pooled = runtime.PooledModel(runtime.model_id(manifest.task, manifest.name))
    with _installing:
        state = runtime.place(folder, reload=reload)
        helpers.register(info, lambda: pooled)
    return state


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def models() -> tuple[ModelInfo, ...]:
    """Every model that can serve now, the preferred first."""
    with _lock:
        infos = list(_infos.values())
    return tuple(sorted(infos, key=lambda info: (not info.default, -info.priority, info.name)))


def engine(name: str) -> Recognizer:
    """The model as a recogniser that is taken from the pool for each call, past all queues. Raises `UnknownModel`."""
    with _lock:
        info = _infos.get(name)
    if info is None:
        raise unknown(name)
    return _Pooled(info)


class _Pooled:
    def __init__(self, info: ModelInfo) -> None:
        self._id = info.id
        self.capabilities = info.capabilities

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        with runtime.pool.acquire(self._id, cancel=cancel) as engine:
            hypotheses: list[Hypothesis] = engine.recognise(windows, cancel=cancel)
        return hypotheses

    def close(self) -> None:
        """The pool closes what it loaded."""


def resolve(options: TranscriptionOptions) -> Resolution:
    """Chooses the model for a request and verifies its options; computes nothing.

    `prompt` and `hotwords` are hints: a model without the capability leaves them unused.

    Raises `UnknownModel`, `LanguageNotSupported`, `InvalidRequest` (a malformed language, a task that no fitting model
    offers, or speakers that nothing tells apart).
    """
    _check_values(options)
    candidates = _named(models(), options.model)
    candidates = _speaking(candidates, options.language_hint, options.model)
    candidates = _able(candidates, options)
    chosen = candidates[0]
    hint = options.language_hint
    language = (hint or chosen.default_language).replace("_", "-")
    return Resolution(chosen, language, 1.0 if hint else 0.0, candidates)


def primary_language(tag: str) -> str:
    """The language of a BCP-47 tag: "en" of "en-US"."""
    return re.split("[-_]", tag, maxsplit=1)[0].lower()


def _check_values(options: TranscriptionOptions) -> None:
    if options.task not in ("transcribe", "translate"):
        raise errors.InvalidRequest("The task must be 'transcribe' or 'translate'.", param="task")
    if options.language_hint is not None and not _TAG.fullmatch(options.language_hint):
        raise errors.InvalidRequest(
            "The language hint must be a language tag such as 'en' or 'en-US'.", param="language_hint"
        )
    diarization.check_options(options)


def _named(candidates: tuple[ModelInfo, ...], name: str | None) -> tuple[ModelInfo, ...]:
    if name is None:
        return candidates
    named = tuple(info for info in candidates if info.name == name)
    if not named:
        raise unknown(name)
    return named


def _speaking(candidates: tuple[ModelInfo, ...], hint: str | None, name: str | None) -> tuple[ModelInfo, ...]:
    if hint is None:
        return candidates
    language = primary_language(hint)
    fitting = tuple(info for info in candidates if language in info.capabilities.languages)
    if not fitting:
        who = f"The model '{name}' does" if name else "The installed models do"
        raise errors.LanguageNotSupported(
            f"{who} not recognise the language '{hint}'; `manage.py models pull` installs one that does.",
            param="language_hint",
        )
    return tuple(sorted(fitting, key=_generality))


def _generality(info: ModelInfo) -> int:
    """Of two default models, that with fewer languages was made for this one; others keep their order."""
    return len(info.capabilities.languages) if info.default else sys.maxsize


def _able(candidates: tuple[ModelInfo, ...], options: TranscriptionOptions) -> tuple[ModelInfo, ...]:
    if options.task == "translate":
        candidates = tuple(info for info in candidates if info.capabilities.translation)
        if not candidates:
            raise errors.InvalidRequest(
                "No installed model translates this; `manage.py models pull` installs one that does.", param="task"
            )
    return candidates


def unknown(name: str) -> errors.UnknownModel:
    known = ", ".join(info.name for info in models())
    return errors.UnknownModel(f"There is no recognition model '{name}'; there are: {known}.", param="model")


def _register_embedded() -> None:
    """Its processes, once started, stay, as they always did: they are small, and slow to start."""
    embedded = PocketSphinx()  # only a pool without processes yet, which costs nothing
    register(ModelInfo(MODEL_NAME, "pocketsphinx", "en-US", embedded.capabilities), PocketSphinx, pinned=True)


_register_embedded()
