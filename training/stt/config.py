"""What is a run? Every setting of a Conformer RNN-T run, typed, with its unit; read from YAML, checked as a whole."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import ConfigInvalid

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")

Probability = float


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class DataSource(Section):
    """One manifest, or a part of it. Paths are relative to the repository root; `${NAME:-default}` is expanded."""

    manifest: str  # JSONL file, or a glob over its shards
    audio_root: str | None = None  # folder that `audio` is relative to; None: the manifest's own
    weight: float = Field(default=1.0, gt=0)  # how often an utterance is seen in one epoch
    speakers: tuple[str, ...] | None = None  # None: all
    exclude_speakers: tuple[str, ...] = ()


class DataConfig(Section):
    train: tuple[DataSource, ...] = Field(min_length=1)
    dev: tuple[DataSource, ...] = Field(min_length=1)
    min_duration_seconds: float = Field(default=0.1, ge=0)
    max_duration_seconds: float = Field(default=30.0, gt=0)
    cache_audio: bool = False  # keep the decoded training audio in memory
    workers: int = Field(default=2, ge=0)  # processes that read and augment


class TokenizerConfig(Section):
    kind: Literal["char", "letter", "word", "sentencepiece"] = "char"
    vocab_size: int = Field(default=64, ge=4)  # sentencepiece only
    model_type: Literal["bpe", "unigram"] = "bpe"  # sentencepiece only
    min_word_count: int = Field(default=10, ge=1)  # word only: rarer words are spelled
    alphabet: str | None = None  # symbols that may occur; None: those of the training texts
    lowercase: bool = True


class ModelSettings(Section):
    sample_rate: int = 16000  # Hz
    num_mel_bins: int = 80
    normalization: Literal["global", "utterance"] = "global"  # of the features, inside the encoder
    subsampling_channels: int = Field(default=64, ge=1)
    d_model: int = Field(default=144, ge=8)
    num_heads: int = Field(default=4, ge=1)
    num_layers: int = Field(default=8, ge=1)
    ffn_dim: int = Field(default=576, ge=8)
    conv_kernel: int = Field(default=15, ge=1)  # frames of 40 ms, odd
    dropout: Probability = Field(default=0.1, ge=0, lt=1)
    layer_drop: Probability = Field(default=0.0, ge=0, lt=1)  # stochastic depth, per utterance
    joiner_dim: int = Field(default=256, ge=8)
    predictor_dim: int = Field(default=144, ge=8)
    predictor_dropout: Probability = Field(default=0.1, ge=0, lt=1)
    context_size: int = Field(default=2, ge=1)  # labels the predictor sees

    @model_validator(mode="after")
    def _check_shapes(self) -> ModelSettings:
        if self.d_model % (2 * self.num_heads):
            raise ValueError("d_model must be a multiple of 2 × num_heads (rotary positions turn pairs)")
        if self.conv_kernel % 2 == 0:
            raise ValueError("conv_kernel must be odd")
        return self


class LossConfig(Section):
    alignment: Literal["one_per_frame", "regular"] = "one_per_frame"  # symbols that a frame may emit; search: one
    rnnt_weight: float = Field(default=1.0, ge=0)
    ctc_weight: float = Field(default=0.3, ge=0)
    inter_ctc_weight: float = Field(default=0.0, ge=0)  # a CTC head over the middle layer, for regularisation only


class WaveformAugmentConfig(Section):
    speed_range: tuple[float, float] = (0.9, 1.1)
    speed_probability: Probability = Field(default=0.9, ge=0, le=1)
    gain_db: float = Field(default=6.0, ge=0)  # uniform in ± this
    noise_probability: Probability = Field(default=0.3, ge=0, le=1)
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    babble_probability: Probability = Field(default=0.1, ge=0, le=1)
    reverb_probability: Probability = Field(default=0.1, ge=0, le=1)
    silence_probability: Probability = Field(default=0.3, ge=0, le=1)
    max_silence_seconds: float = Field(default=0.5, ge=0)


class FeatureAugmentConfig(Section):
    vtlp_range: tuple[float, float] = (0.9, 1.1)  # vocal tract length perturbation: warp of the frequency axis
    vtlp_probability: Probability = Field(default=0.5, ge=0, le=1)
    equalizer_db: float = Field(default=0.0, ge=0)  # a random smooth curve over frequency, ± this
    time_masks: int = Field(default=5, ge=0)
    time_mask_ratio: float = Field(default=0.06, ge=0, le=1)  # of the utterance, each mask's largest width
    frequency_masks: int = Field(default=2, ge=0)
    frequency_mask_bins: int = Field(default=27, ge=0)


class MixConfig(Section):
    """What joins utterances: whole ones, or words that an alignment cut out."""

    concatenate_probability: Probability = Field(default=0.2, ge=0, le=1)
    max_concatenated: int = Field(default=3, ge=2)
    splice_ratio: float = Field(default=0.0, ge=0)  # spliced examples for each utterance of an epoch
    splice_from_epoch: int = Field(
        default=40, ge=1
    )  # the first epoch with them; the CTC head aligns the data just before
    splice_realign_epochs: int = Field(default=60, ge=1)  # and every so many epochs again
    splice_words: tuple[int, int] = (2, 9)
    splice_real_text: Probability = Field(default=0.5, ge=0, le=1)  # words in a real sentence's order, or at random
    max_seconds: float = Field(default=12.0, gt=0)


class AugmentConfig(Section):
    waveform: WaveformAugmentConfig = WaveformAugmentConfig()
    features: FeatureAugmentConfig = FeatureAugmentConfig()
    mix: MixConfig = MixConfig()


class TrainerConfig(Section):
    max_steps: int = Field(gt=0)  # optimizer steps
    batch_seconds: float = Field(default=240.0, gt=0)  # padded audio in one batch, over all processes
    batch_utterances: int = Field(default=128, ge=1)
    accumulate: int = Field(default=1, ge=1)  # batches in one step
    peak_learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["cosine", "noam", "constant"] = "cosine"
    warmup_steps: int = Field(default=500, ge=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    clip_norm: float = Field(default=5.0, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    eval_every_steps: int = Field(default=500, gt=0)
    save_every_steps: int = Field(default=500, gt=0)
    log_every_steps: int = Field(default=20, gt=0)
    early_stop_evaluations: int | None = Field(default=None, gt=0)  # without a better dev WER; None: never
    average_checkpoints: int = Field(default=5, ge=1)
    average_from: Literal["best", "last"] = "last"


class RunConfig(Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    languages: tuple[str, ...] = Field(min_length=1)  # BCP-47
    licence: str = "unknown"  # of the trained model
    source: str = ""  # where the data comes from
    seed: int = 1
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelSettings = ModelSettings()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    trainer: TrainerConfig


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a YAML file describes, with `key.sub=value` overrides (values are YAML). Raises ConfigInvalid."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigInvalid(f"{path}: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigInvalid(f"{path}: a configuration is a mapping")
    for override in overrides:
        _apply_override(raw, override)
    return parse_config(raw, where=str(path))


def parse_config(raw: dict[str, Any], *, where: str = "configuration") -> RunConfig:
    """The run that a mapping describes. Raises ConfigInvalid with every wrong key."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigInvalid(f"{where}:\n  " + "\n  ".join(lines)) from error


def _apply_override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator:
        raise ConfigInvalid(f"override {override!r}: expected key.sub=value")
    *parents, last = key.split(".")
    node: Any = raw
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
    node[int(last) if isinstance(node, list) else last] = yaml.safe_load(value)


def resolve_path(text: str) -> Path:
    """A path of the configuration: variables expanded, relative to the repository root."""

    def expand(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], match[2])
        if value is None:
            raise ConfigInvalid(f"{text}: the environment variable {match[1]} is not set")
        return value

    path = Path(_VARIABLE.sub(expand, text)).expanduser()
    return path if path.is_absolute() else REPOSITORY_ROOT / path
