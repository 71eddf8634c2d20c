"""What does a model make of a whole set? Greedy decoding in batches, for evaluation while training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from training.stt.audio import AudioStore
from training.stt.decode import beam_search, ctc_greedy_search, greedy_search
from training.stt.features import KaldiFbank
from training.stt.manifest import Utterance
from training.stt.model import Transducer
from training.stt.prepare import feature_batches
from training.stt.tokenizer import Tokenizer

Search = Literal["greedy", "beam", "ctc"]


@torch.no_grad()
def recognize(
    model: Transducer,
    tokenizer: Tokenizer,
    utterances: Sequence[Utterance],
    store: AudioStore,
    *,
    search: Search = "greedy",
    beam: int = 4,
    blank_penalty: float = 0.0,
) -> list[str]:
    """The model's text for each utterance, in their order. The model must be in evaluation mode."""
    device = next(model.parameters()).device
    config = model.config
    fbank = KaldiFbank(sample_rate=config.sample_rate, num_mel_bins=config.num_mel_bins).to(device)
    texts = [""] * len(utterances)
    durations = [item.duration_seconds for item in utterances]
    for indices, features, lengths in feature_batches(store, durations, fbank, device):
        encoded, ctc, frames = model.encode(features, lengths)
        if search == "greedy":
            labels = greedy_search(model, encoded, frames, blank_penalty=blank_penalty)
        elif search == "ctc":
            labels = ctc_greedy_search(ctc, frames)
        else:
            labels = [
                list(beam_search(model, row[:length], beam=beam, blank_penalty=blank_penalty)[0].labels)
                for row, length in zip(encoded, frames.tolist(), strict=True)
            ]
        for index, ids in zip(indices, labels, strict=True):
            texts[index] = tokenizer.decode(ids)
    return texts
