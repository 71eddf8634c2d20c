"""Make an n-gram language model from text, for rescoring: ARPA, with Witten-Bell smoothing (Witten and Bell 1991).

    python training/stt/train_ngram_lm.py --text corpus.txt --order 3 --output lm.arpa
    python training/stt/train_ngram_lm.py --manifest train.jsonl --output lm.arpa

Witten-Bell holds up on small corpora, where the counts of counts that Kneser-Ney needs are empty.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a script: imports start at the repository root, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from training.errors import ConfigInvalid, run_script
from training.stt.manifest import normalize_text

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NEVER_LOG10 = -99.0  # what ARPA files write for an event that is never predicted

Gram = tuple[str, ...]


class NgramCounts:
    """Counts of all n-grams up to an order, each sentence within `<s>` … `</s>`."""

    def __init__(self, texts: Iterable[str], *, order: int) -> None:
        self.order = order
        self.counts: list[Counter[Gram]] = [Counter() for _ in range(order)]
        for text in texts:
            words = [BEGIN, *text.split(), END]
            for length in range(1, order + 1):
                self.counts[length - 1].update(
                    tuple(words[start : start + length]) for start in range(len(words) - length + 1)
                )
        del self.counts[0][(BEGIN,)]  # it is given, never predicted
        if not self.counts[0]:
            raise ConfigInvalid("the text for the language model is empty")
        self._followers: dict[Gram, int] = defaultdict(int)  # distinct words seen after a history
        self._totals: dict[Gram, int] = defaultdict(int)  # and how often any was
        for counts in self.counts:
            for gram, count in counts.items():
                self._followers[gram[:-1]] += 1
                self._totals[gram[:-1]] += count

    def probability(self, gram: Gram) -> float:
        """Interpolated probability of a gram's last word after the others."""
        if not gram:
            return 1.0 / (len(self.counts[0]) + 1)  # all words, and the unknown one
        history = gram[:-1]
        total, kinds = self._totals[history], self._followers[history]
        shorter = self.probability(gram[1:])
        if not total:
            return shorter
        return (self.counts[len(gram) - 1][gram] + kinds * shorter) / (total + kinds)

    def back_off(self, history: Gram) -> float:
        """What is left, after a history, for words that never followed it: the weight of the shorter history."""
        total, kinds = self._totals[history], self._followers[history]
        return kinds / (total + kinds) if total else 1.0


def write_arpa(counts: NgramCounts, path: Path) -> None:
    """Write the model as ARPA, log10, words in sorted order."""
    grams: list[list[Gram]] = [sorted(level) for level in counts.counts]
    grams[0] = [(BEGIN,), *grams[0], (UNKNOWN,)]
    lines = ["\\data\\", *(f"ngram {length}={len(level)}" for length, level in enumerate(grams, start=1)), ""]
    for length, level in enumerate(grams, start=1):
        lines.append(f"\\{length}-grams:")
        lines += [_line(counts, gram, is_longest=length == counts.order) for gram in level]
        lines.append("")
    path.write_text("\n".join([*lines, "\\end\\", ""]), encoding="utf-8")


def _line(counts: NgramCounts, gram: Gram, *, is_longest: bool) -> str:
    log10 = NEVER_LOG10 if gram == (BEGIN,) else math.log10(counts.probability(gram))
    line = f"{log10:.6f}\t{' '.join(gram)}"
    if is_longest or gram[-1] in (END, UNKNOWN):
        return line
    return f"{line}\t{math.log10(counts.back_off(gram)):.6f}"


def read_texts(texts: Sequence[Path], manifests: Sequence[Path]) -> list[str]:
    """Sentences from text files, one a line, and from manifests; normalised as for training."""
    lines = [line for path in texts for line in path.read_text(encoding="utf-8").splitlines()]
    for path in manifests:
        lines += [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [normalized for line in lines if (normalized := normalize_text(line, lowercase=True))]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make an ARPA n-gram language model from text.")
    parser.add_argument("--text", type=Path, action="append", default=[], help="one sentence a line; repeatable")
    parser.add_argument("--manifest", type=Path, action="append", default=[], help="JSONL with `text`; repeatable")
    parser.add_argument("--order", type=int, default=3, choices=range(1, 7))
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    counts = NgramCounts(read_texts(arguments.text, arguments.manifest), order=arguments.order)
    write_arpa(counts, arguments.output)
    print(f"{arguments.output}: {', '.join(f'{len(level)} {n}-grams' for n, level in enumerate(counts.counts, 1))}")


if __name__ == "__main__":
    run_script(main)
