"""Which symbols does the model write? Characters, words with a spelled fallback, or SentencePiece; any script.

Symbol 0 is the blank. `▁` stands for a space, as sherpa-onnx expects: a symbol that starts with it starts a word.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from training.errors import ConfigInvalid
from training.stt.config import TokenizerConfig

BLANK = "<blk>"
BLANK_ID = 0
SPACE = "▁"


class Tokenizer(Protocol):
    """Text to symbol ids and back."""

    symbols: tuple[str, ...]

    def encode(self, text: str) -> list[int]:
        """Symbol ids of normalised text, without blanks. Raises KeyError for a symbol outside the alphabet."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of symbol ids."""
        ...

    def alphabet(self) -> frozenset[str]:
        """The characters that `encode` accepts."""
        ...

    def to_json(self) -> dict[str, object]:
        """What `tokenizer_from_json` needs."""
        ...


def join_symbols(symbols: Iterable[str]) -> str:
    """Symbols to text, the way sherpa-onnx joins them."""
    return "".join(symbols).replace(SPACE, " ").strip()


class CharTokenizer:
    """One symbol a character, and one for the space between words."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    @classmethod
    def train(cls, alphabet: Iterable[str]) -> CharTokenizer:
        return cls([BLANK, SPACE, *sorted(set(alphabet) - {" "})])

    def encode(self, text: str) -> list[int]:
        return [self._ids[SPACE if character == " " else character] for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return join_symbols(self.symbols[index] for index in ids)

    def alphabet(self) -> frozenset[str]:
        return frozenset(self.symbols[2:])

    def to_json(self) -> dict[str, object]:
        return {"kind": "char", "symbols": list(self.symbols)}


class WordTokenizer:
    """Frequent words are one symbol; others are spelled with a word-initial and following characters.

    For small vocabularies: at most one symbol a frame is then no limit even for fast speech.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    @classmethod
    def train(cls, texts: Iterable[str], alphabet: Iterable[str], *, min_count: int) -> WordTokenizer:
        counts = Counter(word for text in texts for word in text.split())
        words = {SPACE + word for word, count in counts.items() if count >= min_count}
        letters = sorted(set(alphabet) - {" "})
        initials = {SPACE + letter for letter in letters}
        return cls([BLANK, *sorted(words | initials), *letters])

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in text.split():
            known = self._ids.get(SPACE + word)
            if known is None:
                ids += [self._ids[SPACE + word[0]], *(self._ids[letter] for letter in word[1:])]
            else:
                ids.append(known)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return join_symbols(self.symbols[index] for index in ids)

    def alphabet(self) -> frozenset[str]:
        return frozenset(symbol for symbol in self.symbols[1:] if len(symbol) == 1)

    def to_json(self) -> dict[str, object]:
        return {"kind": "word", "symbols": list(self.symbols)}


class LetterTokenizer:
    """One symbol a character, but words of one letter, as in spelling aloud, have symbols of their own.

    The name of a letter sounds unlike the letter in a word: "a" and "eight" share no sound that "a" would stand for.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    @classmethod
    def train(cls, alphabet: Iterable[str]) -> LetterTokenizer:
        letters = sorted(set(alphabet) - {" "})
        return cls([BLANK, SPACE, *letters, *(SPACE + letter for letter in letters)])

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in text.split():
            ids += [self._ids[SPACE + word]] if len(word) == 1 else [self._ids[letter] for letter in (SPACE + word)]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return join_symbols(self.symbols[index] for index in ids)

    def alphabet(self) -> frozenset[str]:
        return frozenset(symbol for symbol in self.symbols[2:] if len(symbol) == 1)

    def to_json(self) -> dict[str, object]:
        return {"kind": "letter", "symbols": list(self.symbols)}


class SentencePieceTokenizer:
    """A SentencePiece model; its own id 0 is the blank."""

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        size = self._processor.get_piece_size()
        self.symbols = (BLANK, *(self._processor.id_to_piece(index) for index in range(1, size)))

    @classmethod
    def train(
        cls, texts: Iterable[str], alphabet: Iterable[str], *, vocab_size: int, model_type: str
    ) -> SentencePieceTokenizer:
        import sentencepiece

        stream = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=stream,
                vocab_size=vocab_size,
                model_type=model_type,
                character_coverage=1.0,
                required_chars="".join(sorted(set(alphabet) - {" "})),
                normalization_rule_name="identity",
                unk_id=0,  # never written: the alphabet is checked first; its place is the blank's
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ConfigInvalid(f"tokenizer: SentencePiece cannot make {vocab_size} pieces: {error}") from error
        return cls(stream.getvalue())

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return join_symbols(self.symbols[index] for index in ids)

    def alphabet(self) -> frozenset[str]:
        return frozenset("".join(self.symbols[1:])) - {SPACE}

    def to_json(self) -> dict[str, object]:
        return {"kind": "sentencepiece", "model": self.model.hex()}


def train_tokenizer(config: TokenizerConfig, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer that a configuration asks for, made from the training texts."""
    alphabet = set(config.alphabet) if config.alphabet else set("".join(texts))
    if SPACE in alphabet:
        raise ConfigInvalid(f"tokenizer: {SPACE!r} stands for a space and cannot be in the alphabet")
    if config.kind == "char":
        return CharTokenizer.train(alphabet)
    if config.kind == "letter":
        return LetterTokenizer.train(alphabet)
    if config.kind == "word":
        return WordTokenizer.train(texts, alphabet, min_count=config.min_word_count)
    return SentencePieceTokenizer.train(texts, alphabet, vocab_size=config.vocab_size, model_type=config.model_type)


def tokenizer_from_json(data: dict[str, object]) -> Tokenizer:
    """The tokenizer that `to_json` described."""
    kind = data["kind"]
    if kind == "sentencepiece":
        return SentencePieceTokenizer(bytes.fromhex(str(data["model"])))
    symbols = data["symbols"]
    if not isinstance(symbols, list):
        raise ConfigInvalid("tokenizer: 'symbols' is not a list")
    kinds: dict[str, Callable[[Sequence[str]], Tokenizer]] = {
        "char": CharTokenizer,
        "letter": LetterTokenizer,
        "word": WordTokenizer,
    }
    return kinds[str(kind)](symbols)


def write_tokens(tokenizer: Tokenizer, path: Path) -> None:
    """`tokens.txt` for sherpa-onnx: `symbol id` a line."""
    lines = [f"{symbol} {index}" for index, symbol in enumerate(tokenizer.symbols)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
