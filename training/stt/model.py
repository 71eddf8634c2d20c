"""What is the network? A Conformer encoder, a stateless predictor, a joiner, and CTC heads that help to train them.

Conformer: Gulati et al. 2020, with rotary positions (Su et al. 2021) and layer norm in the convolution module, which
masks padding: an utterance's output is the same alone and in any batch. Predictor: Ghodsi et al. 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.stt.config import ModelSettings
from training.stt.tokenizer import BLANK_ID

SUBSAMPLING = 4
ROTARY_BASE = 10000.0


def padding_mask(lengths: Tensor, size: Tensor | int) -> Tensor:
    """(N,) → (N, size) bool, true where an utterance is."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]  # type: ignore[arg-type]


def subsampled(lengths: Tensor) -> Tensor:
    """Frames of 10 ms to frames of 40 ms."""
    return ((lengths + 1) // 2 + 1) // 2


class Normalizer(nn.Module):
    """Features to zero mean and unit deviation, by the training data's figures; "utterance" takes its own mean."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, bins: int, *, per_utterance: bool) -> None:
        super().__init__()
        self.per_utterance = per_utterance
        self.register_buffer("mean", torch.zeros(bins))
        self.register_buffer("deviation", torch.ones(bins))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (N, T, F), mask (N, T) → (N, T, F), zero outside the mask."""
        keep = mask[:, :, None]
        if self.per_utterance:
            total = torch.where(keep, features, 0.0).sum(dim=1, keepdim=True)
            mean = total / mask.sum(dim=1)[:, None, None].clamp_min(1)
        else:
            mean = self.mean
        return torch.where(keep, (features - mean) / self.deviation, 0.0)


class Subsampling(nn.Module):
    """Two strided convolutions: 10 ms frames to 40 ms frames."""

    def __init__(self, bins: int, channels: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.project = nn.Linear(channels * ((bins + 3) // 4), d_model)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, F), (N,) → (N, T', d_model)."""
        x = functional.silu(self.conv1(features[:, None]))
        x = x * padding_mask((lengths + 1) // 2, x.shape[2])[:, None, :, None]
        x = functional.silu(self.conv2(x))
        x = x.transpose(1, 2).flatten(2)
        out: Tensor = self.dropout(self.norm(self.project(x)))
        return out


class FeedForward(nn.Sequential):
    def __init__(self, d_model: int, hidden: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, d_model),
            nn.Dropout(dropout),
        )


class Attention(nn.Module):
    """Self-attention with rotary positions; padding is no key."""

    def __init__(self, d_model: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """x (N, T, D), mask (N, T) → (N, T, D)."""
        count, time, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(count, time, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (N, H, T, D / H)
        query, key = rotate(query, rotation), rotate(key, rotation)
        dropout = self.dropout.p if self.training else 0.0
        y = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None, :], dropout_p=dropout
        )
        out: Tensor = self.dropout(self.out(y.transpose(1, 2).reshape(count, time, width)))
        return out


def rotation_tables(time: Tensor | int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary positions, each (time, width / 2)."""
    frequencies = ROTARY_BASE ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angles = torch.arange(time, device=device, dtype=torch.float32)[:, None] * frequencies  # type: ignore[arg-type]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """(N, H, T, D) turned by position."""
    cosine, sine = (table.to(x.dtype) for table in rotation)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class Convolution(nn.Module):
    """The Conformer's convolution module, with padding held at zero."""

    def __init__(self, d_model: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.expand = nn.Linear(d_model, 2 * d_model)
        self.depthwise = nn.Conv1d(d_model, d_model, kernel, padding=kernel // 2, groups=d_model)
        self.inner_norm = nn.LayerNorm(d_model)
        self.out = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (N, T, D), mask (N, T) → (N, T, D)."""
        x = functional.glu(self.expand(self.norm(x)), dim=-1) * mask[:, :, None]
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.dropout(self.out(functional.silu(self.inner_norm(x))))
        return out


class ConformerLayer(nn.Module):
    def __init__(self, config: ModelSettings) -> None:
        super().__init__()
        self.first = FeedForward(config.d_model, config.ffn_dim, config.dropout)
        self.attention = Attention(config.d_model, config.num_heads, config.dropout)
        self.convolution = Convolution(config.d_model, config.conv_kernel, config.dropout)
        self.second = FeedForward(config.d_model, config.ffn_dim, config.dropout)
        self.norm = nn.LayerNorm(config.d_model)
        self.drop = config.layer_drop

    def forward(self, x: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        y = x + 0.5 * self.first(x)
        y = y + self.attention(y, mask, rotation)
        y = y + self.convolution(y, mask)
        y = y + 0.5 * self.second(y)
        out: Tensor = self.norm(y)
        if self.training and self.drop:
            kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.drop
            out = torch.where(kept, out, x)
        return out


class Encoder(nn.Module):
    """Features to one vector every 40 ms."""

    def __init__(self, config: ModelSettings) -> None:
        super().__init__()
        self.head_width = config.d_model // config.num_heads
        self.normalizer = Normalizer(config.num_mel_bins, per_utterance=config.normalization == "utterance")
        self.subsampling = Subsampling(config.num_mel_bins, config.subsampling_channels, config.d_model, config.dropout)
        self.layers = nn.ModuleList(ConformerLayer(config) for _ in range(config.num_layers))

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """features (N, T, F), lengths (N,) → last layer (N, T', D), middle layer (N, T', D), lengths (N,)."""
        x = self.normalizer(features, padding_mask(lengths, features.shape[1]))
        x = self.subsampling(x, lengths)
        lengths = subsampled(lengths)
        mask = padding_mask(lengths, x.shape[1])
        rotation = rotation_tables(x.shape[1], self.head_width, x.device)
        middle = x
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x, mask, rotation)
            if number == (len(self.layers) + 1) // 2:
                middle = x
        return x, middle, lengths


class Predictor(nn.Module):
    """The last few labels to one vector."""

    def __init__(self, vocab_size: int, config: ModelSettings) -> None:
        super().__init__()
        self.context_size = config.context_size
        self.embedding = nn.Embedding(vocab_size, config.predictor_dim)
        self.convolution = nn.Conv1d(config.predictor_dim, config.predictor_dim, config.context_size, groups=1)
        self.dropout = nn.Dropout(config.predictor_dropout)

    def forward(self, labels: Tensor) -> Tensor:
        """labels (N, context + U − 1) int64 → (N, U, P); the context before an utterance is blanks."""
        x = self.dropout(self.embedding(labels.clamp_min(0))).transpose(1, 2)
        out: Tensor = functional.relu(self.convolution(x).transpose(1, 2))
        return out

    def with_context(self, targets: Tensor) -> Tensor:
        """Training targets (N, U) → (N, context + U) int64, so that there are U + 1 outputs."""
        return functional.pad(targets.long(), (self.context_size, 0), value=BLANK_ID)


class Joiner(nn.Module):
    """An encoder's and a predictor's projected vectors to logits."""

    def __init__(self, joiner_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.out = nn.Linear(joiner_dim, vocab_size)

    def forward(self, encoded: Tensor, predicted: Tensor) -> Tensor:
        """Broadcastable (…, J) and (…, J) → (…, V)."""
        logits: Tensor = self.out(torch.tanh(encoded + predicted))
        return logits


class Transducer(nn.Module):
    """The whole model."""

    def __init__(self, config: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.encoder = Encoder(config)
        self.predictor = Predictor(vocab_size, config)
        self.encoder_project = nn.Linear(config.d_model, config.joiner_dim)
        self.predictor_project = nn.Linear(config.predictor_dim, config.joiner_dim)
        self.joiner = Joiner(config.joiner_dim, vocab_size)
        self.ctc = nn.Linear(config.d_model, vocab_size)
        self.inter_ctc = nn.Linear(config.d_model, vocab_size)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ joiner input (N, T', J), CTC log-probabilities (N, T', V), lengths (N,)."""
        x, _, lengths = self.encoder(features, lengths)
        return self.encoder_project(x), self.ctc(x).log_softmax(-1), lengths

    def predict(self, labels: Tensor) -> Tensor:
        """The last labels (N, context) → joiner input (N, J)."""
        projected: Tensor = self.predictor_project(self.predictor(labels)[:, -1])
        return projected


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
