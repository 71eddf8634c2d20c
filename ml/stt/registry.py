"""Which models can recognise, and which of them serves a request.

The embedded recogniser is always registered. Whoever installs models registers them beside it; `resolve` chooses by
declared capabilities and priority, never by name, and refuses what none of them can do.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ml import errors
from ml.stt.engines.base import EngineCapabilities, Recognizer
from ml.stt.engines.pocketsphinx import MODEL_NAME, PocketSphinx
from ml.types import TranscriptionOptions

_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that can serve requests now."""

    name: str
    engine: str  # e.g. "pocketsphinx"
    default_language: str  # BCP-47; what is reported where nobody named or detected a language
    capabilities: EngineCapabilities
    priority: int = 0  # the highest that fits serves; the embedded recogniser has 0


@dataclass(frozen=True, slots=True)
class Resolution:
    """What serves a request."""

    model: ModelInfo
    language: str  # BCP-47, as the caller wrote it where he did
    language_confidence: float  # 1 where the caller named it, 0 where it is only the model's default


class _Entry:
    """A model and its engine, loaded when first asked for."""

    def __init__(self, info: ModelInfo, load: Callable[[], Recognizer]) -> None:
        self.info = info
        self._load = load
        self._lock = threading.Lock()
        self._engine: Recognizer | None = None

    def engine(self) -> Recognizer:
        with self._lock:
            if self._engine is None:
                self._engine = self._load()
            return self._engine


_entries: dict[str, _Entry] = {}
_entries_lock = threading.Lock()


def register(info: ModelInfo, load: Callable[[], Recognizer]) -> None:
    """Makes a model available; `load` runs once, when it is first used. A name registered again is replaced."""
    with _entries_lock:
        _entries[info.name] = _Entry(info, load)


def unregister(name: str) -> None:
    """Takes a model away; requests under way keep its engine."""
    with _entries_lock:
        _entries.pop(name, None)


def models() -> tuple[ModelInfo, ...]:
    """Every model that can serve now, the preferred first."""
    with _entries_lock:
        infos = [entry.info for entry in _entries.values()]
    return tuple(sorted(infos, key=lambda info: (-info.priority, info.name)))


def engine(name: str) -> Recognizer:
    """The model's engine, loaded if need be. Raises `UnknownModel`."""
    with _entries_lock:
        entry = _entries.get(name)
    if entry is None:
        raise _unknown(name)
    return entry.engine()


def resolve(options: TranscriptionOptions) -> Resolution:
    """Chooses the model for a request and verifies its options; computes nothing.

    `prompt` and `hotwords` are hints: a model without the capability leaves them unused.

    Raises `UnknownModel`, `LanguageNotSupported`, `InvalidRequest` (a malformed language, or a task or diarization that
    no fitting model offers).
    """
    _check_values(options)
    candidates = _named(models(), options.model)
    candidates = _speaking(candidates, options.language_hint, options.model)
    candidates = _able(candidates, options)
    chosen = candidates[0]
    hint = options.language_hint
    return Resolution(chosen, (hint or chosen.default_language).replace("_", "-"), 1.0 if hint else 0.0)


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


def _named(candidates: tuple[ModelInfo, ...], name: str | None) -> tuple[ModelInfo, ...]:
    if name is None:
        return candidates
    named = tuple(info for info in candidates if info.name == name)
    if not named:
        raise _unknown(name)
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
    return fitting


def _able(candidates: tuple[ModelInfo, ...], options: TranscriptionOptions) -> tuple[ModelInfo, ...]:
    if options.task == "translate":
        candidates = tuple(info for info in candidates if info.capabilities.translation)
        if not candidates:
            raise errors.InvalidRequest(
                "No installed model translates this; `manage.py models pull` installs one that does.", param="task"
            )
    if options.diarize:
        candidates = tuple(info for info in candidates if info.capabilities.diarization)
        if not candidates:
            raise errors.InvalidRequest("No installed model tells speakers apart.", param="diarize")
    return candidates


def _unknown(name: str) -> errors.UnknownModel:
    known = ", ".join(info.name for info in models())
    return errors.UnknownModel(f"There is no recognition model '{name}'; there are: {known}.", param="model")


def _register_embedded() -> None:
    embedded = PocketSphinx()  # only a pool without processes yet
    register(ModelInfo(MODEL_NAME, "pocketsphinx", "en-US", embedded.capabilities), lambda: embedded)


_register_embedded()
