"""What a library offers that computes Whisper: one encoder pass, language probabilities, one search, one alignment.

`whisper_ctranslate2` and `whisper_openai` are two of them; `ml.stt.engines.whisper` decides what to do with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
HOP = 160  # samples a mel frame
WINDOW_SECONDS = 30
FRAMES = WINDOW_SECONDS * SAMPLE_RATE // HOP
SAMPLES_PER_TEMPERATURE = 5


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the decoder reads before it writes."""

    previous: tuple[int, ...]  # tokens of earlier text and of hotwords; may be empty
    language: str  # ISO 639-1
    task: str


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for the best text."""

    max_tokens: int
    beam_size: int = 1  # 1: greedy
    patience: float = 1.0
    no_repeat_ngram: int = 0  # tokens; 0: any may come again
    temperature: float = 0.0  # over 0: the best of `SAMPLES_PER_TEMPERATURE` samples
    hypotheses: int = 1  # how many texts are wanted, at most as many as the beam is wide


@dataclass(frozen=True, slots=True)
class Draft:
    """What one search found."""

    tokens: tuple[int, ...]  # of text only
    log_prob: float  # mean over the tokens and the end of text
    no_speech_prob: float

    @property
    def score(self) -> float:
        """Natural logarithm of the probability of the whole text."""
        return self.log_prob * (len(self.tokens) + 1)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the tokens of a text are."""

    token_probs: NDArray[np.float32]  # (tokens,)
    path: NDArray[np.int64]  # (steps, 2): token, encoder position; both rising


class Tokenizer(Protocol):
    """Of one language and task; faster-whisper's and openai-whisper's both are."""

    eot: int

    @property
    def sot_sequence(self) -> Sequence[int]: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, tokens: list[int]) -> str: ...
    def split_to_word_tokens(self, tokens: list[int]) -> tuple[list[str], list[list[int]]]: ...


class Backend(Protocol):
    """One library's Whisper. `encoded` is its own type: the encoder's output for a batch."""

    mel_bins: int
    multilingual: bool  # so that language and task stand in its prompts
    detects: bool  # whether `detect` works
    max_prompt_tokens: int

    def tokenizer(self, language: str, task: str) -> Tokenizer: ...
    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T,) float32 in [-1, 1], 16 kHz → the log-mel spectrogram (mel_bins, T // 160), as Whisper scales it."""
        ...

    def encode(self, mels: NDArray[np.float32]) -> Any:
        """(N, mel_bins, T) float32, T even → the encoder's output."""
        ...

    def take(self, encoded: Any, rows: Sequence[int]) -> Any: ...
    def detect(self, encoded: Any) -> list[dict[str, float]]:
        """The probability of each language, for each row."""
        ...

    def search(self, encoded: Any, prompts: Sequence[Prompt], search: Search) -> list[list[Draft]]:
        """What each row may say, the best first, at least one; prompts are equally long."""
        ...

    def align(
        self, encoded: Any, prompt: Prompt, texts: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[Alignment]:
        """texts: the tokens of each row; frames: its mel frames that are not padding."""
        ...

    def close(self) -> None: ...
