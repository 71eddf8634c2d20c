"""Whisper with sherpa-onnx: encoder, decoder and tokens as its `scripts/whisper` export them.

The library hears one window after another, and takes language and task from the recogniser's configuration, not from
the stream: so a lock holds the configuration for the length of a call. Word times need a decoder that tells where it
looks (`export-onnx-with-attention.py`), and the setting `word_times`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ml import errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines import checks, sherpa
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import spoken_languages
from ml.stt.engines.sherpa import Plan, SherpaSettings, find_file

NUMBERS = (
    "n_mels", "n_text_layer", "n_text_ctx", "n_text_state", "n_vocab", "sot", "eot", "blank_id", "translate",
    "transcribe", "no_timestamps", "no_speech",
)  # fmt: skip
"""Entries that the encoder's metadata must have; the library ends the process without them."""

LANGUAGE_LISTS = ("all_language_tokens", "all_language_codes")  # of a multilingual model
ATTENTION_OUTPUT = 4  # the decoder's fourth is where its alignment heads look


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    settings = sherpa.settings_of(manifest)
    languages = spoken_languages(manifest)
    multilingual = languages != {"en"}
    return EngineCapabilities(
        languages=languages,
        word_times=settings.word_times,
        punctuation=True,
        casing=True,
        inverse_normalization=True,
        translation=multilingual,
        language_detection=multilingual and settings.language in ("", "auto"),
    )


def load(folder: ModelFolder) -> SherpaWhisper:
    """Raises `ModelInvalid` for what cannot be served, before native code in this process sees it."""
    able = capabilities(folder.manifest)
    settings = sherpa.settings_of(folder.manifest)
    parts = {part: find_file(folder, part, getattr(settings, part)) for part in ("encoder", "decoder")}
    known = _check(folder, settings, **parts)
    for code in (able.languages | {settings.language}) - {"", "auto"}:
        if code not in known:
            raise errors.ModelInvalid(f"{folder.manifest.id}: the model has no language {code!r}.")
    plan = Plan(
        "OfflineRecognizer",
        "from_whisper",
        {part: str(path) for part, path in parts.items()}
        | sherpa.common_arguments(settings)
        | {
            "tokens": str(find_file(folder, "tokens", settings.tokens, suffix=".txt")),
            "language": "" if settings.language == "auto" else settings.language,
            "task": "transcribe",
            "tail_paddings": settings.tail_paddings,
            "enable_token_timestamps": settings.word_times,
        },
    )
    sherpa.try_plan(folder, plan)
    return SherpaWhisper(plan, able)


def _check(folder: ModelFolder, settings: SherpaSettings, *, encoder: Any, decoder: Any) -> frozenset[str]:
    """That the files are a Whisper's; its languages."""
    facts = checks.require_metadata(encoder, ("is_multilingual", "sot_sequence"), numbers=NUMBERS)
    outputs = ATTENTION_OUTPUT if settings.word_times else ATTENTION_OUTPUT - 1
    checks.require_shape(decoder, checks.read_onnx(decoder), inputs=6, outputs=outputs)
    if settings.word_times:
        checks.require_metadata(encoder, (), numbers=("n_alignment_heads",))
    if facts.metadata["is_multilingual"] != "1":
        if spoken_languages(folder.manifest) != {"en"}:
            raise errors.ModelInvalid(f"{folder.manifest.id}: the model is English-only; its languages must be ['en'].")
        return frozenset({"en"})
    checks.require_metadata(encoder, LANGUAGE_LISTS)
    return frozenset(facts.metadata["all_language_codes"].split(","))


class SherpaWhisper:
    """A loaded model. Safe to call from several threads, which take turns."""

    def __init__(self, plan: Plan, capabilities: EngineCapabilities) -> None:
        self.capabilities = capabilities
        self._language = plan.arguments["language"]
        self._native = sherpa.build(plan)
        self._lock = threading.Lock()

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        for window in windows:
            self._check(window)
        results = [Hypothesis("", (), 0.0)] * len(windows)
        for place in sherpa.sound_places(windows):
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            with sherpa.failing_as("Recognition"):
                results[place] = self._hear(windows[place])
        return results

    def close(self) -> None:
        self._native = None

    def _check(self, window: Window) -> None:
        """Translation is theirs who declare it."""
        if window.task == "translate" and self.capabilities.translation:
            window = replace(window, task="transcribe")
        sherpa.check_window(window, self.capabilities.languages)

    def _hear(self, window: Window) -> Hypothesis:
        only = next(iter(self.capabilities.languages)) if len(self.capabilities.languages) == 1 else ""
        stream = self._native.create_stream()
        stream.accept_waveform(sherpa.SAMPLE_RATE, sherpa.waveform(window.samples))
        with self._lock:
            self._configure(window.language or self._language or only, window.task)
            self._native.decode_stream(stream)
        return self._hypothesis(window, stream.result)

    def _configure(self, language: str, task: str) -> None:
        """Under the lock. An empty language is detected; an English-only model ignores both."""
        whisper = self._native.config.model_config.whisper
        if (whisper.language, whisper.task) != (language, task):
            whisper.language, whisper.task = language, task
            self._native.recognizer.set_config(self._native.config)

    def _hypothesis(self, window: Window, result: Any) -> Hypothesis:
        found = result.lang if self.capabilities.language_detection and window.language is None else ""
        tokens = sherpa.tokens_of(result) if self.capabilities.word_times else []
        return sherpa.hypothesis_of(
            result.text,
            tokens,
            list(result.timestamps) if tokens else (),
            (),
            len(window.samples) / sherpa.SAMPLE_RATE,
            found if found in self.capabilities.languages else None,
        )
