"""When was each word said? Forced alignment by the CTC head, with cuts at the quietest moment between two words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.functional import forced_align, merge_tokens

from training.stt.audio import Samples
from training.stt.features import FRAMES_PER_SECOND
from training.stt.model import SUBSAMPLING
from training.stt.plan import Piece
from training.stt.tokenizer import BLANK_ID, SPACE, Tokenizer

FRAME_SECONDS = SUBSAMPLING / FRAMES_PER_SECOND
EDGE_SECONDS = 0.25  # kept before the first word's first symbol and after the last word's last
ENERGY_STEP_SECONDS = 0.01
ENERGY_SMOOTHING = 5
SHORTEST_WORD_SECONDS = 0.08


def align_words(
    log_probs: Tensor, text: str, tokenizer: Tokenizer, samples: Samples, *, sample_rate: int, utterance: int
) -> list[Piece]:
    """log_probs (T, V) of one utterance → its words as pieces; none where the text does not fit the frames."""
    ids = tokenizer.encode(text)
    repeats = sum(first == second for first, second in pairwise(ids))
    if len(ids) + repeats > log_probs.shape[0]:
        return []
    targets = torch.tensor([ids], dtype=torch.int32, device=log_probs.device)
    path, scores = forced_align(log_probs[None].float().contiguous(), targets, blank=BLANK_ID)
    spans = merge_tokens(path[0], scores[0], blank=BLANK_ID)
    symbols = [tokenizer.symbols[index] for index in ids]
    frames = _word_frames(symbols, [(span.start, span.end) for span in spans])
    words = text.split()
    if len(frames) != len(words):
        return []
    cuts = _cuts(frames, samples, sample_rate)
    return [
        Piece(utterance, word, start, end, end - start)
        for word, start, end in zip(words, cuts, cuts[1:], strict=False)
        if end - start >= SHORTEST_WORD_SECONDS
    ]


def _word_frames(symbols: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last frame of each word from those of its symbols."""
    words: list[tuple[int, int]] = []
    starts_word = True
    for symbol, (start, end) in zip(symbols, spans, strict=True):
        starts_word = starts_word or symbol.startswith(SPACE)
        if symbol == SPACE:
            continue
        if starts_word:
            words.append((start, end))
        else:
            words[-1] = (words[-1][0], end)
        starts_word = False
    return words


def _cuts(frames: Sequence[tuple[int, int]], samples: Samples, sample_rate: int) -> list[float]:
    """The times in seconds that part the words: one more than there are words."""
    energy = _energy(samples, sample_rate)
    total = len(samples) / sample_rate
    cuts = [max(0.0, frames[0][0] * FRAME_SECONDS - EDGE_SECONDS)]
    for (_, end), (start, _) in pairwise(frames):
        low = int(end * FRAME_SECONDS / ENERGY_STEP_SECONDS)
        high = max(low + 1, int(start * FRAME_SECONDS / ENERGY_STEP_SECONDS))
        between = energy[low:high]
        quietest = low + int(np.argmin(between)) if len(between) else low
        cuts.append(min(total, quietest * ENERGY_STEP_SECONDS))
    cuts.append(min(total, frames[-1][1] * FRAME_SECONDS + EDGE_SECONDS))
    return cuts


def _energy(samples: Samples, sample_rate: int) -> NDArray[np.float64]:
    step = int(ENERGY_STEP_SECONDS * sample_rate)
    count = len(samples) // step
    power = np.square(samples[: count * step], dtype=np.float64).reshape(count, step).mean(axis=1)
    return np.convolve(np.log(power + 1e-10), np.ones(ENERGY_SMOOTHING) / ENERGY_SMOOTHING, mode="same")
