"""How wrong is it? Word error rate, by jiwer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over a whole set."""

    words: int  # in the references
    substitutions: int
    deletions: int
    insertions: int

    @property
    def rate(self) -> float:
        """The word error rate, 0–1 (and above, with many insertions)."""
        return (self.substitutions + self.deletions + self.insertions) / max(1, self.words)

    def __str__(self) -> str:
        return (
            f"WER {100 * self.rate:.2f} % of {self.words} words "
            f"({self.substitutions} substituted, {self.deletions} deleted, {self.insertions} inserted)"
        )


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Word errors of hypotheses against their references, in the same order."""
    output = jiwer.process_words(list(references), list(hypotheses))
    words = output.hits + output.substitutions + output.deletions
    return WordErrors(words, output.substitutions, output.deletions, output.insertions)
