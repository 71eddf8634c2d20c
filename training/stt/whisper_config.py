"""What is a Whisper run? Its settings, typed, with their units; read from YAML and checked as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from training.errors import ConfigInvalid
from training.stt.config import DataConfig, Probability, Section


class ScratchModel(Section):
    """A model made of nothing, with one token a byte: proves the path where no weights are at hand."""

    d_model: int = Field(default=32, ge=8)
    layers: int = Field(default=1, ge=1)
    heads: int = Field(default=2, ge=1)


class LoraConfig(Section):
    """Low-rank adaptation (Hu et al. 2021): merged into the weights at the end."""

    rank: int = Field(default=32, ge=1)
    alpha: int = Field(default=64, ge=1)
    dropout: Probability = Field(default=0.05, ge=0, lt=1)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


class SpecAugmentConfig(Section):
    time_probability: Probability = Field(default=0.05, ge=0, le=1)  # of a frame to start a mask
    time_length: int = Field(default=10, ge=1)  # frames of 10 ms
    frequency_probability: Probability = Field(default=0.05, ge=0, le=1)
    frequency_length: int = Field(default=10, ge=1)  # mel bins


class WhisperTrainConfig(Section):
    max_steps: int = Field(gt=0)
    batch_utterances: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=500, ge=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    gradient_checkpointing: bool = False
    save_every_steps: int = Field(default=1000, gt=0)
    log_every_steps: int = Field(default=25, gt=0)
    eval_utterances: int = Field(default=200, ge=0)  # of the dev set, decoded at the end; 0: none


class WhisperRunConfig(Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    languages: tuple[str, ...] = Field(min_length=1)  # BCP-47; an utterance's own is the hint that it is trained with
    licence: str = "unknown"
    source: str = ""
    seed: int = 1
    base: str | None = None  # a local folder, or a name on the hub
    revision: str = "main"  # of the hub's; a commit, so that a later run starts from the same weights
    scratch: ScratchModel | None = None
    method: Literal["full", "lora"] = "full"
    lora: LoraConfig = LoraConfig()
    spec_augment: SpecAugmentConfig | None = SpecAugmentConfig()
    data: DataConfig
    train: WhisperTrainConfig
    quantization: Literal["int8", "int8_float16", "float16", "float32"] = "int8"  # of the CTranslate2 folder

    @model_validator(mode="after")
    def _check_base(self) -> WhisperRunConfig:
        if (self.base is None) == (self.scratch is None):
            raise ValueError("give either base or scratch")
        return self


def load_whisper_config(path: Path) -> WhisperRunConfig:
    """The run that a YAML file describes. Raises ConfigInvalid with every wrong key."""
    try:
        return WhisperRunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigInvalid(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or path.name}: {item['msg']}" for item in error.errors()]
        raise ConfigInvalid(f"{path}:\n  " + "\n  ".join(lines)) from error
