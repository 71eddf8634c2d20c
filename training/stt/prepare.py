"""What does a run need before its first step? Checked manifests, a tokenizer, the recordings, feature statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.stt.audio import AudioStore
from training.stt.config import RunConfig
from training.stt.dataset import collate
from training.stt.features import KaldiFbank
from training.stt.manifest import Utterance, check_symbols, data_hash, read_sources
from training.stt.tokenizer import Tokenizer, train_tokenizer

STATISTICS_UTTERANCES = 1000
DECODING_SECONDS = 240.0  # padded audio in a batch


@dataclass(frozen=True, slots=True)
class RunData:
    train: list[Utterance]
    dev: list[Utterance]
    tokenizer: Tokenizer
    train_audio: AudioStore
    dev_audio: AudioStore
    data_hash: str  # of the training data


def prepare(config: RunConfig, tokenizer: Tokenizer | None = None) -> RunData:
    """Everything a run reads, checked: raises ManifestInvalid before anything is computed."""
    lowercase = config.tokenizer.lowercase
    train = read_sources(config.data.train, config.data, lowercase=lowercase)
    dev = read_sources(config.data.dev, config.data, lowercase=lowercase)
    if config.tokenizer.alphabet:
        check_symbols(train + dev, frozenset(config.tokenizer.alphabet))
    tokenizer = tokenizer or train_tokenizer(config.tokenizer, [item.text for item in train])
    check_symbols(train + dev, tokenizer.alphabet())
    rate = config.model.sample_rate
    return RunData(
        train,
        dev,
        tokenizer,
        AudioStore([item.audio for item in train], sample_rate=rate, cache=config.data.cache_audio),
        AudioStore([item.audio for item in dev], sample_rate=rate, cache=config.data.cache_audio),
        data_hash(train),
    )


def feature_batches(
    store: AudioStore, durations: Sequence[float], fbank: KaldiFbank, device: torch.device
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Unvaried features for decoding: indices, features (N, T, F), lengths (N,); short ones first."""
    order = sorted(range(len(durations)), key=lambda index: durations[index])
    group: list[int] = []
    for place, index in enumerate(order):
        group.append(index)
        following = durations[order[place + 1]] if place + 1 < len(order) else float("inf")
        if following * (len(group) + 1) > DECODING_SECONDS:
            batch = collate([store.read(item) for item in group], [[] for _ in group])
            features, lengths = fbank(batch.samples.to(device), batch.sample_lengths.to(device))
            yield group, features, lengths
            group = []


def feature_statistics(
    store: AudioStore, durations: Sequence[float], fbank: KaldiFbank, device: torch.device, *, per_utterance: bool
) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each bin, (F,) twice; the deviation around each utterance's own mean if asked."""
    step = max(1, len(durations) // STATISTICS_UTTERANCES)
    chosen = range(0, len(durations), step)
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for index in chosen:
        batch = collate([store.read(index)], [[]])
        features = fbank(batch.samples.to(device), batch.sample_lengths.to(device))[0][0].double()
        total = total.to(device) + features.sum(0)
        centred = features - features.mean(0) if per_utterance else features
        squares = squares.to(device) + centred.square().sum(0)
        count += len(features)
    mean = total / count
    variance = squares / count - (0 if per_utterance else mean.square())
    return mean.float(), variance.clamp_min(1e-4).sqrt().float()
