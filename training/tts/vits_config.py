"""What is a run that trains a voice? Its settings, typed, with their units; read from YAML and checked as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from training.errors import ConfigInvalid
from training.stt.config import Probability, Section

SPEAKER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class Speaker(Section):
    """One voice and the LJSpeech-style folder that it is recorded in: `metadata.csv` beside `wavs/`."""

    id: str = Field(pattern=SPEAKER_PATTERN)
    folder: str  # relative to the repository root; `${NAME:-default}` is expanded
    name: str = ""  # as people see it; "": the id
    gender: Literal["female", "male", "neutral", ""] = ""


class VoiceDataConfig(Section):
    speakers: tuple[Speaker, ...] = Field(min_length=1)
    dev_ratio: Probability = Field(default=0.02, gt=0, lt=0.5)  # of each speaker's recordings; at least one
    min_duration_seconds: float = Field(default=0.5, gt=0)
    max_duration_seconds: float = Field(default=15.0, gt=0)
    workers: int = Field(default=2, ge=0)  # processes that read

    @model_validator(mode="after")
    def _check_speakers(self) -> VoiceDataConfig:
        ids = [speaker.id for speaker in self.speakers]
        if len(set(ids)) < len(ids):
            raise ValueError("two speakers have one id")
        return self


class TextConfig(Section):
    phonemes: bool = True  # espeak's IPA; otherwise the letters themselves
    alphabet: str = ""  # further letters that may occur; those of the model's own stay


class ScratchVits(Section):
    """The sizes of a VITS that starts from nothing (Kim, Kong and Son 2021; the defaults are the paper's)."""

    hidden_channels: int = Field(default=192, ge=8)
    ffn_channels: int = Field(default=768, ge=8)
    text_layers: int = Field(default=6, ge=1)
    posterior_layers: int = Field(default=16, ge=1)
    flow_layers: int = Field(default=4, ge=1)
    decoder_channels: int = Field(default=512, ge=32)
    speaker_channels: int = Field(default=256, ge=4)
    resblock_kernels: tuple[int, ...] = (3, 7, 11)
    stochastic_durations: bool = True
    sample_rate: int = Field(default=22050, ge=8000, le=48000)  # Hz


class VitsTrainConfig(Section):
    epochs: int = Field(gt=0)
    batch_utterances: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-4, gt=0)  # of generator and discriminator
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    segment_frames: int = Field(default=32, ge=4)  # of the waveform that the decoder is trained on at a time
    save_every_steps: int = Field(default=1000, gt=0)
    log_every_steps: int = Field(default=25, gt=0)


class VitsRunConfig(Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    language: str  # BCP-47
    licence: str = "unknown"
    source: str = ""
    seed: int = 1
    base: str | None = None  # a model folder of the platform (engine coqui, format vits)
    scratch: ScratchVits | None = None
    text: TextConfig = TextConfig()
    data: VoiceDataConfig
    train: VitsTrainConfig

    @model_validator(mode="after")
    def _check_base(self) -> VitsRunConfig:
        if (self.base is None) == (self.scratch is None):
            raise ValueError("give either base or scratch")
        return self


def load_vits_config(path: Path) -> VitsRunConfig:
    """The run that a YAML file describes. Raises ConfigInvalid with every wrong key."""
    try:
        return VitsRunConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigInvalid(f"{path}: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc'])) or path.name}: {item['msg']}" for item in error.errors()]
        raise ConfigInvalid(f"{path}:\n  " + "\n  ".join(lines)) from error
