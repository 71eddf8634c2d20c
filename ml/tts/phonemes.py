"""From the International Phonetic Alphabet to espeak's mnemonics, for `<phoneme alphabet="ipa">`.

The mnemonics are Kirshenbaum's ASCII IPA with espeak's own additions; which of them a voice knows depends on its
language, and a voice leaves out those that it does not. The table covers English and the commonest other sounds.
"""

from __future__ import annotations

import unicodedata

_TABLE = {
    # Diphthongs, affricates and long vowels first: the longest match is taken.
    "aɪ": "aI", "eɪ": "eI", "ɔɪ": "OI", "oʊ": "oU", "əʊ": "oU", "aʊ": "aU", "ɪə": "i@", "eə": "e@", "ʊə": "U@",
    "tʃ": "tS", "dʒ": "dZ", "iː": "i:", "uː": "u:", "ɑː": "A:", "ɔː": "O:", "ɜː": "3:", "ɝ": "3:", "ɚ": "3",
    "eː": "e:", "oː": "o:", "aː": "a:", "ɛː": "E:", "yː": "y:", "øː": "Y:",
    "i": "i", "ɪ": "I", "e": "e", "ɛ": "E", "æ": "a", "a": "a", "ə": "@", "ɐ": "a#", "ʌ": "V", "ɑ": "A:", "ɒ": "0",
    "ɔ": "O", "o": "o", "ʊ": "U", "u": "u", "ɜ": "3:", "y": "y", "ø": "Y", "œ": "W", "ɨ": "i\"", "ɯ": "u-",
    "p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "ɡ": "g", "g": "g", "f": "f", "v": "v", "s": "s", "z": "z",
    "h": "h", "m": "m", "n": "n", "l": "l", "j": "j", "w": "w", "r": "r", "ɹ": "r", "ɾ": "t#", "θ": "T", "ð": "D",
    "ʃ": "S", "ʒ": "Z", "ŋ": "N", "ɲ": "n^", "x": "x", "ç": "C", "ʔ": "?", "c": "c", "q": "q", "ʁ": "R", "ɣ": "Q",
    "ʎ": "l^", "β": "B", "ɫ": "l", "ʈ": "t.", "ɖ": "d.", "ɳ": "n.", "ɭ": "l.", "ʂ": "s.", "ʐ": "z.",
    "ˈ": "'", "'": "'", "ˌ": ",", ",": ",", "ː": ":",
}  # fmt: skip
_SILENT = frozenset(".‿ \u0361\u035c\u032f\u0329\u02b0|")
"""Syllable and word marks, ties and diacritics that espeak does not tell apart."""


class UnknownPhoneme(ValueError):
    """`symbol` stands for no sound that we know."""

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.symbol = symbol


def from_ipa(ipa: str) -> str:
    """The mnemonics of `ipa`. Raises `UnknownPhoneme`."""
    # Affricates are written with a tie or without; "ç" decomposed would be a "c".
    symbols = unicodedata.normalize("NFC", ipa).replace("\u0361", "").replace("\u035c", "")
    mnemonics = []
    position = 0
    while position < len(symbols):
        found = next((size for size in (2, 1) if symbols[position : position + size] in _TABLE), 0)
        if found:
            mnemonics.append(_TABLE[symbols[position : position + found]])
        elif symbols[position] not in _SILENT:
            raise UnknownPhoneme(symbols[position])
        position += found or 1
    return "".join(mnemonics)
