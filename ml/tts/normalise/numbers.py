"""Numbers as words: num2words for some fifty languages, indic_numtowords for those of India."""

from __future__ import annotations

import functools
from decimal import Decimal, InvalidOperation

from ml.tts.languages import primary

LARGEST = 10**15
"""From here on a number is read digit by digit."""
_INDIC = frozenset({"hi", "bn", "gu", "mr", "ta", "te", "kn", "ml", "or", "pa", "as"})
_INDIC_LARGEST = 10**9
_LARGEST = {**dict.fromkeys(_INDIC - {"hi"}, _INDIC_LARGEST), "am": 10**6}
"""In these languages from there on: indic-numtowords has no words for more, and num2words 0.5.14 does not return from
Amharic's millions."""

_CRORE = 10**7
_HINDI_ORDINALS = {1: "पहला", 2: "दूसरा", 3: "तीसरा", 4: "चौथा", 5: "पाँचवाँ", 6: "छठा"}
_POINT = {"hi": "दशमलव", "mr": "दशांश", "bn": "দশমিক"}
_MINUS = {"en": "minus", "hi": "ऋण"}


def parse(written: str) -> Decimal | None:
    """A number with its separators for thousands; None: it is none."""
    try:
        value = Decimal(written.replace(",", "").replace("\u00a0", "").replace("\u2212", "-"))
    except (InvalidOperation, ValueError):
        return None
    return value if value.is_finite() else None


def cardinal(value: Decimal | int, language: str) -> str | None:
    """ "three point one four". None: the language has no words here."""
    code = primary(language)
    value = Decimal(value)
    if value < 0:
        positive = cardinal(-value, language)
        return None if positive is None else f"{_MINUS.get(code, '-')} {positive}"
    whole = int(value)
    if whole >= _LARGEST.get(code, LARGEST):
        return digits(str(whole), language)
    fraction = format(value, "f").partition(".")[2]
    if code in _INDIC:
        words = _indic(whole, code)
        after = digits(fraction, language)
        return words if not fraction else None if after is None else f"{words} {_POINT.get(code, 'point')} {after}"
    if fraction and code == "en":
        return f"{_words(whole, code, 'cardinal')} point {digits(fraction, language)}"
    return _words(float(value) if fraction else whole, code, "cardinal")


def ordinal(value: int, language: str) -> str | None:
    """ "twenty third"."""
    code = primary(language)
    if not 0 <= value < _LARGEST.get(code, LARGEST):
        return None
    if code == "hi":
        return _HINDI_ORDINALS.get(value) or f"{_indic(value, code)}वाँ"
    return _words(value, code, "ordinal")


def year(value: int, language: str) -> str | None:
    """ "nineteen eighty four"; "उन्नीस सौ सैंतालीस"."""
    code = primary(language)
    if code == "hi" and 1100 <= value <= 1999:
        hundreds, rest = divmod(value, 100)
        return " ".join(filter(None, [_indic(hundreds, code), "सौ", _indic(rest, code) if rest else ""]))
    return _words(value, code, "year") if code == "en" and value > 0 else cardinal(value, language)


def digits(written: str, language: str) -> str | None:
    """Each for itself: "five zero"."""
    spoken = [cardinal(int(character), language) for character in written if character.isdecimal()]
    return None if None in spoken else " ".join(word for word in spoken if word)


@functools.lru_cache(maxsize=4096)
def _indic(value: int, code: str) -> str:
    """Of less than _INDIC_LARGEST; in Hindi of more."""
    from indic_numtowords import num2words

    if value >= _INDIC_LARGEST:
        crores, rest = divmod(value, _CRORE)
        return f"{_indic(crores, code)} करोड़ {_indic(rest, code) if rest else ''}".strip()
    return str(num2words(value, lang=code))


@functools.lru_cache(maxsize=4096)
def _words(value: float, code: str, to: str) -> str | None:
    import num2words

    if code not in num2words.CONVERTER_CLASSES:
        return None
    try:
        made = num2words.num2words(value, lang=code, to=to)
    except (NotImplementedError, OverflowError):  # it says that it has no words
        return None
    except (TypeError, ValueError, LookupError, RecursionError):
        # It has none and does not know: gaps in its tables (Korean, Polish, Amharic ordinals), fractions that it writes
        # with an exponent (Hungarian, Italian), Spanish ordinals without end.
        return None
    if code == "en":
        return str(made).replace(",", "").replace("-", " ")
    return str(made).strip() or None  # Arabic has empty words for some
