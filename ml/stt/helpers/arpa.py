"""N-gram language models in the ARPA format, with Katz back-off.

The format is described in the SRILM manual, ngram-format(5): sections of `log10 probability`, the words, and a back-off
weight. A word becomes a number when it is read and an n-gram a tuple of numbers, so that a model takes about 200 bytes
an n-gram; `min_log10` leaves out the rare ones of a model that is too large.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ml.artifacts import ModelFolder
from ml.errors import ModelInvalid
from ml.stt.engines.options import check_range, read_settings

MAX_NGRAMS = 5_000_000
"""About 1 GB. Larger models are to be pruned before they are installed."""

WEIGHT = 0.5
"""Of the logarithm beside the engine's score, which has the engine's own language model in it."""

WORD_BONUS = 1.0  # a word, weighted too: a model would else prefer to leave words out

_UNKNOWN_LOG10 = -7.0  # of a word that the model does not know, where it has no <unk>
_SECTION = re.compile(r"\\(\d+)-grams:")
_COUNT = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_LN10 = math.log(10)


@dataclass(frozen=True, slots=True)
class ArpaSettings:
    """`settings` of the `model.json`."""

    min_log10: float = -math.inf
    weight: float = WEIGHT
    word_bonus: float = WORD_BONUS

    def __post_init__(self) -> None:
        check_range("min_log10", self.min_log10, -math.inf, 0)
        check_range("weight", self.weight, 0, 5)
        check_range("word_bonus", self.word_bonus, -10, 10)


class ArpaModel:
    """A model in memory. Safe to use from several threads."""

    def __init__(
        self,
        lines: Iterable[str],
        *,
        min_log10: float = -math.inf,
        weight: float = WEIGHT,
        word_bonus: float = WORD_BONUS,
    ) -> None:
        """min_log10: n-grams of two words and more under this are left to back-off. weight, word_bonus: of `score`.

        Raises `ModelInvalid` for what is not ARPA.
        """
        self._weight, self._word_bonus = weight, word_bonus
        self._numbers: dict[str, int] = {}
        self._ngrams: dict[tuple[int, ...], tuple[float, float]] = {}
        self.order = 0
        self._read(iter(lines), min_log10)
        self._unknown = next((self._numbers[word] for word in ("<unk>", "<UNK>") if word in self._numbers), None)

    @classmethod
    def from_file(cls, path: Path, **options: float) -> ArpaModel:
        """Reads a file, compressed where its name ends in .gz. Raises `ModelInvalid`."""
        opener = gzip.open if path.suffix == ".gz" else open
        try:
            with opener(path, "rt", encoding="utf-8") as file:
                return cls(file, **options)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ModelInvalid(f"{path.name} cannot be read: {error}") from None

    def __len__(self) -> int:
        """The number of n-grams kept."""
        return len(self._ngrams)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def score(self, sentences: Sequence[Sequence[str]]) -> list[float]:
        """See `base.LanguageModel`."""
        return [
            self._weight * (self.log_probability(words) + self._word_bonus * len(words)) if self._weight else 0.0
            for words in sentences
        ]

    def log_probability(self, words: Sequence[str]) -> float:
        """Natural logarithm of the probability of a sentence, its end included; case does not count."""
        sentence = [self._number(word.lower()) for word in ("<s>", *words, "</s>")]
        return _LN10 * sum(
            self._conditional(tuple(sentence[max(0, at + 1 - self.order) : at + 1])) for at in range(1, len(sentence))
        )

    def _number(self, word: str) -> int:
        number = self._numbers.get(word, self._unknown)
        return -1 if number is None else number

    def _conditional(self, ngram: tuple[int, ...]) -> float:
        """log10 P(last | those before)."""
        found = self._ngrams.get(ngram)
        if found is not None:
            return found[0]
        if len(ngram) == 1:
            return _UNKNOWN_LOG10
        back_off = self._ngrams.get(ngram[:-1], (0.0, 0.0))[1]
        return back_off + self._conditional(ngram[1:])

    def _read(self, lines: Iterator[str], min_log10: float) -> None:
        self._read_header(lines)
        length = 0
        for raw in lines:
            line = raw.strip()
            if not line:
                continue
            if line == "\\end\\":
                break
            if section := _SECTION.fullmatch(line):
                length = int(section[1])
                continue
            if not length:  # what follows the counts is the first section
                continue
            self._add(line, length, min_log10)
        else:
            raise ModelInvalid("The ARPA file ends before \\end\\.")
        if not self._ngrams:
            raise ModelInvalid("The ARPA file holds no n-grams.")

    def _read_header(self, lines: Iterator[str]) -> None:
        """Up to the counts' end: the first section's name stays to be read."""
        for line in lines:
            if line.strip() == "\\data\\":
                break
        else:
            raise ModelInvalid("The ARPA file has no \\data\\ section.")
        total = 0
        for line in lines:
            if count := _COUNT.fullmatch(line.strip()):
                self.order = max(self.order, int(count[1]))
                total += int(count[2])
            elif not line.strip():
                break
        if not self.order:
            raise ModelInvalid("The ARPA file does not say how many n-grams it holds.")
        if total > MAX_NGRAMS:
            raise ModelInvalid(f"The ARPA file holds {total} n-grams; {MAX_NGRAMS} is the limit: prune it first.")

    def _add(self, line: str, length: int, min_log10: float) -> None:
        fields = line.split()
        if len(fields) not in (length + 1, length + 2) or length > self.order:
            raise ModelInvalid(f"The ARPA file has a wrong line among its {length}-grams: {line[:80]!r}.")
        try:
            log10, back_off = float(fields[0]), float(fields[length + 1]) if len(fields) > length + 1 else 0.0
        except ValueError:
            raise ModelInvalid(f"The ARPA file has a line without a probability: {line[:80]!r}.") from None
        if length > 1 and log10 < min_log10:
            return
        words = fields[1 : length + 1]
        numbers = tuple(self._numbers.setdefault(word.lower(), len(self._numbers)) for word in words)
        self._ngrams[numbers] = (log10, back_off)


def load(folder: ModelFolder) -> ArpaModel:
    """The model of a folder: its one file that ends in .arpa or .arpa.gz. Raises `ModelInvalid`."""
    settings = read_settings(folder.manifest, ArpaSettings)
    names = [name for name in folder.manifest.files if name.endswith((".arpa", ".arpa.gz"))]
    if len(names) != 1:
        raise ModelInvalid(f"{folder.manifest.id} must hold one .arpa or .arpa.gz file.")
    return ArpaModel.from_file(folder.file(names[0]), **asdict(settings))
