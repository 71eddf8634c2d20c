"""Hindi: numbers up to अरब, fractions (डेढ़, ढाई, साढ़े, सवा, पौने), money, percentages, times, dates, digits one by one.

Numbers are written in the digits 0–9 and grouped the Indian way: 12,34,567.
"""

# ruff: noqa: SIM905, PLR0911  long lists of words read better as text; a rule is a row of conditions

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from ml.stt.text.itn import Rewrite
from ml.stt.text.numbers import CODE_DIGITS, PHONE_DIGITS, SPELLED_UP_TO, core, is_counting
from ml.stt.text.tokens import split_marks
from ml.types import Word

_UNITS = """शून्य/ज़ीरो/जीरो एक दो तीन चार पाँच/पांच छह/छः/छे/छ: सात आठ नौ
दस ग्यारह बारह तेरह चौदह पंद्रह/पन्द्रह सोलह सत्रह अठारह/अट्ठारह उन्नीस
बीस इक्कीस बाईस/बाइस तेईस/तेइस चौबीस पच्चीस छब्बीस सत्ताईस/सत्ताइस अट्ठाईस/अट्ठाइस/अठाईस उनतीस/उन्तीस
तीस इकतीस/इकत्तीस बत्तीस तैंतीस/तेंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस/उन्तालीस
चालीस इकतालीस बयालीस/बयालिस तैंतालीस चौवालीस/चवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास/उन्चास
पचास इक्यावन बावन तिरपन/तिरेपन चौवन पचपन छप्पन सत्तावन अट्ठावन/अठावन उनसठ
साठ इकसठ बासठ तिरसठ/तिरेसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर
सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उन्यासी/उनासी
अस्सी इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी/सतासी अट्ठासी/अठासी नवासी
नब्बे इक्यानवे/इक्यानबे बानवे/बानबे तिरानवे/तिरानबे चौरानवे/चौरानबे पचानवे/पंचानवे/पचानबे छियानवे/छियानबे सत्तानवे/सत्तानबे
अट्ठानवे/अट्ठानबे निन्यानवे/निन्यानबे"""
_SCALES = {"सौ": 100, "हज़ार": 10**3, "हजार": 10**3, "लाख": 10**5, "करोड़": 10**7, "करोड": 10**7, "अरब": 10**9}
_HALF, _QUARTER = Fraction(1, 2), Fraction(1, 4)
_ALONE = {"डेढ़": 1 + _HALF, "ढाई": 2 + _HALF, "अढ़ाई": 2 + _HALF}
_SHIFTS = {"साढ़े": _HALF, "सवा": _QUARTER, "पौने": -_QUARTER}
_RUPEES = ("रुपये", "रुपए", "रुपया", "रुपयों", "रूपये", "रुपयें")
_DOLLARS = ("डॉलर", "डालर")
_PERCENT = ("प्रतिशत", "फ़ीसदी", "फीसदी", "परसेंट")
_CLOCK = ("बजे", "बजकर")
_MONTHS = "जनवरी फ़रवरी फरवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर सितम्बर अक्टूबर अक्तूबर नवंबर नवम्बर दिसंबर दिसम्बर".split()
_POINT = ("दशमलव", "पॉइंट", "प्वाइंट")


def _plain_form(text: str) -> str:
    """One spelling of each letter: a dot below may be part of a letter or stand behind it."""
    return unicodedata.normalize("NFC", text)


def _table(names: Sequence[str]) -> frozenset[str]:
    return frozenset(_plain_form(name) for name in names)


_NUMBERS = {_plain_form(name): value for value, names in enumerate(_UNITS.split()) for name in names.split("/")}
_SCALE_VALUES = {_plain_form(name): value for name, value in _SCALES.items()}
_ALONE_VALUES = {_plain_form(name): value for name, value in _ALONE.items()}
_SHIFT_VALUES = {_plain_form(name): value for name, value in _SHIFTS.items()}
_RUPEE_WORDS, _DOLLAR_WORDS, _PERCENT_WORDS = _table(_RUPEES), _table(_DOLLARS), _table(_PERCENT)
_CLOCK_WORDS, _MONTH_WORDS, _POINT_WORDS = _table(_CLOCK), _table(_MONTHS), _table(_POINT)


class HindiNormalizer:
    """`Normalizer` of Hindi."""

    def rewrites(self, words: Sequence[Word]) -> list[Rewrite]:
        cores = [_plain_form(core(word)) for word in words]
        # A number ends where a mark stands: what follows is another.
        stops = [bool(split_marks(word.text)[2]) for word in words]
        rewrites: list[Rewrite] = []
        at = 0
        while at < len(words):
            rewrite = _digits(cores, stops, at) or _number(cores, stops, at)
            if rewrite is None:
                at += 1
                continue
            if rewrite.text:
                rewrites.append(rewrite)
            at = rewrite.end
        return rewrites


def _number(cores: list[str], stops: list[bool], at: int) -> Rewrite | None:
    """The number that begins here with its unit; an empty text where it stays as it was said."""
    parsed = _parse(cores, stops, at)
    if parsed is None:
        return None
    end, value, decimals = parsed
    closed = stops[end - 1]
    unit = cores[end] if end < len(cores) and not closed else ""
    text = _write(value) + decimals
    if unit in _RUPEE_WORDS:
        return Rewrite(at, end + 1, "₹" + text)
    if unit in _DOLLAR_WORDS:
        return Rewrite(at, end + 1, "$" + text)
    if unit in _PERCENT_WORDS:
        return Rewrite(at, end + 1, text + "%")
    if unit in _CLOCK_WORDS and value < 13:
        minutes = int(value % 1 * 60)
        return Rewrite(at, end, f"{int(value)}:{minutes:02}" if minutes else str(int(value)))
    if unit in _MONTH_WORDS and value.denominator == 1 and 1 <= value <= 31:
        return Rewrite(at, end, text)
    spelled = value.denominator == 1 and value <= SPELLED_UP_TO and not decimals
    return Rewrite(at, end, "" if spelled or (end == at + 1 and value < 3) else text)


def _parse(cores: list[str], stops: list[bool], at: int) -> tuple[int, Fraction, str] | None:
    """The end of the number that begins here, its value and its decimals (".5")."""
    total, current, end = Fraction(0), None, at
    limit = 10**12  # each scale must be smaller than the one before: "दो लाख तीन हज़ार"
    while end < len(cores):
        word = cores[end]
        if word in _SCALE_VALUES and _SCALE_VALUES[word] < limit:
            scale = _SCALE_VALUES[word]
            if scale > 100 and current is None and end > at:
                break
            if scale == 100:
                current = (Fraction(1) if current is None else current) * 100
                limit = min(limit, 1000) if total else limit
            else:
                total += (Fraction(1) if current is None else current) * scale
                current, limit = None, scale
            end += 1
        else:
            simple = _simple(cores, end)
            if simple is None or (current is not None and (current % 100 or simple[1] >= 100)):
                break
            if current is not None and simple[1].denominator > 1:
                break
            current = (current or Fraction(0)) + simple[1]
            end = simple[0]
        if stops[end - 1]:
            break
    if end == at:
        return None
    decimals = ""
    if end < len(cores) and cores[end] in _POINT_WORDS and not stops[end - 1]:
        tail, digits = _spoken_digits(cores, stops, end + 1)
        if digits:
            end, decimals = tail, "." + digits
    return end, total + (current or 0), decimals


def _simple(cores: list[str], at: int) -> tuple[int, Fraction] | None:
    """0–99, or one with a fraction: "साढ़े तीन"."""
    word = cores[at]
    if word in _NUMBERS:
        return at + 1, Fraction(_NUMBERS[word])
    if word in _ALONE_VALUES:
        return at + 1, _ALONE_VALUES[word]
    if word in _SHIFT_VALUES and at + 1 < len(cores):
        if cores[at + 1] in _NUMBERS:
            return at + 2, _NUMBERS[cores[at + 1]] + _SHIFT_VALUES[word]
        if cores[at + 1] in _SCALE_VALUES:  # "सवा सौ" is 125, "पौने सौ" 75
            return at + 1, 1 + _SHIFT_VALUES[word]
    return None


def _digits(cores: list[str], stops: list[bool], at: int) -> Rewrite | None:
    """Digits one by one: seven or more are a telephone number, three or more a code."""
    end, digits = _spoken_digits(cores, stops, at)
    if len(digits) < CODE_DIGITS or (end < len(cores) and cores[end] in _SCALE_VALUES and not stops[end - 1]):
        return None
    if is_counting(digits):
        return Rewrite(at, end, "")
    kept = len(digits) >= PHONE_DIGITS or re.fullmatch(r"\d{3,6}", digits)
    return Rewrite(at, end, digits) if kept else None


def _spoken_digits(cores: list[str], stops: list[bool], at: int) -> tuple[int, str]:
    digits = ""
    while at < len(cores) and _NUMBERS.get(cores[at], 10) < 10:
        digits += str(_NUMBERS[cores[at]])
        at += 1
        if stops[at - 1]:
            break
    return at, digits


def _write(value: Fraction) -> str:
    if value.denominator > 1:
        return f"{float(value):g}"
    whole = str(int(value))
    if len(whole) <= 5 and int(value) < 10_000:
        return whole
    head, tail = whole[:-3], whole[-3:]
    return re.sub(r"(?<=\d)(?=(\d\d)+$)", ",", head) + "," + tail
