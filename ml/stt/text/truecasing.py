"""Capitals: where sentences begin, in names and acronyms, for the languages that have them.

Rules and a short list by default; a punctuation model's folder may bring statistics of its own, a `truecase.txt` with
the commonest spelling of a word a line, which then go before the list.
"""

# ruff: noqa: SIM905  long lists of words read better as text

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ml.stt.engines.base import EngineCapabilities
from ml.stt.helpers import base as helpers
from ml.stt.registry import primary_language
from ml.stt.stages import Recognition, forced, wanted
from ml.stt.text.languages import UNCASED_LANGUAGES
from ml.stt.text.tokens import merge, split_marks, with_words, words_of
from ml.types import TranscriptionOptions, Word

_SENTENCE_ENDS = (".", "?", "!", "…")

_ENGLISH_NAMES = """
Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February April June July August September October
November December Christmas Easter Diwali Ramadan God Jesus
America American Americans Africa African Asia Asian Europe European Australia Australian Austria Belgium Brazil
Britain British Canada Canadian China Chinese Denmark Dutch Egypt England English Finland France French German Germany
Greece Greek India Indian Indians Indonesia Iran Iraq Ireland Irish Israel Italian Italy Japan Japanese Kenya Korea
Korean Mexico Mexican Netherlands Nigeria Norway Pakistan Poland Portugal Russia Russian Scotland Singapore Spain
Spanish Sweden Switzerland Taiwan Thailand Ukraine Vietnam Wales Hindi Tamil Bengali Arabic Latin
Amsterdam Bangalore Barcelona Beijing Berlin Boston Brooklyn Chicago Delhi Dublin Edinburgh Hollywood Houston Istanbul
Jerusalem Lisbon London Madrid Manhattan Melbourne Miami Montreal Moscow Mumbai Munich Oxford Paris Philadelphia
Prague Rome Seattle Shanghai Stockholm Sydney Tokyo Toronto Vienna Washington
Alabama Alaska Arizona California Carolina Colorado Connecticut Florida Hawaii Illinois Kansas Kentucky Louisiana
Massachusetts Michigan Minnesota Missouri Montana Nebraska Nevada Ohio Oklahoma Oregon Pennsylvania Tennessee Texas
Virginia Wisconsin Wyoming
Alice Andrew Anna Anne Barbara Brian Charles Christopher Daniel David Diane Edward Elizabeth Emily Emma George Helen
Henry Jack James Jane Jennifer Jessica John Joseph Kevin Laura Linda Mary Michael Nancy Paul Peter Priya Rahul Richard
Robert Sarah Sheila Steven Susan Thomas William
Google Microsoft Amazon Facebook YouTube Twitter Wikipedia
""".split()
_ENGLISH_SPELLINGS = {
    **{name.lower(): name for name in _ENGLISH_NAMES},
    **dict.fromkeys(("i",), "I"),
    **{f"i'{rest}": f"I'{rest}" for rest in ("m", "ll", "ve", "d")},
    **{
        acronym.lower(): acronym
        for acronym in "TV USA NASA FBI CIA CEO CFO CTO DNA RNA PDF API GPS HTML URL SMS ATM BBC CNN IBM NATO UNESCO "
        "UNICEF GDP HIV PhD CPU GPU USB".split()
    },
}
_SPELLINGS: dict[str, Mapping[str, str]] = {"en": _ENGLISH_SPELLINGS}
_AMBIGUOUS_LETTERS = frozenset("ai")  # words of their own in English
_MONTHS_OR_WORDS = frozenset(("may", "march"))


@dataclass(frozen=True, slots=True)
class Truecasing:
    name: str = "truecase"

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        return wanted(self.name, options) and (not capabilities.casing or forced(self.name, options))

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition:
        language = primary_language(recognition.language)
        if language in UNCASED_LANGUAGES:
            return recognition
        caser = Truecaser(language, _statistics(language))
        segments, starts = [], True
        for segment in recognition.segments:
            words = words_of(segment)
            cased = caser.case(words, starts_sentence=starts) if words else []
            segments.append(with_words(segment, cased) if cased else segment)
            starts = ends_sentence(segments[-1].text)
        return replace(recognition, segments=tuple(segments))


class Truecaser:
    def __init__(self, language: str, statistics: Mapping[str, str] | None = None) -> None:
        """statistics: lower-case word → its commonest spelling, before the built-in list."""
        self._language = language
        self._spellings = {**_SPELLINGS.get(language, {}), **(statistics or {})}

    def case(self, words: list[Word], *, starts_sentence: bool = True) -> list[Word]:
        """Lower-case words, with their marks → cased ones; letters that spell a known acronym become it."""
        words = _join_letters(words, self._spellings) if self._language == "en" else list(words)
        cased = []
        for index, word in enumerate(words):
            before, core, after = split_marks(word.text)
            core = self._spell(core, words, index)
            if starts_sentence:
                core = core[:1].upper() + core[1:]
            cased.append(replace(word, text=before + core + after))
            starts_sentence = ends_sentence(word.text)
        return cased

    def _spell(self, core: str, words: list[Word], index: int) -> str:
        if core != core.lower():  # cased already, by a model or by the engine
            return core
        base, apostrophe, ending = core.partition("'")
        if core in self._spellings:
            return self._spellings[core]
        if apostrophe and ending == "s" and base in self._spellings:
            return self._spellings[base] + "'s"
        if self._language == "en" and core in _MONTHS_OR_WORDS and _dated(words, index):
            return core.capitalize()
        return core


def _statistics(language: str) -> Mapping[str, str]:
    """Those of the installed punctuation model, if it brings any."""
    if not helpers.installed("punctuation", language):
        return {}
    return getattr(helpers.helper("punctuation", language), "spellings", {})


def ends_sentence(text: str) -> bool:
    return text.rstrip("\"'”’)").endswith(_SENTENCE_ENDS)


def _dated(words: list[Word], index: int) -> bool:
    """ "in may", "the first of march", "may twenty first": a month, not a verb."""
    before = split_marks(words[index - 1].text)[1] if index else ""
    after = split_marks(words[index + 1].text)[1] if index + 1 < len(words) else ""
    ordinal = (
        after.endswith(("first", "second", "third", "th"))
        or after.startswith(("twenty", "thirty"))
        or after[:1].isdigit()
    )
    return before in ("in", "of", "last", "next", "early", "late", "since", "until") or ordinal


def _join_letters(words: list[Word], known: Collection[str]) -> list[Word]:
    """ "u s a" → "USA", where that is known; other letters in a row stay apart, as capitals: "u m n" → "U M N"."""
    joined: list[Word] = []
    run: list[Word] = []
    for word in words:
        if run and (split_marks(run[-1].text)[2].strip(".") or not _is_letter(word.text)):
            joined += _spelled(run, known)
            run = []
        if _is_letter(word.text):
            run.append(word)
        else:
            joined.append(word)
    return joined + _spelled(run, known)


def _spelled(run: list[Word], known: Collection[str]) -> list[Word]:
    # "a" and "i" at the edges are words: "is a b", not "is A B".
    start, end = 0, len(run)
    while start < end and _letter(run[start]) in _AMBIGUOUS_LETTERS and end - start <= 2:
        start += 1
    if end - start < 2:
        return run
    letters = run[start:end]
    acronym = "".join(_letter(word) for word in letters)
    if acronym not in known:
        return [*run[:start], *(replace(word, text=word.text.upper()) for word in letters)]
    text = acronym.upper() + split_marks(run[end - 1].text)[2].replace("..", ".")
    return [*run[:start], merge(letters, text)]


def _letter(word: Word) -> str:
    return split_marks(word.text)[1].lower()


def _is_letter(text: str) -> bool:
    core = split_marks(text)[1]
    return len(core) == 1 and core.isascii() and core.isalpha()
