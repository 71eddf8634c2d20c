"""What `<say-as>` means, as words that every engine can speak.

https://www.w3.org/TR/ssml-sayas/ names the kinds; its formats of dates are "mdy", "ymd", "dm", "y" and so on, of times
"hms12" and "hms24". Content that is not of its kind is spoken as it is written, as the note asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import regex

from ml.tts.languages import primary
from ml.tts.normalise import numbers, rules, spoken

KINDS = (
    "characters", "spell-out", "verbatim", "digits", "cardinal", "number", "ordinal", "date", "time", "currency",
    "telephone", "unit", "fraction",
)  # fmt: skip
DATE_FORMATS = ("mdy", "dmy", "ymd", "md", "dm", "ym", "my", "yd", "dy", "d", "m", "y")
TIME_FORMATS = ("hms12", "hms24")

_SPELT = frozenset({"characters", "spell-out", "verbatim"})


def check_format(kind: str, form: str) -> str | None:
    """Why a format may not stand with a kind; None: it may."""
    allowed = {"date": DATE_FORMATS, "time": TIME_FORMATS}.get(kind)
    if form and allowed and form not in allowed:
        return f"The format of a {kind} is one of {', '.join(allowed)}"
    return None


def is_spelt(kind: str) -> bool:
    """Letter by letter, which engines that spell do better themselves."""
    return kind in _SPELT


def expand(content: str, kind: str, form: str, language: str) -> str | None:
    """The words for `content`; None: it is spoken as it is written. language: BCP-47."""
    expander = _EXPANDERS.get(kind)
    return expander(content.strip(), form, language) if expander else None


def _digits(content: str, _form: str, _language: str) -> str | None:
    """Apart, so that each is read for itself in any language."""
    return " ".join(character for character in content if character.isdecimal()) or None


def _cardinal(content: str, _form: str, language: str) -> str | None:
    value = numbers.parse(content)
    return None if value is None else numbers.cardinal(value, language)


def _ordinal(content: str, _form: str, language: str) -> str | None:
    value = numbers.parse(regex.sub(r"(?:st|nd|rd|th|\.|º|ª|वाँ|वां)$", "", content))
    return None if value is None or value != int(value) else numbers.ordinal(int(value), language)


def _date(content: str, form: str, language: str) -> str | None:
    parts = regex.findall(r"\d+", content)
    if not form:
        form = _usual_form(parts, language)
    if len(parts) != len(form) or not parts or regex.search(r"\p{L}", content):
        return None
    found = dict(zip(form, parts, strict=True))
    year = rules.full_year(int(found["y"]), found["y"]) if "y" in found else None
    month, day = (int(found[key]) if key in found else None for key in "md")
    return rules.say_date(year, month, day, language)


def _usual_form(parts: list[str], language: str) -> str:
    if parts and len(parts[0]) == 4:
        return "ymd"[: len(parts)]
    if len(parts) == 2 and len(parts[1]) == 4:
        return "my"
    return ("mdy" if rules.month_first(language) else "dmy")[: len(parts)]


def _time(content: str, form: str, language: str) -> str | None:
    found = regex.fullmatch(r"(\d{1,2})(?:[:.h](\d{2}))?(?:[:.](\d{2}))?\s*([aApP])?\.?[mM]?\.?", content)
    if found is None:
        return None
    half = {"a": "am", "p": "pm"}.get((found[4] or "").lower(), "")
    hour = int(found[1])
    if form == "hms12" and not half and hour < 24:
        hour, half = hour % 12 or 12, "am" if hour < 12 else "pm"
    return rules.say_time(hour, int(found[2] or 0), int(found[3]) if found[3] else None, half, language)


def _currency(content: str, form: str, language: str) -> str | None:
    found = regex.fullmatch(r"(?P<a>[^\d\s-]*)\s*(?P<n>-?\d[\d,]*(?:\.\d+)?)\s*(?P<b>[^\d\s]*)", content)
    return found and rules.say_money(found["n"], found["a"] or found["b"] or form, "", language)


def _telephone(content: str, _form: str, language: str) -> str | None:
    """Digit by digit, a pause where the groups part."""
    groups = [" ".join(group) for group in regex.findall(r"\d+", content)]
    plus = "plus " if content.startswith("+") and primary(language) == "en" else ""
    return plus + ", ".join(groups) if groups else None


def _written(content: str, _form: str, language: str) -> str | None:
    said = spoken(content, language)
    return None if said == content else said


_EXPANDERS: dict[str, Callable[[str, str, str], str | None]] = {
    "digits": _digits, "cardinal": _cardinal, "number": _cardinal, "ordinal": _ordinal, "date": _date, "time": _time,
    "currency": _currency, "telephone": _telephone, "unit": _written, "fraction": _written,
}  # fmt: skip
