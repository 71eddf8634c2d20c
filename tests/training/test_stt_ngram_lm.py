"""N-gram models: probabilities sum to one, and the server's reader reads them."""

from __future__ import annotations

import math

import pytest

from ml.stt.helpers.arpa import ArpaModel
from training.errors import ConfigInvalid
from training.stt.train_ngram_lm import UNKNOWN, NgramCounts, read_texts, write_arpa

TEXTS = ["one two three", "one two two", "three", "two one", "one two three four"]


@pytest.mark.parametrize("history", [(), ("one",), ("<s>", "one"), ("one", "two"), ("four", "four")])
def test_probabilities_sum_to_one(history):
    counts = NgramCounts(TEXTS, order=3)
    words = [gram[0] for gram in counts.counts[0]] + [UNKNOWN]
    assert sum(counts.probability((*history, word)) for word in words) == pytest.approx(1.0)


def test_seen_order_is_likelier_than_unseen():
    counts = NgramCounts(TEXTS, order=3)
    assert counts.probability(("one", "two")) > counts.probability(("one", "four"))


def test_file_says_what_the_counts_say(tmp_path):
    counts = NgramCounts(TEXTS, order=3)
    write_arpa(counts, tmp_path / "lm.arpa")
    text = (tmp_path / "lm.arpa").read_text(encoding="utf-8")
    assert f"ngram 2={len(counts.counts[1])}" in text
    line = next(line for line in text.splitlines() if line.split("\t")[1:2] == ["one two three"])
    assert float(line.split("\t")[0]) == pytest.approx(
        math.log10(counts.probability(("one", "two", "three"))), abs=1e-5
    )
    assert ArpaModel.from_file(tmp_path / "lm.arpa").order == 3


def test_empty_text_is_an_error(tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(ConfigInvalid, match="empty"):
        NgramCounts(read_texts([tmp_path / "empty.txt"], []), order=2)


def test_reads_text_and_manifests(tmp_path, corpus):
    (tmp_path / "text.txt").write_text("Do  RE\n", encoding="utf-8")
    texts = read_texts([tmp_path / "text.txt"], [corpus])
    assert texts[:2] == ["do re", "do re mi"]
