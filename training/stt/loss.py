"""What is minimised? The RNN-T loss (Graves 2012) over full logits, and CTC over the last and the middle layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import rnnt_loss

from training.stt.config import LossConfig
from training.stt.model import Transducer
from training.stt.tokenizer import BLANK_ID


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean over the utterances of a batch; 0-dimensional float32."""

    total: Tensor
    rnnt: Tensor
    ctc: Tensor


class TrainingModule(nn.Module):
    """The model and its loss in one `forward`, which is what DistributedDataParallel wraps."""

    def __init__(self, model: Transducer, config: LossConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(self, features: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> Losses:
        """features (N, T, F), lengths (N,), targets (N, U) int32, target_lengths (N,) int32."""
        model = self.model
        x, middle, frames = model.encoder(features, lengths)
        ctc = ctc_loss(model.ctc(x), frames, targets, target_lengths)
        total = self.config.ctc_weight * ctc
        if self.config.inter_ctc_weight:
            inter = ctc_loss(model.inter_ctc(middle), frames, targets, target_lengths)
            total = total + self.config.inter_ctc_weight * inter
        rnnt = torch.zeros((), device=x.device)
        if self.config.rnnt_weight:
            predicted = model.predictor_project(model.predictor(model.predictor.with_context(targets)))
            logits = model.joiner(model.encoder_project(x)[:, :, None], predicted[:, None])
            rnnt = transducer_loss(logits, frames, targets, target_lengths)
            total = total + self.config.rnnt_weight * rnnt
        return Losses(total, rnnt.detach(), ctc.detach())  # only the total carries gradients


def transducer_loss(logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """logits (N, T, U + 1, V) → mean over utterances."""
    loss: Tensor = rnnt_loss(
        logits.float().contiguous(),  # it knows no bfloat16
        targets.int().contiguous(),
        frames.int(),
        target_lengths.int(),
        blank=BLANK_ID,
        reduction="mean",
    )
    return loss


def ctc_loss(logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """logits (N, T, V) → mean over utterances; one too short for its text counts nothing."""
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)
    losses = functional.ctc_loss(
        log_probs, targets.long(), frames, target_lengths.long(), BLANK_ID, reduction="none", zero_infinity=True
    )
    return losses.mean()
