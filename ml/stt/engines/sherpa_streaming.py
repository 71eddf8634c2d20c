"""Recognition with sherpa-onnx's streaming transducers: of windows, as any recogniser, and of speech as it comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines import checks, sherpa
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import spoken_languages
from ml.stt.engines.sherpa import Plan, find_file
from ml.stt.engines.sherpa_offline import language_model_arguments, transducer_arguments
from ml.stt.engines.streaming import Step, StepQueue, Urgency, not_urgent
from ml.types import NO_SOUND, PcmSamples

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
    arguments |= {"model_type": kind, "enable_endpoint_detection": False}  # ml.stt.live finds the pauses
    arguments |= language_model_arguments(folder, settings, streaming=True)
    plan = Plan("OnlineRecognizer", "from_transducer", arguments)
    sherpa.try_plan(folder, plan)
    return SherpaStreaming(plan, able, sherpa.hotword_letters(tokens, settings))


class SherpaStreaming:
    """A loaded model. Safe to call from several threads; a stream is used by one at a time."""

    def __init__(self, plan: Plan, capabilities: EngineCapabilities, letters: frozenset[str]) -> None:
        self.capabilities = capabilities
        self._letters = letters
        self._native = sherpa.build(plan)
        self._steps = StepQueue(self._compute, name="sherpa-live")

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        for window in windows:
            sherpa.check_window(window, self.capabilities.languages)
        results = [Hypothesis("", (), 0.0)] * len(windows)
        tail = _tail()
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

    def open_utterance(self, *, hotwords: Sequence[str] = (), before: PcmSamples | None = NO_SOUND) -> SherpaUtterance:
        """See `ml.stt.engines.streaming`."""
        with sherpa.failing_as("Opening a stream"):
            return SherpaUtterance(self._steps, self._stream(hotwords))

    def prepare_utterance(self, speakers: int) -> None:
        """A stream is quickly made, but the first run of a model takes longer than others."""
        self.open_utterance().advance(np.zeros(sherpa.SAMPLE_RATE // 2, np.int16)).result()

    def close(self) -> None:
        self._steps.close()
        self._native = None

    def _stream(self, phrases: Sequence[str]) -> Any:
        hotwords = sherpa.hotwords_text(phrases, self._letters) if self.capabilities.hotwords else ""
        return self._native.create_stream(hotwords) if hotwords else self._native.create_stream()

    def _compute(self, steps: list[Step]) -> None:
        """Utterances of all sessions, chunk by chunk, those together that have one."""
        with sherpa.failing_as("Recognition"):
            for step in steps:
                step.item.accept()
            streams = [step.item.stream for step in steps]
            while ready := [stream for stream in streams if self._native.is_ready(stream)]:
                self._native.decode_streams(ready[: self.capabilities.max_batch])
            for step in steps:
                seconds = step.item.seconds
                step.future.set_result(_hypothesis(self._native.get_result_all(step.item.stream), seconds))


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a step adds to a stream."""

    stream: Any
    samples: PcmSamples
    seconds: float  # of the utterance, with these
    last: bool

    def accept(self) -> None:
        self.stream.accept_waveform(sherpa.SAMPLE_RATE, self.samples.astype(np.float32) / 32768)
        if self.last:
            self.stream.accept_waveform(sherpa.SAMPLE_RATE, _tail())
            self.stream.input_finished()


class SherpaUtterance:
    """See `ml.stt.engines.streaming.Utterance`. What it says at its end is what `recognise` says of the same sound."""

    def __init__(self, steps: StepQueue, stream: Any) -> None:
        self._steps = steps
        self._stream = stream
        self._samples = 0

    def advance(self, samples: PcmSamples, *, urgency: Callable[[], Urgency] = not_urgent) -> Future[Hypothesis]:
        return self._submit(samples, last=False)

    def finish(self, *, alternatives: int = 0) -> Future[Hypothesis]:
        return self._submit(NO_SOUND, last=True)

    def close(self) -> None:
        self._stream = None  # a step under way keeps its own reference

    def _submit(self, samples: PcmSamples, *, last: bool) -> Future[Hypothesis]:
        self._samples += len(samples)
        return self._steps.submit(_Heard(self._stream, samples, self._samples / sherpa.SAMPLE_RATE, last))


def _tail() -> NDArray[np.float32]:
    return np.zeros(round(TAIL_SECONDS * sherpa.SAMPLE_RATE), np.float32)


def _hypothesis(result: Any, seconds: float) -> Hypothesis:
    return sherpa.hypothesis_of(
        result.text, list(result.tokens), list(result.timestamps), list(result.ys_probs), seconds
    )
