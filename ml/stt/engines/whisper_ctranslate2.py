"""Whisper on CTranslate2: `model.bin`, `config.json`, a vocabulary and `tokenizer.json`, as its converter writes them.

int8 on the CPU and float16 on CUDA unless the folder says otherwise. The library releases the GIL and queues calls
itself, so one model serves several threads.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import devices, errors
from ml.artifacts import ModelFolder
from ml.stt.engines.options import read_settings, thread_count
from ml.stt.engines.whisper import WhisperRecognizer
from ml.stt.engines.whisper_backend import (
    SAMPLES_PER_TEMPERATURE,
    Alignment,
    Draft,
    Prompt,
    Search,
    Tokenizer,
)
from ml.stt.engines.whisper_settings import WhisperSettings, capabilities

COMPUTE_TYPES = (
    "default", "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16",
    "float32",
)  # fmt: skip
MAGIC = "WhisperSpec"
TEXT_POSITIONS = 448
ENGLISH_VOCABULARY = 51_864
MAX_JSON_BYTES = 64 << 20
CUBLAS = "libcublas.so.12"
"""What the library's wheels are built for; newer builds of torch bring another."""

__all__ = ["capabilities", "load"]


def load(folder: ModelFolder) -> WhisperRecognizer:
    """Raises `ModelInvalid`; `EngineUnavailable` where a GPU's libraries are missing."""
    declared = capabilities(folder.manifest)
    settings = read_settings(folder.manifest, WhisperSettings)
    check_folder(folder)
    return WhisperRecognizer(Backend(folder, settings), folder.manifest, declared)


def check_folder(folder: ModelFolder) -> None:
    """That the files are there and are what they say, before native code reads them."""
    name = folder.manifest.id
    with folder.file("model.bin").open("rb") as stream:
        head = stream.read(6 + len(MAGIC))
    if head[6:].decode("ascii", "replace") != MAGIC:  # after a version and a length
        raise errors.ModelInvalid(f"{name}: model.bin is no Whisper model of CTranslate2.")
    for file in ("config.json", "tokenizer.json"):
        read_json(folder, file)
    vocabulary_size(folder)


def vocabulary_size(folder: ModelFolder) -> int:
    """The tokens that the model knows: an older converter wrote them one a line."""
    if "vocabulary.txt" in folder.manifest.files:
        with folder.file("vocabulary.txt").open("rb") as stream:
            return sum(1 for _ in stream)
    vocabulary = read_json(folder, "vocabulary.json")
    if not isinstance(vocabulary, list):
        raise errors.ModelInvalid(f"{folder.manifest.id}: vocabulary.json is no list.")
    return len(vocabulary)


def read_json(folder: ModelFolder, file: str) -> Any:
    path = folder.file(file)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise errors.ModelInvalid(f"{folder.manifest.id}: {file} is too large.")
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise errors.ModelInvalid(f"{folder.manifest.id}: {file} cannot be read: {error}") from None


def load_cublas() -> None:
    """CTranslate2 opens it by name at its first product, and pip installs it on no search path: so it is opened before.

    Raises `EngineUnavailable`.
    """
    installed = importlib.util.find_spec("nvidia")
    folders = [Path(folder) / "cublas" / "lib" for folder in (installed and installed.submodule_search_locations) or ()]
    for path in (CUBLAS, *(str(folder / CUBLAS) for folder in folders)):
        with suppress(OSError):
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
            return
    raise errors.EngineUnavailable(
        f"CTranslate2 needs {CUBLAS} on a GPU (pip install nvidia-cublas-cu12); or set the model's device to cpu."
    )


class Backend:
    """See `ml.stt.engines.whisper_backend.Backend`."""

    max_prompt_tokens = TEXT_POSITIONS // 2 - 1

    def __init__(self, folder: ModelFolder, settings: WhisperSettings) -> None:
        import ctranslate2
        import tokenizers
        from faster_whisper.feature_extractor import FeatureExtractor

        name = folder.manifest.id
        if settings.compute_type not in COMPUTE_TYPES:
            raise errors.ModelInvalid(f"{name}: compute_type must be one of {', '.join(COMPUTE_TYPES)}.")
        device, _, index = devices.resolve(settings.device).partition(":")
        if device != devices.CPU:
            load_cublas()
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder.file("tokenizer.json")))
            self._model = ctranslate2.models.Whisper(
                str(folder.path),
                device=device,
                device_index=int(index or 0),
                compute_type=_compute_type(settings, device),
                intra_threads=thread_count(settings.threads),
                inter_threads=settings.workers if device == devices.CPU else 1,
            )
        except Exception as error:  # tokenizers raises a bare Exception
            raise errors.ModelInvalid(f"{name} cannot be loaded: {error}") from None
        self.detects: bool = self._model.is_multilingual
        self.multilingual = self.detects or _names_languages(folder)
        self.mel_bins: int = self._model.n_mels
        self._eot = self._special("<|endoftext|>", name)
        self._no_timestamps = self._special("<|notimestamps|>", name)
        self._previous = self._special("<|startofprev|>", name)
        self._extract = FeatureExtractor(feature_size=self.mel_bins)
        self._vocabulary = vocabulary_size(folder)
        self._suppressed = self._suppressed_tokens()

    def tokenizer(self, language: str, task: str) -> Tokenizer:
        from faster_whisper import tokenizer

        return tokenizer.Tokenizer(self._tokenizer, self.multilingual, task=task, language=language)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._extract(samples, padding=0), np.float32)

    def encode(self, mels: NDArray[np.float32]) -> Any:
        return self._run(self._model.encode, _storage(mels))

    def take(self, encoded: Any, rows: Sequence[int]) -> Any:
        import ctranslate2

        if encoded.device != "cpu":
            encoded = encoded.to_device(ctranslate2.Device.cpu)
        if encoded.dtype == ctranslate2.DataType.bfloat16:  # which numpy does not have
            encoded = encoded.to(ctranslate2.DataType.float32)
        return _storage(np.asarray(encoded)[list(rows)])

    def detect(self, encoded: Any) -> list[dict[str, float]]:
        found = self._run(self._model.detect_language, encoded)
        return [{token.strip("<|>"): probability for token, probability in row} for row in found]

    def search(self, encoded: Any, prompts: Sequence[Prompt], search: Search) -> list[list[Draft]]:
        tokens = [self._prompt_tokens(prompt) for prompt in prompts]
        how: dict[str, Any] = {
            "beam_size": search.beam_size,
            "patience": search.patience,
            "num_hypotheses": search.hypotheses,
        }
        if search.temperature:
            how = {
                "beam_size": 1,
                "num_hypotheses": SAMPLES_PER_TEMPERATURE,
                "sampling_topk": 0,
                "sampling_temperature": search.temperature,
            }
        results = self._run(
            self._model.generate,
            encoded,
            tokens,
            max_length=_max_length(len(tokens[0]), search.max_tokens),
            no_repeat_ngram_size=search.no_repeat_ngram,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **how,
        )
        return [self._drafts(result)[: search.hypotheses] for result in results]

    def align(
        self, encoded: Any, prompt: Prompt, texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        start = list(self.tokenizer(prompt.language, prompt.task).sot_sequence)
        found = self._run(self._model.align, encoded, start, [list(text) for text in texts], list(frames))
        return [
            Alignment(np.asarray(each.text_token_probs, np.float32), np.asarray(each.alignments, np.int64))
            for each in found
        ]

    def close(self) -> None:
        self._model.unload_model()

    def _prompt_tokens(self, prompt: Prompt) -> list[int]:
        before = [self._previous, *prompt.previous] if prompt.previous else []
        start = self.tokenizer(prompt.language, prompt.task).sot_sequence
        return [*before, *start, self._no_timestamps]

    def _drafts(self, result: Any) -> list[Draft]:
        drafts = []
        for tokens, score in zip(result.sequences_ids, result.scores, strict=True):
            log_prob = score * len(tokens) / (len(tokens) + 1)  # the score leaves out the end of text
            text = tuple(token for token in tokens if token < self._eot)
            drafts.append(Draft(text, log_prob, result.no_speech_prob))
        return drafts

    def _suppressed_tokens(self) -> list[int]:
        """What is no text: control tokens, time stamps, and marks such as "[" or "♪" that open descriptions."""
        tokenizer: Any = self.tokenizer("en", "transcribe")
        return sorted({*tokenizer.non_speech_tokens, *range(self._eot + 1, self._vocabulary)})

    def _special(self, token: str, name: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise errors.ModelInvalid(f"{name}: tokenizer.json has no {token}.")
        return number

    def _run(self, function: Any, *args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except (RuntimeError, ValueError) as error:
            raise errors.EngineFailed(f"Whisper failed: {error}") from error


def _names_languages(folder: ModelFolder) -> bool:
    """Of a vocabulary that the library takes for English-only.

    It calls each one so that is not as large as Whisper's multilingual ones, also one that was trained from nothing
    with fewer words. English-only weights have one of `ENGLISH_VOCABULARY`; others say in config.json which languages.
    """
    config = read_json(folder, "config.json")
    named = isinstance(config, dict) and bool(config.get("lang_ids"))
    return named and vocabulary_size(folder) != ENGLISH_VOCABULARY


def _max_length(prompt: int, wanted: int) -> int:
    """What lets CTranslate2 write `wanted` tokens: it takes the smaller of half of this and this less the prompt."""
    room = min(wanted, TEXT_POSITIONS - prompt)
    return max(2 * room, room + prompt)


def _compute_type(settings: WhisperSettings, device: str) -> str:
    if settings.compute_type != "default":
        return settings.compute_type
    return "int8" if device == devices.CPU else "float16"


def _storage(array: NDArray[Any]) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))
