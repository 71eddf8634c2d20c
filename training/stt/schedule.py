"""How large is a step? Linear warm-up, then a cosine to zero, Noam's inverse root, or a constant."""

from __future__ import annotations

import math

from training.stt.config import TrainerConfig


def learning_rate(step: int, config: TrainerConfig) -> float:
    """The learning rate of optimizer step `step`, counted from 1."""
    warmup = max(1, config.warmup_steps)
    if step < warmup:
        return config.peak_learning_rate * step / warmup
    if config.schedule == "noam":
        return config.peak_learning_rate * math.sqrt(warmup / step)
    if config.schedule == "constant":
        return config.peak_learning_rate
    progress = min(1.0, (step - warmup) / max(1, config.max_steps - warmup))
    return config.peak_learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
