"""Whisper, whichever library computes it: windows in, hypotheses out.

    features → encode → (detect language) → search → judge, search again where it failed → (n-best) → align words

What a library offers is a `whisper_backend.Backend`; everything that decides about words is here, so a model says the
same on each. After Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision"
(2022), with two departures:

- The windows are cut by voice activity, so text is searched without time stamps, and word times come from aligning the
  cross-attention with dynamic time warping.
- A search that loops or is unsure is repeated with a wider beam that may not repeat itself, rather than by sampling at
  rising temperatures: CTranslate2 cannot be seeded for one call, and a result must not depend on earlier calls or on
  batch-mates. `temperatures` above 0 in a model's settings add the samplings after it.
"""

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import errors
from ml.artifacts import ModelManifest
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import read_settings
from ml.stt.engines.whisper_backend import (
    FRAMES,
    HOP,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    Backend,
    Draft,
    Prompt,
    Search,
)
from ml.stt.engines.whisper_settings import WhisperSettings
from ml.stt.engines.whisper_words import rounded, words_of
from ml.types import Word

MIN_SECONDS = 0.1
"""Shorter windows hold no word, and Whisper invents one."""

RETRY_BEAM = 5
RETRY_NGRAM = 3
NBEST_BEAM = 5
"""Of the search for what else a window may have said, which a model with a wider beam makes with its own."""

SILENCE_LOG10 = -10.0  # the floor of the log-mel spectrogram, before it is scaled


@dataclass
class _Request:
    """A window under way."""

    window: Window
    place: int  # in the caller's list
    frames: int  # mel frames that the encoder sees
    previous: tuple[int, ...]
    language: str | None
    language_confidence: float | None = None
    draft: Draft | None = None
    others: tuple[Draft, ...] = ()  # the n-best, where they were asked for

    @property
    def seconds(self) -> float:
        return len(self.window.samples) / SAMPLE_RATE

    def prompt(self) -> Prompt:
        return Prompt(self.previous, self.language or "en", self.window.task)


class WhisperRecognizer:
    """A loaded Whisper. Safe to call from several threads."""

    def __init__(self, backend: Backend, manifest: ModelManifest, capabilities: EngineCapabilities) -> None:
        self.capabilities = capabilities
        self._backend = backend
        self._settings = read_settings(manifest, WhisperSettings)
        self._tokenizers = lru_cache(maxsize=256)(backend.tokenizer)
        if capabilities.language_detection and not backend.multilingual:
            raise errors.ModelInvalid(f"{manifest.id}: the weights are English-only; its languages must be ['en'].")
        if len(capabilities.languages) > 1 and not backend.detects:
            raise errors.ModelInvalid(f"{manifest.id}: the library cannot tell the languages of this vocabulary apart.")

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        for window in windows:
            self._check(window)
        results = [Hypothesis("", (), 0.0)] * len(windows)
        requests = [self._request(place, window) for place, window in enumerate(windows) if _is_sound(window)]
        for batch in _batches(requests, self.capabilities.max_batch):
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            for request, hypothesis in zip(batch, self._recognise(batch, cancel), strict=True):
                results[request.place] = hypothesis
        return results

    def close(self) -> None:
        self._backend.close()

    # ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, window: Window) -> None:
        if window.language is not None and window.language not in self.capabilities.languages:
            raise errors.LanguageNotSupported(
                f"This model does not recognise the language '{window.language}'.", param="language_hint"
            )
        if window.task == "translate" and not self.capabilities.translation:
            raise errors.InvalidRequest("This model does not translate.", param="task")
        if len(window.samples) > WINDOW_SECONDS * SAMPLE_RATE:
            raise errors.InvalidRequest(f"A window is longer than {WINDOW_SECONDS} seconds.")

    def _request(self, place: int, window: Window) -> _Request:
        only = next(iter(self.capabilities.languages)) if len(self.capabilities.languages) == 1 else None
        return _Request(
            window,
            place,
            frames=self._encoder_frames(len(window.samples)),
            previous=self._previous(window),
            language=window.language or only,
        )

    def _encoder_frames(self, samples: int) -> int:
        if not self._settings.fitted_windows:
            return FRAMES
        step = self._settings.window_step_seconds
        seconds = min(float(WINDOW_SECONDS), math.ceil(samples / SAMPLE_RATE / step) * step)
        return 2 * math.ceil(seconds * SAMPLE_RATE / HOP / 2)

    def _previous(self, window: Window) -> tuple[int, ...]:
        """Hotwords, then earlier text, as what was said just before: as openai-whisper and faster-whisper do."""
        encode = self._tokenizers("en", "transcribe").encode
        limit = self._backend.max_prompt_tokens
        hotwords = ", ".join(" ".join(phrase.split()) for phrase in window.hotwords)
        favoured = encode(f" {hotwords}")[: limit // 2] if hotwords else []
        earlier = encode(f" {window.prompt.strip()}") if window.prompt.strip() else []
        kept = earlier[max(0, len(earlier) - limit + len(favoured)) :]
        return tuple(token for token in (*favoured, *kept) if token < self._tokenizers("en", "transcribe").eot)

    # ── A batch ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _recognise(self, batch: Sequence[_Request], cancel: threading.Event | None) -> list[Hypothesis]:
        mels = np.stack([self._features(request) for request in batch])
        encoded = self._backend.encode(mels)
        self._name_languages(batch, encoded)
        self._write(batch, encoded, cancel)
        self._look_beside(batch, encoded, cancel)
        words = self._align(batch, encoded) if self._settings.word_times else {}
        return [self._hypothesis(request, words.get(row)) for row, request in enumerate(batch)]

    def _features(self, request: _Request) -> NDArray[np.float32]:
        """(mel_bins, frames): of what was heard, the rest filled with what silence would give."""
        heard = min(request.frames, math.ceil(len(request.window.samples) / HOP) + 3)  # a frame spans 400 samples
        samples = np.zeros(heard * HOP, np.float32)
        kept = request.window.samples[: len(samples)]
        samples[: len(kept)] = kept.astype(np.float32) / 32768
        mel = self._backend.features(samples)[:, : request.frames]
        loudest = float(mel.max()) * 4 - 4
        silence = (max(SILENCE_LOG10, loudest - 8) + 4) / 4
        missing = request.frames - mel.shape[1]
        return np.pad(mel, ((0, 0), (0, missing)), constant_values=silence)

    def _name_languages(self, batch: Sequence[_Request], encoded: Any) -> None:
        unnamed = [row for row, request in enumerate(batch) if request.language is None]
        if not unnamed:
            return
        for row, probabilities in zip(unnamed, self._backend.detect(self._take(encoded, unnamed, batch)), strict=True):
            served = {code: p for code, p in probabilities.items() if code in self.capabilities.languages}
            if not served:
                raise errors.EngineFailed("The model names none of its languages.")
            batch[row].language = max(served, key=lambda code: served[code])
            batch[row].language_confidence = served[batch[row].language or ""] / (sum(served.values()) or 1.0)

    def _write(self, batch: Sequence[_Request], encoded: Any, cancel: threading.Event | None) -> None:
        """Searches until each request has a draft that passes; the best of them where none does."""
        pending = list(range(len(batch)))
        drafts: list[list[Draft]] = [[] for _ in batch]
        for search in self._searches(batch):
            for row, found in zip(pending, self._search(batch, pending, encoded, search, cancel), strict=True):
                drafts[row].append(found[0])
            pending = [row for row in pending if self._failed(batch[row], drafts[row][-1])]
            if not pending:
                break
        for request, tried in zip(batch, drafts, strict=True):
            request.draft = self._best(request, tried)

    def _look_beside(self, batch: Sequence[_Request], encoded: Any, cancel: threading.Event | None) -> None:
        """What else may have been said, where it is asked for. A search of its own, so that asking changes no text."""
        rows = [row for row, each in enumerate(batch) if each.window.alternatives and each.draft and each.draft.tokens]
        if not rows:
            return
        beam = max(NBEST_BEAM, self._settings.beam_size)
        search = Search(
            max_tokens=max(self._token_limit(batch[row]) for row in rows),
            beam_size=beam,
            patience=self._settings.patience,
            hypotheses=beam,
        )
        for row, found in zip(rows, self._search(batch, rows, encoded, search, cancel), strict=True):
            straight = [draft for draft in found if not self._is_loop(batch[row], draft)]
            batch[row].others = tuple(straight[: batch[row].window.alternatives])

    def _search(
        self,
        batch: Sequence[_Request],
        rows: Sequence[int],
        encoded: Any,
        search: Search,
        cancel: threading.Event | None,
    ) -> list[list[Draft]]:
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        prompts = [batch[row].prompt() for row in rows]
        return self._backend.search(self._take(encoded, rows, batch), prompts, search)

    def _searches(self, batch: Sequence[_Request]) -> Iterable[Search]:
        """The limit is that of the longest request; what passes its own is no text: see `_is_loop`."""
        settings = self._settings
        first = Search(
            max_tokens=max(map(self._token_limit, batch)), beam_size=settings.beam_size, patience=settings.patience
        )
        yield first
        if settings.second_search:
            yield replace(first, beam_size=max(RETRY_BEAM, settings.beam_size), no_repeat_ngram=RETRY_NGRAM)
        for temperature in settings.temperatures:
            if temperature:
                yield replace(first, beam_size=1, patience=1.0, temperature=temperature)

    def _token_limit(self, request: _Request) -> int:
        return min(self._backend.max_prompt_tokens, 16 + round(request.seconds * self._settings.tokens_per_second))

    def _failed(self, request: _Request, draft: Draft) -> bool:
        if self._is_silence(draft):
            return False
        return draft.log_prob < self._settings.log_prob_threshold or self._is_loop(request, draft)

    def _is_silence(self, draft: Draft) -> bool:
        settings = self._settings
        return draft.no_speech_prob > settings.no_speech_threshold and draft.log_prob < settings.log_prob_threshold

    def _is_loop(self, request: _Request, draft: Draft) -> bool:
        """Also what was still being written at the limit, whose end and probability depend on its batch-mates."""
        if len(draft.tokens) >= self._token_limit(request):
            return True
        return compression_ratio(self._text(request, draft)) > self._settings.compression_ratio_threshold

    def _best(self, request: _Request, drafts: Sequence[Draft]) -> Draft:
        """The first that passes, else the likeliest that does not loop, else nothing: a loop is not what was said."""
        if not self._failed(request, drafts[-1]):
            chosen = drafts[-1]
        else:
            straight = [draft for draft in drafts if not self._is_loop(request, draft)]
            if not straight:
                return replace(drafts[-1], tokens=())
            chosen = max(straight, key=lambda draft: draft.log_prob)
        return replace(chosen, tokens=()) if self._is_silence(chosen) else chosen

    def _text(self, request: _Request, draft: Draft) -> str:
        prompt = request.prompt()
        return self._tokenizers(prompt.language, prompt.task).decode(list(draft.tokens)).strip()

    # ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _align(self, batch: Sequence[_Request], encoded: Any) -> dict[int, tuple[Word, ...]]:
        """By row; the alignments of rows of one language and task are computed together."""
        groups: dict[Prompt, list[int]] = {}
        for row, request in enumerate(batch):
            if request.draft and request.draft.tokens:
                groups.setdefault(replace(request.prompt(), previous=()), []).append(row)
        words = {}
        for prompt, rows in groups.items():
            texts = [batch[row].draft.tokens for row in rows]  # type: ignore[union-attr]
            frames = [min(batch[row].frames, math.ceil(len(batch[row].window.samples) / HOP)) for row in rows]
            found = self._backend.align(self._take(encoded, rows, batch), prompt, texts, frames)
            for row, text, alignment in zip(rows, texts, found, strict=True):
                tokenizer = self._tokenizers(prompt.language, prompt.task)
                words[row] = words_of(tokenizer, list(text), alignment, batch[row].seconds)
        return words

    def _hypothesis(self, request: _Request, words: tuple[Word, ...] | None) -> Hypothesis:
        draft = request.draft
        text = self._text(request, draft) if draft else ""
        if draft is None or not _has_words(text):
            return Hypothesis("", (), 0.0, request.language, request.language_confidence)
        return Hypothesis(
            text,
            words or (),
            confidence=_confidence(draft),
            language=request.language,
            language_confidence=request.language_confidence and rounded(request.language_confidence),
            score=draft.score,
            alternatives=self._alternatives(request, draft),
        )

    def _alternatives(self, request: _Request, chosen: Draft) -> tuple[Hypothesis, ...]:
        """The n-best with words in them, the best first, each text once; what was chosen is one of them."""
        if not request.others:
            return ()
        found: dict[str, Hypothesis] = {}
        for draft in sorted((chosen, *request.others), key=lambda draft: -draft.score):
            text = self._text(request, draft)
            if _has_words(text):
                found.setdefault(text, Hypothesis(text, (), _confidence(draft), score=draft.score))
        return tuple(found.values())

    def _take(self, encoded: Any, rows: Sequence[int], batch: Sequence[_Request]) -> Any:
        return encoded if len(rows) == len(batch) else self._backend.take(encoded, rows)


def compression_ratio(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def _batches(requests: Sequence[_Request], size: int) -> Iterable[list[_Request]]:
    """Of one encoder length and one prompt length, which both libraries ask for."""
    groups: dict[tuple[int, int], list[_Request]] = {}
    for request in requests:
        groups.setdefault((request.frames, len(request.previous)), []).append(request)
    for group in groups.values():
        for start in range(0, len(group), size):
            yield group[start : start + size]


def _is_sound(window: Window) -> bool:
    return len(window.samples) >= MIN_SECONDS * SAMPLE_RATE and bool(np.any(window.samples))


def _has_words(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _confidence(draft: Draft) -> float:
    return rounded(math.exp(min(0.0, draft.log_prob)))
