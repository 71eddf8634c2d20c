"""Tokenizers: text comes back as it went in, in any script."""

from __future__ import annotations

import json

import pytest

from training.errors import ConfigInvalid
from training.stt.config import TokenizerConfig
from training.stt.tokenizer import tokenizer_from_json, train_tokenizer, write_tokens

TEXTS = ["नमस्ते दुनिया", "मेरा नाम क्या है", "வணக்கம் உலகம்", "நன்றி", "hello world", "e mail a b c"]


@pytest.mark.parametrize("kind", ["char", "letter", "word", "sentencepiece"])
def test_round_trip_in_any_script(kind):
    tokenizer = train_tokenizer(TokenizerConfig(kind=kind, vocab_size=90, min_word_count=1), TEXTS)
    again = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert 0 not in ids
        assert tokenizer.decode(ids) == text
        assert again.encode(text) == ids
    assert again.symbols == tokenizer.symbols
    assert len(set(tokenizer.symbols)) == len(tokenizer.symbols)


def test_rare_word_is_spelled_and_frequent_word_is_one_symbol():
    tokenizer = train_tokenizer(TokenizerConfig(kind="word", min_word_count=2), ["ja ja nein"])
    assert [tokenizer.symbols[index] for index in tokenizer.encode("ja nein")] == ["▁ja", "▁n", "e", "i", "n"]


def test_named_letter_is_not_the_letter_in_a_word():
    tokenizer = train_tokenizer(TokenizerConfig(kind="letter"), ["a eight"])
    assert [tokenizer.symbols[index] for index in tokenizer.encode("e he")] == ["▁e", "▁", "h", "e"]


def test_unknown_symbol_is_an_error():
    tokenizer = train_tokenizer(TokenizerConfig(kind="char"), ["abc"])
    with pytest.raises(KeyError):
        tokenizer.encode("abd")


def test_impossible_vocabulary_is_an_error():
    with pytest.raises(ConfigInvalid, match="SentencePiece"):
        train_tokenizer(TokenizerConfig(kind="sentencepiece", vocab_size=5000), TEXTS)


def test_tokens_file_is_sherpas(tmp_path):
    tokenizer = train_tokenizer(TokenizerConfig(kind="char"), ["ab c"])
    write_tokens(tokenizer, tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text(encoding="utf-8") == "<blk> 0\n▁ 1\na 2\nb 3\nc 4\n"
