"""English: numbers, money, percentages, times, dates, years, digits one by one, addresses on the net."""

# ruff: noqa: SIM905, PLR0911  long lists of words read better as text; a rule is a row of conditions

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from ml.stt.text.itn import Rewrite
from ml.stt.text.numbers import (
    CODE_DIGITS,
    PHONE_DIGITS,
    SPELLED_UP_TO,
    Item,
    core,
    is_counting,
    read_items,
    write_digits,
    write_number,
)
from ml.stt.text.tokens import split_marks
from ml.types import Word

_DIGITS = {
    **{name: str(value) for value, name in enumerate("zero one two three four five six seven eight nine".split())},
    "oh": "0",
    "o": "0",
}
_REPEATS = {"double": 2, "triple": 3}
_MONTHS = frozenset("january february march april may june july august september october november december".split())
_CURRENCIES = {
    **dict.fromkeys(("dollar", "dollars"), "$"),
    **dict.fromkeys(("euro", "euros"), "€"),
    **dict.fromkeys(("rupee", "rupees"), "₹"),
    "yen": "¥",
}
_CENTS = frozenset(("cent", "cents"))
_HALVES = {"am": "a.m.", "a.m": "a.m.", "pm": "p.m.", "p.m": "p.m."}
_TOP_DOMAINS = frozenset("com org net edu gov io co uk in de fr ai app dev info".split())
_JOINERS = {"dot": ".", "underscore": "_", "dash": "-", "hyphen": "-"}
_YEAR_CUES = frozenset("in since year until by from of".split()) | _MONTHS

Found = tuple[int, list[Rewrite]]
"""How many items a rule used up, and what it makes of them."""


class EnglishNormalizer:
    """`Normalizer` of English."""

    def rewrites(self, words: Sequence[Word]) -> list[Rewrite]:
        return sorted(self._find(words), key=lambda rewrite: rewrite.start)

    def _find(self, words: Sequence[Word]) -> list[Rewrite]:
        taken = _addresses(words)
        taken += _digit_runs(words, {index for rewrite in taken for index in range(rewrite.start, rewrite.end)})
        blocked = {index for rewrite in taken for index in range(rewrite.start, rewrite.end)}
        for free, group in itertools.groupby(range(len(words)), key=lambda index: index not in blocked):
            if free:
                indexes = list(group)
                offset = indexes[0]
                items = _with_half_days(read_items(words[offset : indexes[-1] + 1], "en"))
                taken += [replace(r, start=r.start + offset, end=r.end + offset) for r in _rewrite_items(items)]
        return taken


def _rewrite_items(items: list[Item]) -> list[Rewrite]:
    rewrites: list[Rewrite] = []
    at = 0
    while at < len(items):
        used, made = next((found for rule in _RULES if (found := rule(items, at))), (1, []))
        rewrites += made
        at += used
    return rewrites


# ── Rules over items, the most specific first ───────────────────────────────────────────────────────────────────────


def _date(items: list[Item], at: int) -> Found | None:
    """May twenty first twenty twenty four → May 21, 2024; the first of May → the 1st of May."""
    first, day = items[at], _at(items, at + 1)
    if first.core in _MONTHS and not first.closed and day and _is_day(day) and not _at_unit(items, at + 2):
        year = _year(items, at + 2)
        text = str(int(day.value or 0))
        if year is None or day.closed:
            return 2, [Rewrite(day.start, day.end, text)]
        return 2 + year[0], [Rewrite(day.start, day.end, text + ","), *year[1]]
    of, month = _at(items, at + 1), _at(items, at + 2)
    if first.ordinal and _is_day(first) and of and of.core == "of" and month and month.core in _MONTHS:
        return 3, [Rewrite(first.start, first.end, first.digits)]
    return None


def _year(items: list[Item], at: int) -> Found | None:
    """Nineteen eighty four → 1984; twenty twenty → 2020; nineteen oh five → 1905; two thousand one → 2001."""
    first, second = _at(items, at), _at(items, at + 1)
    if first is None or first.whole is None:
        return None
    if 1000 <= first.whole <= 2999:
        return 1, [Rewrite(first.start, first.end, str(first.whole))]
    cued = at > 0 and items[at - 1].core in _YEAR_CUES
    lowest = 10 if cued else 16
    if first.closed or second is None or second.whole is None or not lowest <= first.whole <= 20:
        return None
    if len(second.digits) == 2 and 1 <= second.whole <= 99 and not _at_unit(items, at + 2):
        return 2, [Rewrite(first.start, second.end, f"{first.whole}{second.digits}")]
    return None


def _time(items: list[Item], at: int) -> Found | None:
    """Five thirty p m → 5:30 p.m.; at five thirty → at 5:30; half past five → 5:30; five o'clock → 5 o'clock."""
    first, second, third = items[at], _at(items, at + 1), _at(items, at + 2)
    relative = _relative_time(items, at)
    if relative:
        return relative
    if not _is_hour(first) or first.closed or second is None:
        return None
    if second.core in _HALVES:
        return 2, [Rewrite(first.start, second.end, f"{first.whole} {_HALVES[second.core]}")]
    if second.core in ("o'clock", "oclock"):
        return 2, [Rewrite(first.start, first.end, str(first.whole))]
    if not _is_minute(second):
        return None
    clock = f"{first.whole}:{second.digits.zfill(2)}"
    if not second.closed and third and third.core in _HALVES:
        return 3, [Rewrite(first.start, third.end, f"{clock} {_HALVES[third.core]}")]
    if at and items[at - 1].core == "at" and not _at_unit(items, at + 2):
        return 2, [Rewrite(first.start, second.end, clock)]
    return None


def _relative_time(items: list[Item], at: int) -> Found | None:
    first, second, third = items[at], _at(items, at + 1), _at(items, at + 2)
    if second is None or third is None or first.closed or second.closed or not _is_hour(third):
        return None
    minutes = {"half": 30, "quarter": 15}.get(first.core, first.whole if _is_minute(first) else None)
    if minutes is None or third.whole is None or second.core not in ("past", "to") or _at_unit(items, at + 3):
        return None
    if first.core not in ("half", "quarter") and minutes % 5:
        return None  # "three to five" is a range
    if first.core not in ("half", "quarter") and second.core == "to" and not (at and items[at - 1].core == "at"):
        return None
    if second.core == "to":
        if minutes == 30:
            return None
        return 3, [Rewrite(first.start, third.end, f"{(third.whole - 2) % 12 + 1}:{60 - minutes:02}")]
    return 3, [Rewrite(first.start, third.end, f"{third.whole}:{minutes:02}")]


def _money(items: list[Item], at: int) -> Found | None:
    """Five dollars and twenty cents → $5.20; two million euros → €2 million."""
    amount, unit = items[at], _at(items, at + 1)
    if amount.value is None or amount.ordinal or amount.closed or unit is None:
        return None
    sign = _CURRENCIES.get(unit.core)
    if unit.core == "pounds" and (sterling := _at(items, at + 2)) and sterling.core == "sterling":
        return 3, [Rewrite(amount.start, sterling.end, "£" + write_number(amount))]
    if sign is None:
        return None
    joined = _at(items, at + 2)
    skip = 1 if joined and joined.core == "and" else 0
    cents, cent_unit = _at(items, at + 2 + skip), _at(items, at + 3 + skip)
    if not unit.closed and cents and cents.whole is not None and cent_unit and cent_unit.core in _CENTS:
        text = f"{sign}{amount.digits}.{cents.whole:02}"
        return 4 + skip, [Rewrite(amount.start, cent_unit.end, text)]
    return 2, [Rewrite(amount.start, unit.end, sign + write_number(amount))]


def _percent(items: list[Item], at: int) -> Found | None:
    amount, unit, cent = items[at], _at(items, at + 1), _at(items, at + 2)
    if amount.value is None or amount.ordinal or amount.closed or unit is None:
        return None
    if unit.core == "percent":
        return 2, [Rewrite(amount.start, unit.end, f"{amount.digits}%")]
    if unit.core == "per" and cent and cent.core == "cent":
        return 3, [Rewrite(amount.start, cent.end, f"{amount.digits}%")]
    return None


def _negative(items: list[Item], at: int) -> Found | None:
    """Minus five → -5, but not "ten minus five"."""
    amount = _at(items, at + 1)
    if items[at].core != "minus" or items[at].closed or amount is None or amount.value is None or amount.ordinal:
        return None
    if at and items[at - 1].value is not None:
        return None
    return 2, [Rewrite(items[at].start, amount.end, "-" + write_number(amount))]


def _hundred(items: list[Item], at: int) -> Found | None:
    """A hundred → 100: the article is part of the number."""
    number = _at(items, at + 1)
    if items[at].core != "a" or items[at].closed or number is None or number.whole is None:
        return None
    if number.core.split()[0] not in ("hundred", "thousand", "million", "billion"):
        return None
    rest = next((found for rule in (_money, _percent) if (found := rule(items, at + 1))), None)
    used, rewrites = rest or (1, [Rewrite(number.start, number.end, write_number(number))])
    return used + 1, [replace(rewrites[0], start=items[at].start), *rewrites[1:]]


def _plain(items: list[Item], at: int) -> Found | None:
    item = items[at]
    if item.value is None or (item.value <= SPELLED_UP_TO and item.value == int(item.value) and "." not in item.digits):
        return None
    return 1, [Rewrite(item.start, item.end, write_number(item))]


_RULES: tuple[Callable[[list[Item], int], Found | None], ...] = (
    _date,
    _time,
    _money,
    _percent,
    _year,
    _negative,
    _hundred,
    _plain,
)


def _at(items: list[Item], index: int) -> Item | None:
    return items[index] if index < len(items) else None


def _at_unit(items: list[Item], index: int) -> bool:
    """Whether a unit follows, which the number before it belongs to."""
    item = _at(items, index)
    return item is not None and (item.core in _CURRENCIES or item.core in ("percent", "per", "cents", "hundred"))


def _is_day(item: Item) -> bool:
    return item.value is not None and item.value == int(item.value) and 1 <= item.value <= 31


def _is_hour(item: Item) -> bool:
    return item.whole is not None and 1 <= item.whole <= 12


def _is_minute(item: Item) -> bool:
    return item.whole is not None and (10 <= item.whole <= 59 or (len(item.digits) == 2 and item.whole < 10))


def _with_half_days(items: list[Item]) -> list[Item]:
    """ "a m" and "p m" said as letters are one item."""
    joined: list[Item] = []
    for item in items:
        last = joined[-1] if joined else None
        if item.core in ("m", "m.") and last and last.core in ("a", "p") and not last.closed and _after_number(joined):
            joined[-1] = Item(last.start, item.end, last.core + "m", item.closed)
        else:
            joined.append(item)
    return joined


def _after_number(items: list[Item]) -> bool:
    return len(items) > 1 and items[-2].value is not None


# ── Digits one by one ───────────────────────────────────────────────────────────────────────────────────────────────


def _digit_runs(words: Sequence[Word], blocked: set[int]) -> list[Rewrite]:
    """Seven digits in a row or more are one number, also over short pauses; three or more are a code."""
    rewrites: list[Rewrite] = []
    at = 0
    while at < len(words):
        end, digits, marks = _read_digits(words, at, blocked)
        if len(digits) >= PHONE_DIGITS and not is_counting(digits):
            rewrites.append(_phone(words, at, end, digits))
        elif marks and digits:
            end = marks[0]  # a shorter run ends at its first pause
            digits = _read_digits(words[:end], at, blocked)[1]
        if CODE_DIGITS <= len(digits) < PHONE_DIGITS and not is_counting(digits) and not _unit_follows(words, end):
            rewrites.append(Rewrite(at, end, digits))
        at = max(end, at + 1)
    return rewrites


def _phone(words: Sequence[Word], start: int, end: int, digits: str) -> Rewrite:
    international = start > 0 and core(words[start - 1]) == "plus"
    return Rewrite(start - 1, end, "+" + digits) if international else Rewrite(start, end, write_digits(digits))


def _unit_follows(words: Sequence[Word], at: int) -> bool:
    return at < len(words) and core(words[at]) in ("hundred", "thousand", "million", "point")


def _read_digits(words: Sequence[Word], at: int, blocked: set[int]) -> tuple[int, str, list[int]]:
    """The end of the run that begins here, its digits, and behind which words a mark stands within it."""
    digits, marks, start = "", [], at
    while at < len(words) and at not in blocked:
        word = core(words[at])
        following = core(words[at + 1]) if at + 1 < len(words) else ""
        if word in _REPEATS and following in _DIGITS and not split_marks(words[at].text)[2]:
            digits += _DIGITS[following] * _REPEATS[word]
            at += 2
        elif word in _DIGITS and (word not in ("o", "oh") or digits):
            digits += _DIGITS[word]
            at += 1
        else:
            break
        mark = split_marks(words[at - 1].text)[2]
        if mark and mark != ",":
            break
        if mark:
            marks.append(at)
    if at < len(words) and _belongs_to_next(words, at) and at > start:
        at, digits = at - 1, digits[:-1]  # "one two three hundred": the last digit counts hundreds
    return at, digits, [mark for mark in marks if mark < at]


def _belongs_to_next(words: Sequence[Word], at: int) -> bool:
    return core(words[at]) in ("hundred", "thousand", "million", "billion")


# ── Addresses on the net ────────────────────────────────────────────────────────────────────────────────────────────


def _addresses(words: Sequence[Word]) -> list[Rewrite]:
    """ "john dot smith at example dot com" → "john.smith@example.com"; "example dot com" → "example.com"."""
    rewrites: list[Rewrite] = []
    cores = [core(word) for word in words]
    at = 0
    while at < len(words):
        domain = _domain(words, cores, at)
        if domain is None:
            at += 1
            continue
        end, text = domain
        floor = rewrites[-1].end if rewrites else 0
        start = at
        if at - 1 > floor and cores[at - 1] == "at":
            start, local = _local_part(words, cores, at - 2, floor)
            text = f"{local}@{text}"
        rewrites.append(Rewrite(start, end, text))
        at = end
    return rewrites


def _domain(words: Sequence[Word], cores: list[str], at: int) -> tuple[int, str] | None:
    """The end and the text of the domain name that begins here."""
    labels, end = [cores[at]], at + 1
    while end + 1 < len(cores) and cores[end] in ("dot", "dash", "hyphen") and not _closed(words, end - 1, end):
        labels += [_JOINERS[cores[end]], cores[end + 1]]
        end += 2
    if len(labels) < 3 or labels[-2] != "." or labels[-1] not in _TOP_DOMAINS or not cores[at].isalnum():
        return None
    return end, "".join(labels)


def _local_part(words: Sequence[Word], cores: list[str], at: int, floor: int) -> tuple[int, str]:
    start, text = at, cores[at]
    while start - 2 >= floor and cores[start - 1] in _JOINERS and not _closed(words, start - 2, start - 1):
        text = cores[start - 2] + _JOINERS[cores[start - 1]] + text
        start -= 2
    return start, text


def _closed(words: Sequence[Word], *indexes: int) -> bool:
    return any(split_marks(words[index].text)[2] for index in indexes)
