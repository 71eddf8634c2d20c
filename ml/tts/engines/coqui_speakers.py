"""How a VITS of coqui-tts is told of several speakers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

Shares = Sequence[tuple[Mapping[str, Any], float]]
"""What the network is told of each speaker, and the speaker's part of the whole."""


class SpeakerTable(torch.nn.Module):
    """A model's table of speakers, which is asked by their numbers, or by how much of each is wanted."""

    def __init__(self, table: torch.nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, wanted: torch.Tensor) -> torch.Tensor:
        """wanted: numbers, shape (batch,), or `weights`, shape (batch, speakers); what is told: (batch, channels)."""
        if not wanted.is_floating_point():
            told: torch.Tensor = self.table(wanted)
            return told
        return (wanted[:, :, None] * self.table.weight[None]).sum(1)  # a matrix product would be rounded under autocast


def weights(shares: Shares, speakers: int) -> torch.Tensor:
    """(1, speakers): what a `SpeakerTable` is asked with for the mean of some of them."""
    first = shares[0][0]["speaker_ids"]
    wanted = torch.zeros((1, speakers), device=first.device)
    for told, share in shares:
        wanted[0, told["speaker_ids"]] += share
    return wanted


def mean_direction(shares: Shares) -> torch.Tensor:
    """(1, channels): between vectors of which the network looks at the direction only."""
    vectors = [share * torch.nn.functional.normalize(told["d_vectors"]) for told, share in shares]
    return torch.stack(vectors).sum(0)
