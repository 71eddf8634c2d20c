"""What is written with digits and signs, found and said: a sentence at a time, each rule what none before it took."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import regex

from ml.tts.languages import primary
from ml.tts.normalise import numbers
from ml.tts.normalise.words import BY_LANGUAGE, Words


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`spoken` stands for the characters from `start` to `end`."""

    start: int
    end: int
    spoken: str


@dataclass(frozen=True, slots=True)
class _Tongue:
    """A language, and its words."""

    tag: str  # BCP-47
    words: Words

    @property
    def english(self) -> bool:
        return primary(self.tag) == "en"


Say = Callable[["regex.Match[str]", _Tongue], str | None]
"""What a match is said as; None: it is left to other rules."""

_NUMBER = r"\d+(?:,\d{2,3})*(?:\.\d+)?"
_PLAIN = regex.compile(r"[^\p{Nd}\p{No}\p{S}@&#%*_|/.§•~^]*")
_AMOUNT = regex.compile(rf"(?<![\w.])[-\u2212]?{_NUMBER}(?![\w])")


def rewrites(text: str, language: str) -> list[Rewrite]:
    """In order, none over another. language: BCP-47."""
    if _PLAIN.fullmatch(text):
        return []
    words = BY_LANGUAGE.get(primary(language))
    found = _plain_numbers(text, language) if words is None else _by_rules(text, _Tongue(language, words))
    return sorted(found, key=lambda rewrite: rewrite.start)


def _plain_numbers(text: str, language: str) -> Iterator[Rewrite]:
    """For a language of which we only know the numbers: those without separators, whose meaning differs."""
    for found in regex.finditer(r"(?<![\w.,])\d+(?![\w]|[.,]\d)", text):
        spoken = numbers.cardinal(int(found.group()), language)
        if spoken is not None:
            yield Rewrite(found.start(), found.end(), spoken)


def _by_rules(text: str, tongue: _Tongue) -> list[Rewrite]:
    made: list[Rewrite] = []
    taken = bytearray(len(text))
    for pattern, say in _RULES:
        for found in pattern.finditer(text):
            start, end = found.span()
            if start == end or any(taken[start:end]):
                continue
            spoken = say(found, tongue)
            if spoken is None:
                continue
            taken[start:end] = b"\1" * (end - start)
            made.append(Rewrite(start, end, _fitted(text, start, end, spoken)))
    return made


def _fitted(text: str, start: int, end: int, spoken: str) -> str:
    """With a space towards a neighbour that is a letter or a digit."""
    before = " " if start and spoken[:1].isalnum() and text[start - 1].isalnum() else ""
    return before + spoken + (" " if spoken and end < len(text) and text[end].isalnum() else "")


# ── Addresses and emoji ─────────────────────────────────────────────────────────────────────────────────────────────


def _email(found: regex.Match[str], tongue: _Tongue) -> str:
    local, _, host = found.group().partition("@")
    return f"{_spelt(local, tongue)} {tongue.words.at} {_spelt(host, tongue)}"


def _url(found: regex.Match[str], tongue: _Tongue) -> str:
    bare = regex.sub(r"^(?:https?|ftp)://", "", found.group(), flags=regex.IGNORECASE)
    return _spelt(bare.rstrip("/"), tongue)


def _spelt(address: str, tongue: _Tongue) -> str:
    """Words as words, signs by their names, numbers digit by digit."""
    words = tongue.words
    names = {".": words.dot, "/": words.slash, "-": "dash" if tongue.english else "डैश", "_": "underscore", ":": "colon"}
    names |= {
        "?": "question mark",
        "=": "equals",
        "&": words.and_,
        "+": "plus",
        "#": "hash",
        "%": words.percent,
        "~": "",
    }
    parts = []
    for token in regex.findall(r"[\p{L}\p{M}]+|\d+|\S", address):
        spoken = numbers.digits(token, tongue.tag) if token.isdecimal() else names.get(token, token)
        parts.append("w w w" if token.lower() == "www" else spoken or "")
    return " ".join(filter(None, parts))


def _emoji(found: regex.Match[str], tongue: _Tongue) -> str:
    known = tongue.words.emoji
    written = found.group().replace("\ufe0f", "")
    if known is not None:
        return f" {known.get(written) or known.get(written[0], '')} "
    if regex.fullmatch(r"\p{Regional_Indicator}{2}", written):
        letters = " ".join(chr(ord(character) - 0x1F1E6 + ord("A")) for character in written)
        return f" flag {letters} "
    return f" {unicodedata.name(written[0], '').lower().replace('-', ' ')} "


# ── Dates and times ─────────────────────────────────────────────────────────────────────────────────────────────────


def say_date(year: int | None, month: int | None, day: int | None, tongue_tag: str) -> str | None:
    """ "May first, twenty twenty four". None: no such date, or no words for it."""
    words = BY_LANGUAGE.get(primary(tongue_tag))
    if words is None or not (month is None or 1 <= month <= 12) or not (day is None or 1 <= day <= 31):
        return None
    name = words.months[month - 1] if month else ""
    spoken_year = (numbers.year(year, tongue_tag) if year is not None else "") or ""
    if primary(tongue_tag) == "hi":
        spoken_day = numbers.cardinal(day, tongue_tag) if day else ""
        return " ".join(filter(None, [spoken_day, name, spoken_year])) or None
    spoken_day = (numbers.ordinal(day, tongue_tag) if day else "") or ""
    both = " ".join(filter(None, [name, spoken_day]))
    return (
        f"{both}, {spoken_year}" if both and spoken_day and spoken_year else f"{both} {spoken_year}".strip()
    ) or None


def month_first(language: str) -> bool:
    """Whether 5/6 is in May: in the United States."""
    return language.lower() in ("en", "en-us", "en-us-x-nyc", "en-ph")


def _iso_date(found: regex.Match[str], tongue: _Tongue) -> str | None:
    year, month, day = map(int, found.groups())
    return say_date(year, month, day, tongue.tag)


def _numeric_date(found: regex.Match[str], tongue: _Tongue) -> str | None:
    first, second, year = (int(part) for part in found.group(1, 3, 4))
    month, day = (first, second) if month_first(tongue.tag) else (second, first)
    if month > 12:
        month, day = day, month
    return say_date(full_year(year, found.group(4)), month, day, tongue.tag)


def full_year(year: int, written: str) -> int:
    """Two digits mean the nearest such year: up to 49 this century."""
    return year if len(written) > 2 else year + (2000 if year < 50 else 1900)


def _day_month(found: regex.Match[str], tongue: _Tongue) -> str | None:
    month = tongue.words.month_names.get(found["month"].rstrip(".").lower())
    if month is None:
        return None
    year = int(found["year"]) if found["year"] else None
    spoken = say_date(year, month, int(found["day"]), tongue.tag)
    if spoken is None or not tongue.english or not found["first"]:
        return spoken
    day = numbers.ordinal(int(found["day"]), tongue.tag)
    name = tongue.words.months[month - 1]
    return f"the {day} of {name}" + (f" {numbers.year(year, tongue.tag)}" if year is not None else "")


def say_time(hour: int, minute: int, second: int | None, half: str, tongue_tag: str) -> str | None:
    """half: "am", "pm" or ""."""
    if not (hour <= 24 and minute < 60 and (second or 0) < 60):
        return None
    said = numbers.cardinal(hour, tongue_tag)
    if said is None:
        return None
    if primary(tongue_tag) == "hi":
        minutes = f"{numbers.cardinal(minute, tongue_tag)} मिनट" if minute else ""
        day = {"am": "सुबह", "pm": "शाम"}.get(half, "")
        return " ".join(filter(None, [day, said, "बजकर" if minute else "बजे", minutes]))
    parts = [said]
    if minute:
        parts.append(
            f"oh {numbers.cardinal(minute, tongue_tag)}" if minute < 10 else str(numbers.cardinal(minute, tongue_tag))
        )
    elif not half:
        parts.append("o'clock" if 0 < hour <= 12 else "hundred hours")
    if second:
        parts.append(f"and {numbers.cardinal(second, tongue_tag)} {'second' if second == 1 else 'seconds'}")
    return " ".join([*parts, *({"am": ["a m"], "pm": ["p m"]}.get(half, []))])


def _time(found: regex.Match[str], tongue: _Tongue) -> str | None:
    half = (found["half"] or "").replace(".", "").lower()
    second = int(found["second"]) if found["second"] else None
    return say_time(int(found["hour"]), int(found["minute"] or 0), second, half, tongue.tag)


# ── Amounts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def say_money(amount: str, sign: str, scale: str, tongue_tag: str) -> str | None:
    """ "five dollars and twenty cents"; "three million euros"."""
    words = BY_LANGUAGE.get(primary(tongue_tag))
    currency = words.currencies.get(sign) or words.currencies.get(sign.upper()) if words else None
    value = numbers.parse(amount)
    if words is None or currency is None or value is None:
        return None
    if scale:
        return f"{numbers.cardinal(value, tongue_tag)} {words.scales[scale]} {currency.major[1]}"
    whole, small = int(abs(value)), int(abs(value) * 100) % 100
    parts = [f"{numbers.cardinal(whole, tongue_tag)} {currency.major[whole != 1]}"] if whole or not small else []
    if small:
        parts.append(f"{numbers.cardinal(small, tongue_tag)} {currency.minor[small != 1]}")
    sign_word = f"{numbers.cardinal(-1, tongue_tag)}".split()[0] + " " if value < 0 else ""
    return sign_word + f" {words.and_} ".join(parts)


def _money(found: regex.Match[str], tongue: _Tongue) -> str | None:
    scale = found["scale"] or ""
    if scale and scale not in tongue.words.scales:
        return None
    return say_money((found["minus"] or "") + found["amount"], found["sign"].strip(), scale, tongue.tag)


def _money_behind(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return say_money(found["amount"], found["sign"], "", tongue.tag)


def _percent(found: regex.Match[str], tongue: _Tongue) -> str | None:
    spoken = _cardinal_of(found["amount"], tongue)
    return None if spoken is None else f"{spoken} {tongue.words.percent}"


def _measure(found: regex.Match[str], tongue: _Tongue) -> str | None:
    unit = tongue.words.units.get(found["unit"])
    value = numbers.parse(found["amount"])
    if unit is None or value is None:
        return None
    return f"{numbers.cardinal(value, tongue.tag)} {unit[abs(value) != 1]}"


def _ordinal(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return numbers.ordinal(int(found.group(1)), tongue.tag)


def _fraction(found: regex.Match[str], tongue: _Tongue) -> str | None:
    above, below = int(found.group(1)), int(found.group(2))
    if not tongue.english or not 2 <= below <= 100 or not above:
        return None
    name = {2: "half", 4: "quarter"}.get(below) or numbers.ordinal(below, tongue.tag)
    plural = "halves" if below == 2 else f"{name}s"
    return f"{numbers.cardinal(above, tongue.tag)} {name if above == 1 else plural}"


def _range(found: regex.Match[str], tongue: _Tongue) -> str | None:
    first, second = (_number_words(part, tongue) for part in found.groups())
    return None if first is None or second is None else f"{first} {tongue.words.to} {second}"


def _telephone(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return say_telephone(found.group(), tongue.tag)


def say_telephone(written: str, language: str) -> str | None:
    """Digit by digit, a pause where the groups part."""
    groups = [numbers.digits(group, language) for group in regex.findall(r"\d+", written)]
    if not groups or None in groups:
        return None
    plus = "plus " if written.lstrip().startswith("+") and primary(language) == "en" else ""
    return plus + ", ".join(group for group in groups if group)


def _numbered(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return f"{tongue.words.number} {_cardinal_of(found.group(1), tongue)}"


def _number(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return _number_words(found.group(), tongue)


def _number_words(written: str, tongue: _Tongue) -> str | None:
    """Four digits of the last millennium or of this century are a year."""
    if regex.fullmatch(r"1[1-9]\d\d|20\d\d", written):
        return numbers.year(int(written), tongue.tag)
    if regex.fullmatch(r"0\d+", written):
        return numbers.digits(written, tongue.tag)
    return _cardinal_of(written, tongue)


def _cardinal_of(written: str, tongue: _Tongue) -> str | None:
    value = numbers.parse(written)
    return None if value is None else numbers.cardinal(value, tongue.tag)


def _digits_in_a_name(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return numbers.digits(found.group(), tongue.tag) if len(found.group()) > 2 else _cardinal_of(found.group(), tongue)


# ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _abbreviation(found: regex.Match[str], tongue: _Tongue) -> str | None:
    spoken = tongue.words.abbreviations.get(found.group())
    return f"{spoken}." if spoken and found.end() == len(found.string.rstrip()) else spoken


def _number_sign(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return tongue.words.number if tongue.english else None


def _saint(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return "Saint" if tongue.english else None


def _street(found: regex.Match[str], tongue: _Tongue) -> str | None:
    return {"St.": "Street", "Rd.": "Road", "Dr.": "Drive"}[found.group()] if tongue.english else None


def _symbol(found: regex.Match[str], tongue: _Tongue) -> str | None:
    spoken = tongue.words.symbols.get(found.group())
    return None if spoken is None else spoken if spoken in (",", "", " ") else f" {spoken} "


_MONTH = r"(?P<month>[\p{L}\p{M}]{3,12}\.?)"
_YEAR = r"(?P<year>\d{4})"
_SIGN = r"(?:US|C|A)?\$|[€£₹¥₽₩]|\b(?:USD|EUR|GBP|INR|JPY|CHF|CAD|AUD|RUB|KRW|CNY|Rs\.?)|(?<!\w)रु\.?"
_SCALE = r"(?:\s?(?P<scale>hundred|thousand|million|billion|trillion|lakh|crore|bn|[kKmMB]|हज़ार|हजार|लाख|करोड़|अरब)\b)?"
_UNIT = r"(?P<unit>km/h|m/s|m²|km²|m³|°[CF]?|कि\.मी\.|कि\.ग्रा\.|[\p{L}\p{M}]{1,6})(?![\p{L}\p{M}\p{Nd}/])"
_HALF = r"(?P<half>[aApP]\.?[mM](?:\.(?!\s+\p{Lu}|\s*$)|\b))"

_RULES: tuple[tuple[regex.Pattern[str], Say], ...] = tuple(
    (regex.compile(pattern), say)
    for pattern, say in (
        (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+", _email),
        (r"(?:(?i:https?|ftp)://|\b(?i:www)\.)[^\s<>\"'”’»]*[\w/]", _url),
        (r"\b[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63}){0,4}\.(?:com|org|net|edu|gov|io|dev|in|de|uk|fr)\b"
         r"(?:/[^\s<>\"'”’»]*[\w/])?", _url),
        (r"\p{Regional_Indicator}{2}|(?![\d#*©®™])\p{Extended_Pictographic}"
         r"(?:\ufe0f|\p{Emoji_Modifier}|\u200d\p{Extended_Pictographic})*", _emoji),
        (r"(?<![\w/-])(\d{4})-(\d{1,2})-(\d{1,2})(?![\w/-])", _iso_date),
        (r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?![\w/-])", _numeric_date),
        (rf"\b(?P<first>)(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?\b", _day_month),
        (rf"\b{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+{_YEAR})?\b(?P<first>(?!))?(?![:.]\d)", _day_month),
        (rf"\b(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\s?{_HALF})?(?![\w:])(?:\s?बजे)?", _time),
        (rf"\b(?P<hour>\d{{1,2}})(?P<minute>(?!))?(?P<second>(?!))?\s?{_HALF}", _time),
        (rf"(?P<minus>[-\u2212])?(?P<sign>{_SIGN})\s?(?P<amount>{_NUMBER}){_SCALE}(?!\w)", _money),
        (rf"(?<![\w.])(?P<amount>{_NUMBER})\s?(?P<sign>[€£₹¥]|(?:USD|EUR|GBP|INR|JPY)\b)", _money_behind),
        (rf"(?<![\w.])(?P<amount>[-\u2212]?{_NUMBER})\s?%", _percent),
        (r"(?<![\w.])(?:\+\d{1,3}[\s.-]?(?:\(?\d{1,4}\)?[\s.-]?){1,6}\d{2,}|\(\d{3}\)\s?\d{3}[-.\s]\d{4}"
         r"|\d{3}[-.]\d{3}[-.]\d{4}|\d{3}-\d{4}|\d{5}[\s-]\d{5})(?!\w)", _telephone),
        (rf"(?<![\w.])(?P<amount>[-\u2212]?{_NUMBER})\s?{_UNIT}", _measure),
        (r"\b(\d+)(?:st|nd|rd|th)\b", _ordinal),
        (r"(?<![\w/.])(\d{1,3})/(\d{1,3})(?![\w/])", _fraction),
        (rf"(?<![\w.-])({_NUMBER})\s?[–-]\s?({_NUMBER})(?![\w-])", _range),
        (rf"#({_NUMBER})(?!\w)", _numbered),
        (r"\bNo\.(?=\s?\d)", _number_sign),
        (r"\bSt\.(?=\s\p{Lu})", _saint),
        (r"(?<=\p{Ll}\s)(?:St|Rd|Dr)\.(?=\s?(?:[,;]|\p{Ll}|$))", _street),
        (r"(?<![\w.])(?:[\p{L}\p{M}]{1,6}\.){1,3}", _abbreviation),
        (_AMOUNT.pattern, _number),
        (r"\d+", _digits_in_a_name),
        (r"[\p{S}@&#%*_|§•~^½¼¾⅓⅔]", _symbol),
    )
)  # fmt: skip
