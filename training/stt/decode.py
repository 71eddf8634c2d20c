"""What did the model hear? Greedy and beam search with at most one symbol a frame, as sherpa-onnx does, and CTC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.stt.model import Transducer
from training.stt.tokenizer import BLANK_ID

LabelScorer = Callable[[Sequence[int]], float]
"""Labels of a whole hypothesis to a log-probability, of a language model for instance."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    labels: tuple[int, ...]
    score: float  # log-probability


@torch.no_grad()
def greedy_search(
    model: Transducer, encoded: Tensor, lengths: Tensor, *, blank_penalty: float = 0.0
) -> list[list[int]]:
    """encoded (N, T, J), lengths (N,) → labels of each utterance. No synchronisation with the device until the end."""
    context = torch.full((encoded.shape[0], model.config.context_size), BLANK_ID, device=encoded.device)
    path = []
    for frame in encoded.unbind(1):
        logits = model.joiner(frame, model.predict(context))
        logits[:, BLANK_ID] -= blank_penalty
        best = logits.argmax(-1)
        shifted = torch.cat([context[:, 1:], best[:, None]], dim=1)
        context = torch.where((best != BLANK_ID)[:, None], shifted, context)
        path.append(best)
    rows = torch.stack(path, dim=1).tolist()
    return [
        [label for label in row[:length] if label != BLANK_ID]
        for row, length in zip(rows, lengths.tolist(), strict=True)
    ]


def ctc_greedy_search(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """log_probs (N, T, V), lengths (N,) → labels: repeats joined, blanks dropped."""
    results = []
    for row, length in zip(log_probs.argmax(-1), lengths.tolist(), strict=True):
        merged = torch.unique_consecutive(row[:length]).tolist()
        results.append([label for label in merged if label != BLANK_ID])
    return results


@torch.no_grad()
def beam_search(model: Transducer, encoded: Tensor, *, beam: int = 4, blank_penalty: float = 0.0) -> list[Hypothesis]:
    """One utterance, encoded (T, J) → hypotheses, best first; equal label sequences are merged."""
    hypotheses: dict[tuple[int, ...], float] = {(): 0.0}
    for frame in encoded:
        labels = list(hypotheses)
        contexts = torch.tensor([_context(item, model.config.context_size) for item in labels], device=encoded.device)
        logits = model.joiner(frame[None], model.predict(contexts))
        logits[:, BLANK_ID] -= blank_penalty
        scores = logits.log_softmax(-1) + torch.tensor(list(hypotheses.values()), device=encoded.device)[:, None]
        best, places = scores.flatten().topk(min(beam, scores.numel()))
        hypotheses = {}
        for score, place in zip(best.tolist(), places.tolist(), strict=True):
            parent, label = labels[place // scores.shape[1]], place % scores.shape[1]
            child = parent if label == BLANK_ID else (*parent, label)
            hypotheses[child] = _log_add(hypotheses.get(child), score)
    ranked = sorted(hypotheses.items(), key=lambda item: -item[1])
    return [Hypothesis(labels, score) for labels, score in ranked]


def rescore(
    hypotheses: Sequence[Hypothesis],
    ctc_log_probs: Tensor,
    *,
    ctc_weight: float = 0.0,
    language_model: LabelScorer | None = None,
    lm_weight: float = 0.0,
    length_bonus: float = 0.0,
) -> Hypothesis:
    """The best hypothesis by the transducer's score, the CTC head's over (T, V), a language model's and the length."""

    def total(hypothesis: Hypothesis) -> float:
        score = hypothesis.score + length_bonus * len(hypothesis.labels)
        if ctc_weight:
            score += ctc_weight * ctc_score(ctc_log_probs, hypothesis.labels)
        if language_model is not None:
            score += lm_weight * language_model(hypothesis.labels)
        return score

    return max(hypotheses, key=total)


def ctc_score(log_probs: Tensor, labels: Sequence[int]) -> float:
    """The log-probability of labels over all alignments; log_probs (T, V)."""
    targets = torch.tensor(labels, dtype=torch.long, device=log_probs.device)
    loss = functional.ctc_loss(
        log_probs[:, None],
        targets[None],
        torch.tensor([log_probs.shape[0]]),
        torch.tensor([len(labels)]),
        BLANK_ID,
        reduction="sum",
    )
    return -float(loss)


def _context(labels: Sequence[int], size: int) -> list[int]:
    return [BLANK_ID] * (size - len(labels)) + list(labels[-size:] if labels else [])


def _log_add(first: float | None, second: float) -> float:
    if first is None:
        return second
    return float(torch.logaddexp(torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)))
