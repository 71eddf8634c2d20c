"""Which process is this? One alone, or one of several that `torchrun` started (gloo on CPU, NCCL on GPUs)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from training.errors import ConfigInvalid
from training.stt.loss import TrainingModule


@dataclass(frozen=True, slots=True)
class Process:
    """This process's place among those that train together."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: TrainingModule) -> torch.nn.Module:
        """The module itself, or one that averages gradients over the processes."""
        if self.world_size == 1:
            return module
        unused = not (module.config.inter_ctc_weight and module.config.rnnt_weight)
        ids = [self.device.index or 0] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids, find_unused_parameters=unused)

    def barrier(self) -> None:
        if self.world_size > 1:
            distributed.barrier()

    def share(self, value: Any) -> Any:
        """The first process's value, in every process."""
        if self.world_size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def process(device: str) -> Iterator[Process]:
    """Join the processes that `torchrun` started, if it did; leave them at the end."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigInvalid("--device cuda: this machine has no usable CUDA device")
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Process(0, 1, torch.device(device))
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        name = f"cuda:{torch.cuda.current_device()}" if device == "cuda" else device
        yield Process(distributed.get_rank(), world_size, torch.device(name))
    finally:
        distributed.destroy_process_group()
