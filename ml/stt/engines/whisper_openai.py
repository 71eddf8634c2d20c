"""Whisper on torch: openai-whisper's `model.pt`, a checkpoint of `dims` and `model_state_dict`.

The file is read with `weights_only`, so that it cannot run code. float32 on the CPU and float16 on CUDA unless the
folder says otherwise. openai-whisper keeps its key-value cache in hooks on the model: one call at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml import devices, errors
from ml.artifacts import ModelFolder
from ml.stt.engines import whisper_settings
from ml.stt.engines.base import EngineCapabilities
from ml.stt.engines.options import read_settings, thread_count
from ml.stt.engines.whisper import WhisperRecognizer
from ml.stt.engines.whisper_backend import FRAMES, SAMPLES_PER_TEMPERATURE, Alignment, Draft, Prompt, Search
from ml.stt.engines.whisper_settings import WhisperSettings

if TYPE_CHECKING:
    import torch
    from whisper.model import ModelDimensions, Whisper

    from ml.artifacts import ModelManifest

COMPUTE_TYPES = {"float32", "float16"}
SMALLEST_VOCABULARY = 51_864  # that of the English-only models
MEDIAN_FILTER = 7
ALIGNED_TOGETHER = 8  # texts; each token of each takes the room of a vocabulary

_warping = threading.Lock()  # numba's threads end the process where two callers use them at once


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    return replace(whisper_settings.capabilities(manifest), concurrency=1)


def load(folder: ModelFolder) -> WhisperRecognizer:
    """Raises `ModelInvalid`, `EngineUnavailable` (openai-whisper is not installed)."""
    declared = capabilities(folder.manifest)
    settings = read_settings(folder.manifest, WhisperSettings)
    return WhisperRecognizer(Backend(folder, settings), folder.manifest, declared)


def read_checkpoint(folder: ModelFolder) -> Whisper:
    """The model on the CPU, in float32. Raises `ModelInvalid`."""
    import torch
    from whisper.model import ModelDimensions, Whisper

    name = folder.manifest.id
    try:
        checkpoint = torch.load(folder.file("model.pt"), map_location="cpu", weights_only=True)
        state = checkpoint["model_state_dict"]
        dims = ModelDimensions(**{key: int(value) for key, value in checkpoint["dims"].items()})
        _check_dims(dims, state)
        model = Whisper(dims)
        model.load_state_dict(state)
    except Exception as error:  # torch.load and load_state_dict raise whatever a hostile file makes them
        raise errors.ModelInvalid(f"{name}: model.pt cannot be loaded: {error}") from None
    return model.eval()


def _check_dims(dims: ModelDimensions, state: dict[str, Any]) -> None:
    """That the sizes are those of the weights, so that a claim of others takes no memory. Raises `ValueError`."""
    shapes = {
        "encoder.conv1.weight": (dims.n_audio_state, dims.n_mels, 3),
        "encoder.positional_embedding": (FRAMES // 2, dims.n_audio_state),
        "decoder.token_embedding.weight": (dims.n_vocab, dims.n_text_state),
        "decoder.positional_embedding": (dims.n_text_ctx, dims.n_text_state),
    }
    for name, shape in shapes.items():
        if name not in state or tuple(state[name].shape) != shape:
            raise ValueError(f"the sizes in dims are not those of {name}")
    for side, layers in (("encoder", dims.n_audio_layer), ("decoder", dims.n_text_layer)):
        if len({key.split(".")[2] for key in state if key.startswith(f"{side}.blocks.")}) != layers:
            raise ValueError(f"dims do not have the layers of the {side}")
    if dims.n_vocab < SMALLEST_VOCABULARY or dims.n_audio_ctx != FRAMES // 2 or dims.n_text_ctx < 64:
        raise ValueError("dims are not those of a Whisper")


class Backend:
    """See `ml.stt.engines.whisper_backend.Backend`."""

    def __init__(self, folder: ModelFolder, settings: WhisperSettings) -> None:
        try:
            import torch
            import whisper  # noqa: F401
        except ImportError:
            raise errors.EngineUnavailable("openai-whisper is not installed: see requirements-torch.txt.") from None
        self._torch = torch
        self._device = torch.device(devices.resolve(settings.device))
        default = "float32" if self._device.type == "cpu" else "float16"
        compute_type = default if settings.compute_type == "default" else settings.compute_type
        if compute_type not in COMPUTE_TYPES:
            raise errors.ModelInvalid(f"{folder.manifest.id}: compute_type must be float32 or float16.")
        if self._device.type == "cpu":
            if compute_type == "float16":
                raise errors.ModelInvalid(f"{folder.manifest.id}: float16 needs a CUDA device.")
            torch.set_num_threads(thread_count(settings.threads))
        else:
            # cuDNN's attention builds a plan for each new shape, in each thread: every token of every batch has one.
            # Measured on an H100 over HTTP, 16 clients: 0.24 s a clip with it, 0.07 s without.
            torch.backends.cuda.enable_cudnn_sdp(False)
        self._dtype = getattr(torch, compute_type)
        model = read_checkpoint(folder).to(self._device)
        self._model = model.half() if self._dtype == torch.float16 else model
        _keep_norms_in_float32(self._model)
        self._heads = self._model.alignment_heads.coalesce().indices().T.tolist()
        self._lock = threading.Lock()
        self.multilingual = self.detects = bool(model.is_multilingual)
        self.mel_bins: int = model.dims.n_mels
        self.max_prompt_tokens: int = model.dims.n_text_ctx // 2 - 1

    def tokenizer(self, language: str, task: str) -> Any:
        from whisper.tokenizer import get_tokenizer

        named = {"language": language, "task": task} if self.multilingual else {}
        return get_tokenizer(self.multilingual, num_languages=self._model.num_languages, **named)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        from whisper.audio import log_mel_spectrogram

        with self._computing():
            return log_mel_spectrogram(samples, self.mel_bins, device=self._device).cpu().numpy()

    def encode(self, mels: NDArray[np.float32]) -> torch.Tensor:
        """As `AudioEncoder.forward`, which insists on 30 seconds."""
        torch, encoder = self._torch, self._model.encoder
        with self._computing():
            gelu = torch.nn.functional.gelu
            x = torch.from_numpy(mels).to(self._device, self._dtype)
            x = gelu(encoder.conv2(gelu(encoder.conv1(x)))).permute(0, 2, 1)
            x = (x + encoder.positional_embedding[: x.shape[1]]).to(x.dtype)
            for block in encoder.blocks:
                x = block(x)
            return encoder.ln_post(x)

    def take(self, encoded: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        return encoded[list(rows)]

    def detect(self, encoded: torch.Tensor) -> list[dict[str, float]]:
        """As `whisper.decoding.detect_language`, which knows encoded features by their length of 30 seconds."""
        tokenizer = self.tokenizer("en", "transcribe")
        with self._computing():
            start = self._torch.full((len(encoded), 1), tokenizer.sot, device=self._device)
            logits = self._model.decoder(start, encoded)[:, 0, list(tokenizer.all_language_tokens)]
            probabilities = logits.float().softmax(-1).tolist()
        return [dict(zip(tokenizer.all_language_codes, row, strict=True)) for row in probabilities]

    def search(self, encoded: torch.Tensor, prompts: Sequence[Prompt], search: Search) -> list[list[Draft]]:
        """A call of openai-whisper has one prompt, so the rows are grouped by theirs; its beams want a row alone."""
        groups: dict[Any, list[int]] = {}
        for row, prompt in enumerate(prompts):
            alone = row if search.beam_size > 1 or search.temperature else None
            groups.setdefault((prompt, alone), []).append(row)
        drafts: dict[int, list[Draft]] = {}
        for (prompt, _), rows in groups.items():
            task = self._decoding(prompt, search)
            ranked = task.sequence_ranker = _Ranked(task.sequence_ranker)
            with self._computing():
                results = task.run(encoded[rows])
            for row, result, found in zip(rows, results, ranked.found, strict=True):
                drafts[row] = _drafts(result, found, task.tokenizer.eot)[: search.hypotheses]
        return [drafts[row] for row in range(len(prompts))]

    def align(
        self, encoded: torch.Tensor, prompt: Prompt, texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        found: list[Alignment] = []
        for first in range(0, len(texts), ALIGNED_TOGETHER):
            some = slice(first, first + ALIGNED_TOGETHER)
            with self._computing():
                found += self._align(encoded[some], prompt, texts[some], frames[some])
        return found

    def close(self) -> None:
        self._model.to("meta")
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()

    def _decoding(self, prompt: Prompt, search: Search) -> Any:
        from whisper.decoding import DecodingOptions, DecodingTask

        greedy = search.beam_size == 1
        options = DecodingOptions(
            task=prompt.task,
            language=prompt.language if self.multilingual else "en",
            prompt=list(prompt.previous) or None,
            sample_len=search.max_tokens,
            temperature=search.temperature,
            best_of=SAMPLES_PER_TEMPERATURE if search.temperature else None,
            beam_size=None if greedy else search.beam_size,
            patience=None if greedy else search.patience,
            without_timestamps=True,
            fp16=self._dtype == self._torch.float16,
        )
        task = DecodingTask(self._model, options)
        task._get_audio_features = lambda encoded: encoded  # a batch is encoded once, and perhaps not 30 seconds long
        task.logit_filters.append(_OnlyText(task.tokenizer))
        if search.no_repeat_ngram:
            task.logit_filters.append(_NoRepeats(search.no_repeat_ngram, task.sample_begin, task.tokenizer.eot))
        return task

    def _align(
        self, encoded: torch.Tensor, prompt: Prompt, texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        """As `whisper.timing.find_alignment`, which would encode again, takes one text and cuts words itself."""
        from whisper.model import disable_sdpa

        tokenizer = self.tokenizer(prompt.language, prompt.task)
        before, end = [*tokenizer.sot_sequence, tokenizer.no_timestamps], tokenizer.eot
        longest = max(map(len, texts)) + 1
        rows = [[*before, *text, *[end] * (longest - len(text))] for text in texts]  # what follows changes nothing
        with self._attentions() as attentions, disable_sdpa():
            logits = self._model.decoder(self._torch.tensor(rows, device=self._device), encoded)
        alignments = []
        for row, text in enumerate(texts):
            written = slice(len(before) - 1, len(before) - 1 + len(text))
            probabilities = logits[row, written, :end].float().softmax(-1)[range(len(text)), list(text)]
            heads = [attentions[layer][row, head] for layer, head in self._heads]
            path = self._path(self._torch.stack(heads)[:, : len(before) + len(text) + 1, : frames[row] // 2], written)
            alignments.append(Alignment(probabilities.cpu().numpy().astype(np.float32), path))
        return alignments

    def _path(self, weights: torch.Tensor, written: slice) -> NDArray[np.int64]:
        """Of attention before its softmax, (heads, tokens, positions)."""
        from whisper.timing import dtw_cpu, median_filter

        weights = weights.float().softmax(-1)
        std, mean = self._torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
        matrix = median_filter((weights - mean) / std, MEDIAN_FILTER).mean(0)
        costs = -matrix[written.start : written.stop + 1].double().cpu().numpy()
        with _warping:
            return np.stack(dtw_cpu(costs), axis=1).astype(np.int64)

    @contextmanager
    def _attentions(self) -> Iterator[dict[int, torch.Tensor]]:
        """Cross-attention before softmax, (N, heads, tokens, positions) by layer, of what is computed inside."""
        found: dict[int, torch.Tensor] = {}
        hooks = [
            self._model.decoder.blocks[layer].cross_attn.register_forward_hook(
                lambda _, __, output, layer=layer: found.__setitem__(layer, output[-1])
            )
            for layer in {layer for layer, _ in self._heads}
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def _computing(self) -> Iterator[None]:
        try:
            with self._lock, self._torch.inference_mode():
                yield
        except RuntimeError as error:
            raise errors.EngineFailed(f"Whisper failed: {error}") from error


class _Ranked:
    """Chooses as another ranker does, and remembers what there was to choose from."""

    def __init__(self, ranker: Any) -> None:
        self._ranker = ranker
        self.found: list[list[tuple[list[int], float]]] = []  # of each row: tokens, and the sum of their logarithms

    def rank(self, tokens: list[list[torch.Tensor]], sums: list[list[float]]) -> list[int]:
        texts = [[each.tolist() for each in row] for row in tokens]
        self.found = [list(zip(row, scores, strict=True)) for row, scores in zip(texts, sums, strict=True)]
        chosen: list[int] = self._ranker.rank(tokens, sums)
        return chosen


def _drafts(result: Any, found: Sequence[tuple[list[int], float]], end: int) -> list[Draft]:
    """The one that was chosen, then the others by their probability."""
    others = sorted(((sum_ / (len(tokens) + 1), tokens) for tokens, sum_ in found), reverse=True)
    ranked = [(result.avg_logprob, result.tokens), *(each for each in others if each[1] != result.tokens)]
    return [
        Draft(tuple(token for token in tokens if token < end), log_prob, result.no_speech_prob)
        for log_prob, tokens in ranked
    ]


class _OnlyText:
    """No control tokens or time stamps inside a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._first = tokenizer.eot + 1

    def apply(self, logits: torch.Tensor, _: torch.Tensor) -> None:
        """logits (N, vocabulary)."""
        logits[:, self._first :] = -np.inf


class _NoRepeats:
    """No run of `length` tokens twice."""

    def __init__(self, length: int, begin: int, end_of_text: int) -> None:
        self._length, self._begin, self._end = length, begin, end_of_text

    def apply(self, logits: torch.Tensor, tokens: torch.Tensor) -> None:
        """logits (N, vocabulary), tokens (N, so far)."""
        for row, written in enumerate(tokens[:, self._begin :].tolist()):
            tail = written[len(written) - self._length + 1 :]
            for start in range(len(written) - self._length + 1):
                run = written[start : start + self._length]
                if run[:-1] == tail and run[-1] != self._end:
                    logits[row, run[-1]] = -np.inf


def _keep_norms_in_float32(model: Whisper) -> None:
    """openai-whisper computes them so in any model."""
    from whisper.model import LayerNorm

    for module in model.modules():
        if isinstance(module, LayerNorm):
            module.float()
