"""Models that help recognition: what each kind offers, and which are installed.

Whoever installs models registers a loader here; a stage asks for the one that fits the language, which is loaded when
it is first used. With none, the stage uses its own default.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ml.types import PcmSamples


@dataclass(frozen=True, slots=True)
class LanguageGuess:
    language: str  # ISO 639-1
    probability: float


class LanguageIdentifier(Protocol):
    """Task "language"."""

    def identify(self, samples: PcmSamples) -> Sequence[LanguageGuess]:
        """(T,) int16, 16 kHz, up to 30 s of speech → the likeliest languages, the best first.

        A model that tells no probabilities gives one guess with probability 0.5: neither sure nor ruled out.
        """
        ...


class PunctuationModel(Protocol):
    """Task "punctuation"."""

    def punctuate(self, text: str) -> str:
        """Lower-case words with spaces → the same words, in order, with marks and, if the model does it, in case."""
        ...


class LanguageModel(Protocol):
    """Task "lm"."""

    def score(self, sentences: Sequence[Sequence[str]]) -> list[float]:
        """What it adds to an engine's scores of sentences: their weighted natural logarithms, and so much a word."""
        ...


@dataclass(frozen=True, slots=True)
class HelperInfo:
    task: str  # "language", "punctuation" or "lm"
    name: str
    languages: frozenset[str]  # ISO 639-1; empty: any
    priority: int = 0  # the highest that fits serves


class _Entry:
    def __init__(self, info: HelperInfo, load: Callable[[], Any]) -> None:
        self.info = info
        self._load = load
        self._lock = threading.Lock()
        self._model: Any = None

    def model(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = self._load()
            return self._model


_entries: dict[tuple[str, str], _Entry] = {}
_entries_lock = threading.Lock()


def register(info: HelperInfo, load: Callable[[], Any]) -> None:
    """Makes a helper available; `load` runs once, when it is first used. A name registered again is replaced."""
    with _entries_lock:
        _entries[info.task, info.name] = _Entry(info, load)


def unregister(task: str, name: str) -> None:
    """Takes a helper away; requests under way keep it."""
    with _entries_lock:
        _entries.pop((task, name), None)


def installed(task: str, language: str | None = None) -> bool:
    return _find(task, language) is not None


def helper(task: str, language: str | None = None) -> Any | None:
    """The preferred helper of the task for a language (ISO 639-1; None: whatever the language), or None."""
    entry = _find(task, language)
    return entry.model() if entry else None


def _find(task: str, language: str | None) -> _Entry | None:
    with _entries_lock:
        fitting = [
            entry
            for entry in _entries.values()
            if entry.info.task == task
            and (language is None or not entry.info.languages or language in entry.info.languages)
        ]
    return max(fitting, key=lambda entry: (entry.info.priority, entry.info.name), default=None)
