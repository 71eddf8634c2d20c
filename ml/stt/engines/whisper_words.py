"""Words with times and confidences, from Whisper's tokens and where their cross-attention looked."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ml.stt.engines.whisper_backend import Alignment, Tokenizer
from ml.types import Word

SECONDS_PER_POSITION = 0.02  # of the encoder's output: two mel frames

_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"


def words_of(tokenizer: Tokenizer, tokens: list[int], alignment: Alignment, seconds: float) -> tuple[Word, ...]:
    """Words with the punctuation that touches them; a word's confidence is the mean of its tokens' probabilities."""
    texts, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    edges = np.cumsum([0, *(len(part) for part in parts[:-1])])
    first = np.concatenate(([True], np.diff(alignment.path[:, 0]) != 0))  # the step at which a token begins
    begins = alignment.path[first, 1] * SECONDS_PER_POSITION
    words: list[Word] = []
    for text, left, right in zip(texts[:-1], edges[:-1], edges[1:], strict=True):
        start = min(seconds, float(begins[min(left, len(begins) - 1)]))
        end = min(seconds, float(begins[min(right, len(begins) - 1)]))
        confidence = float(np.mean(alignment.token_probs[left:right]))
        words.append(Word(text, rounded(start), rounded(max(start, end)), rounded(min(1.0, max(0.0, confidence)))))
    return tuple(_merge_punctuation(words))


def _merge_punctuation(words: Sequence[Word]) -> list[Word]:
    """Opening marks join the next word, others the one before; the word's times and confidence stay its own."""
    merged: list[Word] = []
    opening = ""
    for word in words:
        mark = word.text.strip()
        if word.text.startswith(" ") and mark and mark in _PREPENDED:
            opening += mark
        elif merged and mark and all(letter in _APPENDED or letter in string.punctuation for letter in mark):
            merged[-1] = replace(merged[-1], text=merged[-1].text + mark)
        elif mark:
            merged.append(replace(word, text=opening + mark))
            opening = ""
    return merged


def rounded(value: float) -> float:
    """To what float32 in another batch shape leaves unchanged."""
    return round(value, 3)
