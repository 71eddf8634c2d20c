"""Text as it is written to text as it is said, for engines that know letters or phonemes and nothing of numbers.

    spoken("Dr. Lee paid $5.20 on 2024-05-01.", "en-US")
    # → "Doctor Lee paid five dollars and twenty cents on May first, twenty twenty-four."

English and Hindi have words for numbers, dates, times, money, measures, abbreviations, addresses, symbols and
emoji; some fifty other languages for whole numbers and decimals (num2words, indic_numtowords). What no
rule knows stays as it is.
"""

from __future__ import annotations

from ml.tts.normalise.rules import Rewrite, rewrites

__all__ = ["Rewrite", "rewrites", "spoken"]


def spoken(text: str, language: str) -> str:
    """`text` with every rewrite made. language: BCP-47."""
    parts, position = [], 0
    for rewrite in rewrites(text, language):
        parts += [text[position : rewrite.start], rewrite.spoken]
        position = rewrite.end
    return "".join([*parts, text[position:]])
