"""Whisper, whichever library computes it: windows in, hypotheses out.

    features → encode → (detect language) → search → judge, search again where it failed → align words

`Backend` is what a library offers: one encoder pass, language probabilities, one search, one alignment.
`ml.stt.engines.whisper_ctranslate2` and `whisper_openai` are two of them; everything that decides about words is here,
so a model says the same on both. After Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision"
(2022), with two departures:

- The windows are cut by voice activity, so text is searched without time stamps, and word times come from aligning the
  cross-attention with dynamic time warping.
- A search that loops or is unsure is repeated with a wider beam that may not repeat itself, rather than by sampling at
  rising temperatures: CTranslate2 cannot be seeded for one call, and a result must not depend on earlier calls or on
  batch-mates. `temperatures` above 0 in a model's settings add the samplings after it.
"""

from __future__ import annotations

import math
import string
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml import devices, errors
from ml.artifacts import ModelManifest
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import check_range, read_settings, spoken_languages
from ml.types import Word

SAMPLE_RATE = 16_000
HOP = 160  # samples a mel frame
WINDOW_SECONDS = 30
FRAMES = WINDOW_SECONDS * SAMPLE_RATE // HOP
SECONDS_PER_POSITION = 0.02  # of the encoder's output: two mel frames
MIN_SECONDS = 0.1
"""Shorter windows hold no word, and Whisper invents one."""

RETRY_BEAM = 5
RETRY_NGRAM = 3
SAMPLES_PER_TEMPERATURE = 5
SILENCE_LOG10 = -10.0  # the floor of the log-mel spectrogram, before it is scaled

_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"

# fmt: off
LANGUAGES = (
    "af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de", "el", "en",
    "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "haw", "he", "hi", "hr", "ht", "hu", "hy", "id", "is",
    "it", "ja", "jw", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt", "lv", "mg", "mi", "mk", "ml", "mn",
    "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl", "ps", "pt", "ro", "ru", "sa", "sd", "si", "sk",
    "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt", "uk", "ur", "uz",
    "vi", "yi", "yo", "zh", "yue",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """`settings` of a Whisper's `model.json`."""

    device: str = "auto"  # auto | cpu | cuda | cuda:<n>
    compute_type: str = "default"  # CTranslate2's: int8 on the CPU and float16 on CUDA by default; torch: float32/16
    threads: int = 0  # of one call on the CPU; 0: the cores, at most eight
    workers: int = 1  # calls side by side (CTranslate2 on the CPU: each takes `threads`)
    max_batch: int = 0  # windows a call; 0: what `_batch_size` says
    beam_size: int = 1
    patience: float = 1.0
    second_search: bool = True  # where the first has failed, by a wider beam that repeats nothing
    temperatures: tuple[float, ...] = ()  # sampled at, in turn, after the second search has failed too
    compression_ratio_threshold: float = 2.4  # text that zlib packs tighter is a loop
    log_prob_threshold: float = -1.0  # mean of a token; under it the search has failed
    no_speech_threshold: float = 0.6  # and a failed search over this is silence
    tokens_per_second: float = 40.0  # no speech is denser, in any language; bounds what a loop can write
    fitted_windows: bool = False  # encode what was said, rounded up, not 30 seconds: for weights trained with it
    window_step_seconds: float = 5.0  # that fitted windows are rounded up to
    word_times: bool = True

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 0, 64)
        check_range("workers", self.workers, 1, 16)
        check_range("max_batch", self.max_batch, 0, 256)
        check_range("beam_size", self.beam_size, 1, 20)
        check_range("patience", self.patience, 1, 4)
        for temperature in self.temperatures:
            check_range("temperatures", temperature, 0, 1)
        check_range("compression_ratio_threshold", self.compression_ratio_threshold, 1, 100)
        check_range("log_prob_threshold", self.log_prob_threshold, -100, 0)
        check_range("no_speech_threshold", self.no_speech_threshold, 0, 1)
        check_range("tokens_per_second", self.tokens_per_second, 5, 1000)
        check_range("window_step_seconds", self.window_step_seconds, 1, WINDOW_SECONDS)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder reads before it writes."""

    previous: tuple[int, ...]  # tokens of earlier text and of hotwords; may be empty
    language: str  # ISO 639-1
    task: str


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for the best text."""

    max_tokens: int
    beam_size: int = 1  # 1: greedy
    patience: float = 1.0
    no_repeat_ngram: int = 0  # tokens; 0: any may come again
    temperature: float = 0.0  # over 0: the best of `SAMPLES_PER_TEMPERATURE` samples


@dataclass(frozen=True, slots=True)
class Draft:
    """What one search found."""

    tokens: tuple[int, ...]  # of text only
    log_prob: float  # mean over the tokens and the end of text
    no_speech_prob: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the tokens of a text are."""

    token_probs: NDArray[np.float32]  # (tokens,)
    path: NDArray[np.int64]  # (steps, 2): token, encoder position; both rising


class Tokenizer(Protocol):
    """Of one language and task; faster-whisper's and openai-whisper's both are."""

    eot: int

    @property
    def sot_sequence(self) -> Sequence[int]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, tokens: list[int]) -> str: ...
    def split_to_word_tokens(self, tokens: list[int]) -> tuple[list[str], list[list[int]]]: ...


class Backend(Protocol):
    """One library's Whisper. `encoded` is its own type: the encoder's output for a batch."""

    mel_bins: int
    multilingual: bool
    max_prompt_tokens: int

    def tokenizer(self, language: str, task: str) -> Tokenizer: ...
    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T,) float32 in [-1, 1], 16 kHz → the log-mel spectrogram (mel_bins, T // 160), as Whisper scales it."""
        ...

    def encode(self, mels: NDArray[np.float32]) -> Any:
        """(N, mel_bins, T) float32, T even → the encoder's output."""
        ...

    def take(self, encoded: Any, rows: Sequence[int]) -> Any: ...
    def detect(self, encoded: Any) -> list[dict[str, float]]:
        """The probability of each language, for each row."""
        ...

    def search(self, encoded: Any, prompts: Sequence[Prompt], search: Search) -> list[Draft]:
        """Prompts are equally long."""
        ...

    def align(
        self, encoded: Any, prompt: Prompt, texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        """texts: the tokens of each row; frames: its mel frames that are not padding."""
        ...

    def close(self) -> None: ...


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    settings = read_settings(manifest, WhisperSettings)
    device = devices.resolve(settings.device)
    languages = spoken_languages(manifest) or frozenset(LANGUAGES)
    unknown = languages - set(LANGUAGES)
    if unknown:
        raise errors.ModelInvalid(f"{manifest.id}: Whisper has no language {', '.join(sorted(unknown))}.")
    multilingual = languages != {"en"}
    return EngineCapabilities(
        languages=languages,
        max_window_seconds=float(WINDOW_SECONDS),
        max_batch=settings.max_batch or _batch_size(device, settings),
        concurrency=settings.workers,
        word_times=settings.word_times,
        word_confidences=settings.word_times,
        punctuation=True,
        casing=True,
        inverse_normalization=True,
        translation=multilingual,
        language_detection=multilingual,
        prompt=True,
        hotwords=True,
        device=device,
    )


def _batch_size(device: str, settings: WhisperSettings) -> int:
    """By measurement (benchmarks/whisper.py): a GPU gains by batches, a CPU only where encoding is cheap.

    Windows that are padded to 30 seconds cost a CPU more together than one by one.
    """
    if device != devices.CPU:
        return 16
    return 4 if settings.fitted_windows else 1


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
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            prompts = [batch[row].prompt() for row in pending]
            found = self._backend.search(self._take(encoded, pending, batch), prompts, search)
            for row, draft in zip(pending, found, strict=True):
                drafts[row].append(draft)
            pending = [row for row in pending if self._failed(batch[row], drafts[row][-1])]
            if not pending:
                break
        for request, tried in zip(batch, drafts, strict=True):
            request.draft = self._best(request, tried)

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
            confidence=_rounded(math.exp(min(0.0, draft.log_prob))),
            language=request.language,
            language_confidence=request.language_confidence and _rounded(request.language_confidence),
        )

    def _take(self, encoded: Any, rows: Sequence[int], batch: Sequence[_Request]) -> Any:
        return encoded if len(rows) == len(batch) else self._backend.take(encoded, rows)


def words_of(tokenizer: Tokenizer, tokens: list[int], alignment: Alignment, seconds: float) -> tuple[Word, ...]:
    """Words with the punctuation that touches them; a word's confidence is the mean of its tokens' probabilities."""
    texts, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    edges = np.cumsum([0, *(len(part) for part in parts[:-1])])
    first = np.concatenate(([True], np.diff(alignment.path[:, 0]) != 0))  # the step at which a token begins
    begins = alignment.path[first, 1] * SECONDS_PER_POSITION
    words: list[Word] = []
    for text, left, right in zip(texts[:-1], edges[:-1], edges[1:], strict=True):
        start = min(seconds, float(begins[min(left, len(begins) - 1)]))
        end = min(seconds, float(begins[min(right, len(begins) - 1)]))
        confidence = float(np.mean(alignment.token_probs[left:right]))
        words.append(Word(text, _rounded(start), _rounded(max(start, end)), _rounded(min(1.0, max(0.0, confidence)))))
    return tuple(_merge_punctuation(words))


def compression_ratio(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def _merge_punctuation(words: Sequence[Word]) -> list[Word]:
    """Opening marks join the next word, others the one before; the word's times and confidence stay its own."""
    merged: list[Word] = []
    opening = ""
    for word in words:
        mark = word.text.strip()
        if word.text.startswith(" ") and mark and mark in _PREPENDED:
            opening += mark
        elif merged and mark and all(letter in _APPENDED or letter in string.punctuation for letter in mark):
            merged[-1] = replace(merged[-1], text=merged[-1].text + mark)
        elif mark:
            merged.append(replace(word, text=opening + mark))
            opening = ""
    return merged


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


def _rounded(value: float) -> float:
    """To what float32 in another batch shape leaves unchanged."""
    return round(value, 3)
