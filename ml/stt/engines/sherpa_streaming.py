"""Recognition with sherpa-onnx's streaming transducers: of windows, as any recogniser, and of live speech.

    stream = recognizer.open_stream()
    stream.accept(samples)          # (n,) int16, 16 kHz, any length
    stream.partial()                # what is heard so far of the utterance under way
    if stream.endpoint():           # a pause, or the utterance has become too long
        hypothesis = stream.finish_utterance()
    stream.close()

Times of a live stream's words count from the start of the stream.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ml import errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines import checks, sherpa
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import spoken_languages
from ml.stt.engines.sherpa import Plan, find_file
from ml.stt.engines.sherpa_offline import language_model_arguments, transducer_arguments
from ml.types import PcmSamples, Word

ENCODER_METADATA = {
    # model_type of the encoder: entries that it must have
    "conformer": ("num_encoder_layers", "T", "decode_chunk_len", "left_context", "encoder_dim", "pad_length",
                  "cnn_module_kernel"),
    "lstm": ("num_encoder_layers", "T", "decode_chunk_len", "rnn_hidden_size", "d_model"),
    "zipformer": ("encoder_dims", "attention_dims", "num_encoder_layers", "cnn_module_kernels", "left_context_len", "T",
                  "decode_chunk_len"),
    "zipformer2": ("encoder_dims", "query_head_dims", "value_head_dims", "num_heads", "num_encoder_layers",
                   "cnn_module_kernels", "left_context_len", "T", "decode_chunk_len"),
}  # fmt: skip
TAIL_SECONDS = 0.5
"""Of silence after a window, so that the last chunk is whole and the last word heard to its end."""


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    settings = sherpa.settings_of(manifest)
    return EngineCapabilities(
        languages=spoken_languages(manifest),
        max_batch=settings.max_batch,
        word_times=True,
        word_confidences=True,
        hotwords=settings.hotwords,
        streaming=True,
    )


def load(folder: ModelFolder) -> SherpaStreaming:
    """Raises `ModelInvalid` for what cannot be served, before native code in this process sees it."""
    able = capabilities(folder.manifest)
    settings = sherpa.settings_of(folder.manifest)
    encoder = find_file(folder, "encoder", settings.encoder)
    kind = checks.require_metadata(encoder, ("model_type",)).metadata["model_type"]
    if kind not in ENCODER_METADATA:
        raise errors.ModelInvalid(
            f"{folder.manifest.id}: the encoder's model_type is {kind!r}, not one of {', '.join(ENCODER_METADATA)}."
        )
    checks.require_metadata(encoder, ENCODER_METADATA[kind])
    arguments, tokens = transducer_arguments(folder, settings)
    arguments |= {
        "model_type": kind,
        "enable_endpoint_detection": True,
        "rule1_min_trailing_silence": settings.rule1_seconds,
        "rule2_min_trailing_silence": settings.rule2_seconds,
        "rule3_min_utterance_length": settings.rule3_seconds,
    } | language_model_arguments(folder, settings, streaming=True)
    plan = Plan("OnlineRecognizer", "from_transducer", arguments)
    sherpa.try_plan(folder, plan)
    return SherpaStreaming(plan, able, sherpa.hotword_letters(tokens, settings))


class SherpaStreaming:
    """A loaded model. Safe to call from several threads; a stream is used by one at a time."""

    def __init__(self, plan: Plan, capabilities: EngineCapabilities, letters: frozenset[str]) -> None:
        self.capabilities = capabilities
        self._letters = letters
        self._native = sherpa.build(plan)

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        for window in windows:
            sherpa.check_window(window, self.capabilities.languages)
        results = [Hypothesis("", (), 0.0)] * len(windows)
        tail = np.zeros(round(TAIL_SECONDS * sherpa.SAMPLE_RATE), np.float32)
        for batch in sherpa.batches(sherpa.sound_places(windows), self.capabilities.max_batch):
            with sherpa.failing_as("Recognition"):
                streams = [self._stream(windows[place].hotwords) for place in batch]
                for place, stream in zip(batch, streams, strict=True):
                    stream.accept_waveform(sherpa.SAMPLE_RATE, sherpa.waveform(windows[place].samples))
                    stream.accept_waveform(sherpa.SAMPLE_RATE, tail)
                sherpa.decode_online(self._native, streams, cancel)
                for place, stream in zip(batch, streams, strict=True):
                    seconds = len(windows[place].samples) / sherpa.SAMPLE_RATE
                    results[place] = _hypothesis(self._native.get_result_all(stream), seconds)
        return results

    def open_stream(self, *, hotwords: Sequence[str] = ()) -> LiveStream:
        """A stream of live speech. Raises `EngineFailed`."""
        with sherpa.failing_as("Opening a stream"):
            return LiveStream(self._native, self._stream(hotwords))

    def close(self) -> None:
        self._native = None

    def _stream(self, phrases: Sequence[str]) -> Any:
        hotwords = sherpa.hotwords_text(phrases, self._letters) if self.capabilities.hotwords else ""
        return self._native.create_stream(hotwords) if hotwords else self._native.create_stream()


class LiveStream:
    """Live speech, heard utterance by utterance."""

    def __init__(self, recognizer: Any, stream: Any) -> None:
        self._recognizer = recognizer
        self._stream = stream
        self._began = 0.0  # seconds of the stream before the utterance under way
        self._heard = 0  # samples
        self._finished = False

    def accept(self, samples: PcmSamples) -> None:
        """(n,) int16 at 16 kHz; computes what has become ready. Raises `EngineFailed`."""
        if self._finished:
            raise errors.EngineFailed("The stream has ended.")
        self._heard += len(samples)
        with sherpa.failing_as("Recognition"):
            self._stream.accept_waveform(sherpa.SAMPLE_RATE, samples.astype(np.float32) / 32768)
            while self._recognizer.is_ready(self._stream):
                self._recognizer.decode_stream(self._stream)

    def partial(self) -> Hypothesis:
        """The utterance under way, as it is understood so far; its last words may still change."""
        return self._moved(self._recognizer.get_result_all(self._stream))

    def endpoint(self) -> bool:
        """Whether the utterance under way has ended."""
        return bool(self._recognizer.is_endpoint(self._stream))

    def finish_utterance(self) -> Hypothesis:
        """The utterance under way, which ends here; the next begins."""
        hypothesis = self.partial()
        self._recognizer.reset(self._stream)
        self._began = self._heard / sherpa.SAMPLE_RATE
        return hypothesis

    def close(self) -> Hypothesis:
        """Hears what is left, and gives the last utterance."""
        if not self._finished:
            self.accept(np.zeros(round(TAIL_SECONDS * sherpa.SAMPLE_RATE), np.int16))
            self._finished = True
            with sherpa.failing_as("Recognition"):
                sherpa.decode_online(self._recognizer, [self._stream])
        return self.partial()

    def _moved(self, result: Any) -> Hypothesis:
        """With times of the whole stream: the library's begin anew with each utterance."""
        hypothesis = _hypothesis(result, self._heard / sherpa.SAMPLE_RATE)
        words = [_later(word, self._began) for word in hypothesis.words]
        return replace(hypothesis, words=tuple(words))


def _hypothesis(result: Any, seconds: float) -> Hypothesis:
    return sherpa.hypothesis_of(
        result.text, list(result.tokens), list(result.timestamps), list(result.ys_probs), seconds
    )


def _later(word: Word, seconds: float) -> Word:
    return replace(word, start=round(word.start + seconds, 3), end=round(word.end + seconds, 3))
