"""How words are to be pronounced: a spelling, and what to say for it, in other words or in the IPA.

Whole words only, the longest first, and an entry for the very case before one for any; entries of a language hold for
voices of that language.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import regex

from ml import errors
from ml.tts import text as plain
from ml.tts.languages import primary
from ml.tts.phonemes import UnknownPhoneme, from_ipa
from ml.tts.script import Run

MAX_GRAPHEME, MAX_SPOKEN = 100, 300
"""Characters of an entry."""

_TOKEN = regex.compile(r"[\w']+|[^\w\s]")
_TAG = regex.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Entry:
    grapheme: str  # as it is written
    alias: str = ""  # other words that are said for it; this or `ipa`
    ipa: str = ""
    language: str = ""  # BCP-47; empty: any
    case_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Where an entry applies."""

    start: int
    end: int
    entry: Entry


def check(entry: Entry) -> Entry:
    """The entry as it is kept. Raises `InvalidRequest`, whose message names the grapheme."""
    kept = replace(
        entry,
        grapheme=unicodedata.normalize("NFC", " ".join(plain.clean(entry.grapheme).split())),
        alias=" ".join(plain.clean(entry.alias).split()),
        ipa=entry.ipa.strip().strip("/[]").strip(),
    )
    problem = _problem(kept)
    if problem:
        raise errors.InvalidRequest(f"{kept.grapheme[:40]!r}: {problem}", param="entries")
    return kept


def _problem(entry: Entry) -> str | None:
    problems = {
        f"a grapheme has a letter, and {MAX_GRAPHEME} characters at most.": (
            not plain.is_speakable(entry.grapheme) or len(entry.grapheme) > MAX_GRAPHEME
        ),
        "an entry has either an alias or its pronunciation in the IPA.": bool(entry.alias) == bool(entry.ipa),
        f"what is said has {MAX_SPOKEN} characters at most.": max(len(entry.alias), len(entry.ipa)) > MAX_SPOKEN,
        "the language is a BCP-47 tag.": bool(entry.language) and not _TAG.fullmatch(entry.language),
        "the alias has nothing to speak.": bool(entry.alias) and not plain.is_speakable(entry.alias),
    }
    problem = next((text for text, holds in problems.items() if holds), None)
    return problem or _unknown_phoneme(entry.ipa)


def _unknown_phoneme(ipa: str) -> str | None:
    try:
        from_ipa(ipa)
    except UnknownPhoneme as error:
        return f"the phoneme {error.symbol!r} is not known."
    return None


class Lexicon:
    """Entries, ready to be found. Of two for the same spelling the first one counts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._by_token: dict[str, list[Entry]] = {}
        for entry in self.entries:
            first = _TOKEN.search(entry.grapheme)
            if first is not None:
                self._by_token.setdefault(first.group().casefold(), []).append(entry)
        for alike in self._by_token.values():
            alike.sort(key=lambda entry: (-len(entry.grapheme), not entry.case_sensitive))

    def __bool__(self) -> bool:
        return bool(self._by_token)

    def find(self, text: str, language: str) -> Iterator[Found]:
        """In order, none over another. language: BCP-47, of the voice."""
        position, spoken = 0, primary(language)
        while token := _TOKEN.search(text, position):
            found = self._at(text, token, spoken)
            if found is None:
                position = token.end()
            else:
                yield found
                position = found.end

    def _at(self, text: str, token: regex.Match[str], language: str) -> Found | None:
        for entry in self._by_token.get(token.group().casefold(), ()):
            if entry.language and primary(entry.language) != language:
                continue
            end = token.start() + len(entry.grapheme)
            written = text[token.start() : end]
            same = (
                written == entry.grapheme if entry.case_sensitive else written.casefold() == entry.grapheme.casefold()
            )
            if same and not (_in_word(written[-1]) and _in_word(text[end : end + 1])):
                return Found(token.start(), end, entry)
        return None

    def applied(self, run: Run, language: str) -> list[Run]:
        """The run in pieces, of which some say something else than they read."""
        parts, position = [], 0
        for found in self.find(run.text, language):
            parts.append(replace(run, text=run.text[position : found.start]))
            parts.append(_said(replace(run, text=run.text[found.start : found.end]), found.entry))
            position = found.end
        return [part for part in (*parts, replace(run, text=run.text[position:])) if part.text]


def _in_word(character: str) -> bool:
    return bool(character) and (character.isalnum() or unicodedata.category(character).startswith("M"))


def _said(run: Run, entry: Entry) -> Run:
    if entry.alias:
        return replace(run, spoken=entry.alias)
    return replace(run, style=replace(run.style, phonemes=from_ipa(entry.ipa), ipa=entry.ipa))
