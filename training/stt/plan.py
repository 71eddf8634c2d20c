"""What does one epoch consist of? A list of examples, each of one or more pieces of recordings, the same for a seed.

Besides the utterances themselves: whole utterances of one speaker joined, and words cut out by an alignment and put
together again ("splicing"), which teaches a small corpus's words in contexts that it never recorded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from training.stt.config import MixConfig
from training.stt.manifest import Utterance


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a recording and its text."""

    utterance: int  # index in the training set
    text: str
    start_seconds: float
    end_seconds: float  # infinity: to the end
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Example:
    """What the model sees once: pieces in order, and the seed of its variation."""

    pieces: tuple[Piece, ...]
    seed: tuple[int, ...]

    @property
    def text(self) -> str:
        return " ".join(piece.text for piece in self.pieces)

    @property
    def duration_seconds(self) -> float:
        return sum(piece.duration_seconds for piece in self.pieces)


class EpochPlanner:
    """Plans epochs from utterances; `words` are the pieces an alignment found, empty before it ran."""

    def __init__(self, utterances: Sequence[Utterance], config: MixConfig, *, seed: int) -> None:
        self._utterances = list(utterances)
        self._config = config
        self._seed = seed
        self._whole = [
            Piece(index, item.text, 0.0, float("inf"), item.duration_seconds) for index, item in enumerate(utterances)
        ]
        self._of_speaker: dict[str, list[int]] = defaultdict(list)
        for index, item in enumerate(utterances):
            self._of_speaker[item.speaker].append(index)
        self.words: list[Piece] = []

    def plan(self, epoch: int) -> list[Example]:
        """The examples of an epoch (counted from 1)."""
        rng = np.random.default_rng([self._seed, epoch])
        groups = [self._joined(index, rng) for index in self._drawn(rng)]
        if self.words:
            groups += self._spliced(round(self._config.splice_ratio * len(self._utterances)), rng)
        return [Example(tuple(group), (self._seed, epoch, number)) for number, group in enumerate(groups)]

    def _drawn(self, rng: Generator) -> list[int]:
        """Each utterance `weight` times; a fraction is drawn."""
        return [
            index
            for index, item in enumerate(self._utterances)
            for _ in range(int(item.weight) + int(rng.random() < item.weight % 1))
        ]

    def _joined(self, index: int, rng: Generator) -> list[Piece]:
        group = [self._whole[index]]
        if rng.random() >= self._config.concatenate_probability:
            return group
        mates = self._of_speaker[self._utterances[index].speaker]
        for _ in range(int(rng.integers(1, self._config.max_concatenated))):
            mate = self._whole[mates[int(rng.integers(len(mates)))]]
            if sum(piece.duration_seconds for piece in [*group, mate]) <= self._config.max_seconds:
                group.append(mate)
        return group

    def _spliced(self, count: int, rng: Generator) -> list[list[Piece]]:
        by_speaker: dict[str, list[Piece]] = defaultdict(list)
        by_word: dict[str, list[Piece]] = defaultdict(list)
        for piece in self.words:
            by_speaker[self._utterances[piece.utterance].speaker].append(piece)
            by_word[piece.text].append(piece)
        speakers = sorted(by_speaker)
        groups = []
        for _ in range(count):
            own = by_speaker[speakers[int(rng.integers(len(speakers)))]]
            if rng.random() < self._config.splice_real_text:
                group = self._real_sentence(own, by_word, rng)
            else:
                low, high = self._config.splice_words
                group = [own[int(rng.integers(len(own)))] for _ in range(int(rng.integers(low, high + 1)))]
            groups.append(self._shortened(group))
        return [group for group in groups if group]

    def _real_sentence(self, own: list[Piece], by_word: dict[str, list[Piece]], rng: Generator) -> list[Piece]:
        """Another utterance's text in one speaker's words, and in others' where the speaker never said one."""
        text = self._utterances[int(rng.integers(len(self._utterances)))].text
        group = []
        for word in text.split():
            choices = [piece for piece in own if piece.text == word] or by_word.get(word)
            if not choices:
                return []
            group.append(choices[int(rng.integers(len(choices)))])
        return group

    def _shortened(self, group: list[Piece]) -> list[Piece]:
        total = np.cumsum([piece.duration_seconds for piece in group])
        return [piece for piece, end in zip(group, total, strict=True) if end <= self._config.max_seconds]
