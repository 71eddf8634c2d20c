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
    "ʎ": "l^", "β": "B", "ɫ": "l", "ɤ": "o-", "ɵ": "@.", "ʉ": "u\"",
    "χ": "X", "ɬ": "s", "ʋ": "v", "ʍ": "w", "ɦ": "h", "ɱ": "m",
    "ɥ": "j", "ʝ": "j", "ɸ": "f", "ɕ": "S", "ʑ": "Z", "ʏ": "y", "ɶ": "W", "ɽ": "*",
    "ɺ": "l", "ɧ": "S", "ʈ": "t.", "ɖ": "d.", "ɳ": "n.", "ɭ": "l.", "ʂ": "s.", "ʐ": "z.",
    "ˈ": "'", "'": "'", "ˌ": ",", ",": ",", "ː": ":",
}  # fmt: skip
_X_SAMPA = {
    "_h": "ʰ", "_}": "", "r\\": "ɹ", "h\\": "ɦ", "s\\": "ɕ", "z\\": "ʑ", "x\\": "ɧ", "l\\": "ɺ", "j\\": "ʝ",
    "p\\": "ɸ", "n`": "ɳ", "t`": "ʈ", "d`": "ɖ", "s`": "ʂ", "z`": "ʐ", "l`": "ɭ", "r`": "ɽ", "@`": "ɚ", "3`": "ɝ",
    "_j": "ʲ", "_~": "̃", "A": "ɑ", "B": "β", "C": "ç", "D": "ð", "E": "ɛ", "F": "ɱ", "G": "ɣ", "H": "ɥ", "I": "ɪ",
    "J": "ɲ", "K": "ɬ", "L": "ʎ", "M": "ɯ", "N": "ŋ", "O": "ɔ", "P": "ʋ", "Q": "ɒ", "R": "ʁ", "S": "ʃ", "T": "θ",
    "U": "ʊ", "V": "ʌ", "W": "ʍ", "X": "χ", "Y": "ʏ", "Z": "ʒ", "@": "ə", "{": "æ", "}": "ʉ", "1": "ɨ", "2": "ø",
    "3": "ɜ", "4": "ɾ", "5": "ɫ", "6": "ɐ", "7": "ɤ", "8": "ɵ", "9": "œ", "&": "ɶ", "?": "ʔ", ":": "ː", "%": "ˌ",
    "'": "ʲ", "~": "̃", "=": "̩", "g": "ɡ", "`": "˞",
    "\"": "ˈ",
}  # fmt: skip
"""X-SAMPA (Wells 1995), where it differs from the IPA."""

_SILENT = frozenset(".‿ \u0361\u035c\u032f\u0329\u0303\u02b0\u02b2\u02de|")
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


def from_x_sampa(written: str) -> str:
    """The IPA of X-SAMPA. Raises `UnknownPhoneme`."""
    symbols, position = [], 0
    while position < len(written):
        size = 2 if written[position : position + 2] in _X_SAMPA else 1
        symbol = written[position : position + size]
        if symbol not in _X_SAMPA and not (symbol.isascii() and symbol.islower()) and symbol not in ". |-_":
            raise UnknownPhoneme(symbol)
        symbols.append(_X_SAMPA.get(symbol, symbol.strip("-_|")))
        position += size
    return "".join(symbols)
