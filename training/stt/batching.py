"""Which examples share a batch? Those of like duration, so that little of it is padding, in an order shuffled anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.stt.plan import Example

DURATION_JITTER = 0.1  # relative; examples near a border change places between epochs


def make_batches(
    examples: Sequence[Example], *, batch_seconds: float, batch_utterances: int, seed: Sequence[int]
) -> list[list[Example]]:
    """Batches whose padded audio stays within `batch_seconds` (one longer example is a batch by itself)."""
    rng = np.random.default_rng(list(seed))
    durations = np.array([example.duration_seconds for example in examples])
    order = np.argsort(durations * rng.uniform(1 - DURATION_JITTER, 1 + DURATION_JITTER, len(durations)))
    batches: list[list[Example]] = []
    batch: list[Example] = []
    longest = 0.0
    for index in order:
        longer = max(longest, float(durations[index]))
        if batch and (longer * (len(batch) + 1) > batch_seconds or len(batch) == batch_utterances):
            batches.append(batch)
            batch, longer = [], float(durations[index])
        batch.append(examples[index])
        longest = longer
    if batch:
        batches.append(batch)
    return [batches[index] for index in rng.permutation(len(batches))]


def rank_share(batch: Sequence[Example], *, rank: int, world_size: int) -> list[Example]:
    """This process's part of a batch; never empty, because every process must take part in each gradient exchange."""
    return list(batch[rank::world_size]) or [batch[0]]


def share_weight(batch: Sequence[Example], *, rank: int, world_size: int) -> float:
    """What the mean loss of this process's part counts in the batch's mean: parts differ by one example."""
    return len(batch[rank::world_size]) * world_size / len(batch)
