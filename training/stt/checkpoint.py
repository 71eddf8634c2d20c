"""What survives a kill? The whole state of a run, written in one piece, and averages of the best or last models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.errors import CheckpointInvalid
from training.stt.config import RunConfig, parse_config
from training.stt.model import Transducer
from training.stt.plan import Piece
from training.stt.tokenizer import Tokenizer, tokenizer_from_json

LAST = "last.pt"
FINAL = "final.pt"

State = dict[str, Tensor]


@dataclass(slots=True)
class Position:
    """Where a run stands. Everything random is drawn from the seed and these, so nothing else need be kept."""

    step: int = 0  # optimizer steps done
    epoch: int = 1
    batch: int = 0  # batches of this epoch that are done
    best_wer: float = float("inf")
    evaluations_since_best: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model to decode or export with."""

    model: Transducer
    tokenizer: Tokenizer
    config: RunConfig
    step: int
    data_hash: str


def write_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that a kill leaves the old one or the new one, never half of one."""
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    os.replace(partial, path)


def model_state(
    weights: State, config: RunConfig, tokenizer: Tokenizer, *, step: int, data_hash: str
) -> dict[str, Any]:
    """A checkpoint to decode with: weights, configuration and tokenizer."""
    return {
        "model": weights,
        "config": config.model_dump(mode="json"),
        "tokenizer": tokenizer.to_json(),
        "step": step,
        "data_hash": data_hash,
    }


def load_model(path: Path, device: torch.device | None = None) -> Loaded:
    """The model of a checkpoint, ready to decode. Raises CheckpointInvalid."""
    state = read(path)
    config = parse_config(state["config"], where=str(path))
    tokenizer = tokenizer_from_json(state["tokenizer"])
    model = Transducer(config.model, len(tokenizer.symbols))
    model.load_state_dict(state["model"])
    return Loaded(model.to(device or "cpu").eval(), tokenizer, config, state["step"], state.get("data_hash", ""))


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's contents. Raises CheckpointInvalid."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointInvalid(f"{path}: not a checkpoint: {error}") from error
    return state


def average(states: Sequence[State]) -> State:
    """The mean of several models' weights."""
    mean = {}
    for name, first in states[0].items():
        if first.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
        else:
            mean[name] = first
    return mean


def pieces_to_rows(pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    return [asdict(piece) for piece in pieces]


def pieces_from_rows(rows: Sequence[dict[str, Any]]) -> list[Piece]:
    return [Piece(**row) for row in rows]
