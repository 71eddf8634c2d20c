"""Windows in, hypotheses out: through the batcher, and from one candidate to the next where a model fails.

The next candidate takes over on an engine's error, and where the confidence is under the model's own threshold; the
embedded recogniser, which is less able than any other, only on an error. What a caller did wrong, or named himself, is
never tried elsewhere.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ml import errors, runtime
from ml.stt import registry
from ml.stt.engines.base import Hypothesis, Window
from ml.types import Caller

log = logging.getLogger(__name__)

SAMPLES_PER_SECOND = 16_000

OnWindow = Callable[[int], None]
"""Called with the number of a window whenever one is done; again from 0 where another model takes over."""

OnHeard = Callable[[int, "Heard"], None]
"""Called with the number of a window and what was heard in it alone, once that stands: no other model takes over."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one model made of all windows."""

    hypotheses: tuple[Hypothesis, ...]  # one a window; what was noise has an empty text
    model: registry.ModelInfo
    language: str  # BCP-47
    language_confidence: float
    fallback_reason: str | None = None


def recognise(
    windows: Sequence[Window],
    resolution: registry.Resolution,
    *,
    caller: Caller,
    cancel: threading.Event | None = None,
    on_window: OnWindow = lambda number: None,
    on_heard: OnHeard | None = None,
) -> Heard:
    """Recognises with the resolution's model, or the candidate that has to take over.

    A window without a language is for the model to detect, or else in the model's default language.

    on_heard: for whoever cannot wait for the end. Once it has been called, a model that fails is not replaced. Where a
    model may turn out to be unsure, it is called at the end.

    Raises `Cancelled`, and the last candidate's `EngineFailed` or `EngineUnavailable`.
    """
    best: Heard | None = None
    reasons: list[str] = []
    candidates = list(resolution.candidates or (resolution.model,))
    telling = _Telling(on_heard)
    while candidates:
        model = candidates.pop(0)
        stands = not model.fallback_confidence or (best is None and not candidates)
        try:
            heard = _heard(windows, resolution, model, caller, cancel, on_window, telling if stands else _Telling(None))
        except (errors.EngineFailed, errors.EngineUnavailable) as error:
            if telling.begun or (not candidates and best is None):
                raise
            log.warning("recogniser failed", extra={"model": model.label, "error": str(error)})
            reasons.append(f"{model.label} failed ({error.code}).")
            continue
        heard = replace(heard, fallback_reason=" ".join(reasons) or None)
        confidence = _confidence(windows, heard)
        if confidence >= model.fallback_confidence:
            return telling.all_of(heard)
        best = best or heard  # confidences of two models cannot be compared, so the preferred one stands
        reasons.append(f"{model.label} was unsure (confidence {confidence:.2f}, under {model.fallback_confidence:g}).")
        candidates = [other for other in candidates if _may_know_better(other, model, heard)]
    if best is None:  # only for the type checker: the last error was raised
        raise errors.EngineUnavailable("No model could recognise this.")
    return telling.all_of(best)


class _Telling:
    """Tells `on_heard` of each window once."""

    def __init__(self, on_heard: OnHeard | None) -> None:
        self._on_heard = on_heard
        self.begun = False

    def one(self, number: int, heard: Callable[[], Heard]) -> None:
        if self._on_heard is not None:
            self.begun = True
            self._on_heard(number, heard())

    def all_of(self, heard: Heard) -> Heard:
        """Tells of all windows, unless it has been done one by one."""
        if not self.begun:
            for number, hypothesis in enumerate(heard.hypotheses):
                self.one(number, functools.partial(replace, heard, hypotheses=(hypothesis,)))
        return heard


def recognise_batch(engine: Any, windows: Sequence[Window], cancel: threading.Event | None) -> Sequence[Hypothesis]:
    """The batcher's call of a recogniser."""
    hypotheses: list[Hypothesis] = engine.recognise(windows, cancel=cancel)
    return hypotheses


def _heard(
    windows: Sequence[Window],
    resolution: registry.Resolution,
    model: registry.ModelInfo,
    caller: Caller,
    cancel: threading.Event | None,
    on_window: OnWindow,
    telling: _Telling,
) -> Heard:
    able = model.capabilities
    results = runtime.batcher.run(
        model.id,
        (_in_language(window, model) for window in windows),
        call=recognise_batch,
        options=_group(windows[0], model) if windows else None,
        caller=caller,
        cancel=cancel,
        cost=_seconds,
        probe=_noise,
        width=able.max_batch * able.concurrency + max(1, able.max_batch),
    )
    hypotheses: list[Hypothesis] = []

    def latest() -> Heard:
        until_now = windows[: len(hypotheses)]
        return Heard((hypotheses[-1],), model, *_language(until_now, hypotheses, resolution, model))

    for number, hypothesis in enumerate(results):
        hypotheses.append(_without_noise(hypothesis, model))
        on_window(number)
        telling.one(number, latest)
    return Heard(tuple(hypotheses), model, *_language(windows, hypotheses, resolution, model))


def submit(
    window: Window, model: registry.ModelInfo, *, caller: Caller, cancel: threading.Event | None = None
) -> Future[Hypothesis]:
    """One window for one model, for whoever does not wait: batched with the windows of others.

    Raises `EngineUnavailable` where too many wait already.
    """
    return runtime.batcher.submit(
        model.id,
        _in_language(window, model),
        call=recognise_batch,
        options=_group(window, model),
        caller=caller,
        cancel=cancel,
        cost=_seconds(window),
        probe=_noise,
    )


def heard_in(
    window: Window, hypothesis: Hypothesis, resolution: registry.Resolution, model: registry.ModelInfo
) -> Heard:
    """What a model's hypothesis of one window means; what it takes for noise itself is nothing."""
    kept = _without_noise(hypothesis, model)
    return Heard((kept,), model, *_language([window], [kept], resolution, model))


def _in_language(window: Window, model: registry.ModelInfo) -> Window:
    """Without a language, a window is for the model to detect, or else in the model's own."""
    if window.language or model.capabilities.language_detection:
        return window
    return replace(window, language=registry.primary_language(model.default_language))


def _group(window: Window, model: registry.ModelInfo) -> tuple[str | None, str]:
    """Only windows with equal ones are computed together."""
    return _in_language(window, model).language, window.task


def _without_noise(hypothesis: Hypothesis, model: registry.ModelInfo) -> Hypothesis:
    return hypothesis if hypothesis.confidence >= model.capabilities.noise_confidence else _SILENCE


def _noise() -> Window:
    """A second of it, quiet: whatever the model hears, it must not break."""
    return Window(np.random.default_rng(0).integers(-300, 300, SAMPLES_PER_SECOND, dtype=np.int16))


_SILENCE = Hypothesis("", (), 0.0)


def _language(
    windows: Sequence[Window],
    hypotheses: Sequence[Hypothesis],
    resolution: registry.Resolution,
    model: registry.ModelInfo,
) -> tuple[str, float]:
    """What the caller named; or what the model detected in most of the speech; or the model's own."""
    if resolution.language_confidence:
        return resolution.language, resolution.language_confidence
    votes: dict[str, float] = {}
    for window, hypothesis in zip(windows, hypotheses, strict=True):
        if hypothesis.language:
            certainty = hypothesis.language_confidence or 0.0
            votes[hypothesis.language] = votes.get(hypothesis.language, 0.0) + certainty * _seconds(window)
    if not votes:
        return (resolution.language if model is resolution.model else model.default_language), 0.0
    winner = max(votes, key=lambda language: votes[language])
    seconds = sum(_seconds(w) for w, h in zip(windows, hypotheses, strict=True) if h.language)
    return winner, round(votes[winner] / seconds, 4) if seconds else 0.0


def _confidence(windows: Sequence[Window], heard: Heard) -> float:
    """Of what was heard, weighted by the windows' lengths; 0 where speech gave no words; 1 where there was none."""
    if not windows:
        return 1.0
    spoken = [(h.confidence, _seconds(w)) for w, h in zip(windows, heard.hypotheses, strict=True) if h.text]
    seconds = sum(length for _, length in spoken)
    return sum(confidence * length for confidence, length in spoken) / seconds if seconds else 0.0


def _may_know_better(other: registry.ModelInfo, unsure: registry.ModelInfo, heard: Heard) -> bool:
    spoken = other.capabilities.languages
    fits = not unsure.capabilities.language_detection or registry.primary_language(heard.language) in spoken
    return fits and other.priority > registry.EMBEDDED_PRIORITY


def _seconds(window: Window) -> float:
    return len(window.samples) / SAMPLES_PER_SECOND
