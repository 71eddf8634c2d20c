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
            encoded = model.encoder_project(x)[:, :, None]
            steps = frames
            if self.config.alignment == "one_per_frame":
                encoded, steps = skew(encoded, frames, target_lengths, labels=predicted.shape[1])
            logits = model.joiner(encoded, predicted[:, None])
            rnnt = transducer_loss(logits, steps, targets, target_lengths)
            total = total + self.config.rnnt_weight * rnnt
        return Losses(total, rnnt.detach(), ctc.detach())  # only the total carries gradients


def skew(encoded: Tensor, frames: Tensor, target_lengths: Tensor, *, labels: int) -> tuple[Tensor, Tensor]:
    """Let a symbol use up its frame, as search does: encoded (N, T, 1, J) → (N, T − U, labels, J), and T − U.

    Emitting at frame t then leads to frame t + 1, so after u symbols the k-th blank is at frame k + u: on encoder
    frames shifted by u the ordinary recursion runs over exactly these paths; the last frame is a blank, as ever. A
    text longer than its frames, which no such path can write, is read off its last frame.
    """
    steps = (frames - target_lengths).clamp_min(1)
    last = encoded.shape[1] - 1
    shifts = torch.arange(labels, device=encoded.device)
    index = torch.arange(int(steps.max()), device=encoded.device)[:, None] + shifts
    return encoded[:, index.clamp_max(last), 0], steps


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
