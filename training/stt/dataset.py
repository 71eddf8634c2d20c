"""How does an example become samples? Pieces are read, cut, joined and varied; a batch of them is padded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.stt.audio import AudioStore, Samples
from training.stt.augment import WaveformAugmenter
from training.stt.plan import Example, Piece
from training.stt.tokenizer import Tokenizer

FADE_SECONDS = 0.005
SPLICE_GAP_SECONDS = 0.15
JOIN_GAP_SECONDS = 0.4
PREFETCHED_BATCHES = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded utterances."""

    samples: Tensor  # (N, S) float32
    sample_lengths: Tensor  # (N,) int64
    targets: Tensor  # (N, U) int32, padded with the blank
    target_lengths: Tensor  # (N,) int32

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.samples.to(device, non_blocking=True),
            self.sample_lengths.to(device),
            self.targets.to(device),
            self.target_lengths.to(device),
        )


def collate(samples: Sequence[Samples], targets: Sequence[Sequence[int]]) -> Batch:
    """A padded batch of utterances and their symbol ids."""
    lengths = [len(item) for item in samples]
    padded = np.zeros((len(samples), max(lengths)), np.float32)
    for row, item in zip(padded, samples, strict=True):
        row[: len(item)] = item
    labels = np.zeros((len(targets), max(1, *map(len, targets))), np.int32)
    for label_row, ids in zip(labels, targets, strict=True):
        label_row[: len(ids)] = ids
    return Batch(
        torch.from_numpy(padded),
        torch.tensor(lengths, dtype=torch.int64),
        torch.from_numpy(labels),
        torch.tensor([len(item) for item in targets], dtype=torch.int32),
    )


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One process's part of a batch, and where it lies in the run."""

    epoch: int
    number: int  # in its epoch, from 0
    is_last: bool  # of its epoch
    weight: float  # of this part's mean loss in the whole batch's
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class LoadedBatch:
    planned: PlannedBatch
    data: Batch


class BatchReader(Dataset[LoadedBatch]):
    """Makes planned batches; everything random in one comes from its examples' seeds."""

    def __init__(self, store: AudioStore, augmenter: WaveformAugmenter | None, tokenizer: Tokenizer) -> None:
        self._store = store
        self._augmenter = augmenter
        self._tokenizer = tokenizer

    def __getitem__(self, planned: PlannedBatch) -> LoadedBatch:
        samples = [self._samples(example) for example in planned.examples]
        targets = [self._tokenizer.encode(example.text) for example in planned.examples]
        return LoadedBatch(planned, collate(samples, targets))

    def _samples(self, example: Example) -> Samples:
        rng = np.random.default_rng(list(example.seed))
        samples = join_pieces(example.pieces, self._store, rng)
        return self._augmenter(samples, rng) if self._augmenter else samples


def join_pieces(pieces: Sequence[Piece], store: AudioStore, rng: Generator) -> Samples:
    """The samples of pieces in order: cut words are faded and levelled, gaps are filled with faint noise."""
    parts: list[Samples] = []
    for number, piece in enumerate(pieces):
        samples = store.read(piece.utterance)
        if piece.end_seconds != float("inf"):
            samples = _cut(samples, piece, store.sample_rate)
        if number:
            longest = SPLICE_GAP_SECONDS if piece.end_seconds != float("inf") else JOIN_GAP_SECONDS
            gap = rng.standard_normal(int(rng.uniform(0, longest) * store.sample_rate)) * 1e-4
            parts.append(gap.astype(np.float32))
        parts.append(samples)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _cut(samples: Samples, piece: Piece, rate: int) -> Samples:
    part = samples[int(piece.start_seconds * rate) : int(piece.end_seconds * rate)].copy()
    fade = min(int(FADE_SECONDS * rate), len(part) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        part[:fade] *= ramp
        part[-fade:] *= ramp[::-1]
    return part


def load_batches(planned: Iterable[PlannedBatch], reader: BatchReader, *, workers: int) -> Iterator[LoadedBatch]:
    """Batches in the planned order, read ahead by `workers` processes."""
    loader: DataLoader[LoadedBatch] = DataLoader(
        reader,
        batch_size=None,
        sampler=planned,  # the plan is made as it is needed, one epoch at a time
        num_workers=workers,
        prefetch_factor=PREFETCHED_BATCHES if workers else None,
        worker_init_fn=_single_thread,
    )
    return iter(loader)


def _single_thread(_worker: int) -> None:
    torch.set_num_threads(1)
