"""What a transcript should not show: bad language is masked, personal numbers and addresses are replaced.

Both change the words together with the text. Times and confidences stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ml.stt.engines.base import EngineCapabilities
from ml.stt.registry import primary_language
from ml.stt.stages import Recognition, wanted
from ml.stt.text.itn import Rewrite, apply, normalizer
from ml.stt.text.tokens import merge, split_marks, with_words, words_of
from ml.types import Segment, TranscriptionOptions, Word

_PROFANITIES = {
    "en": "arse arsehole ass asshole bastard bitch bitches bitching bollocks bullshit cock cunt cunts damn damned "
    "dick dickhead dumbass fuck fucked fucker fuckers fuckin fucking fucks goddamn jackass motherfucker "
    "motherfuckers motherfucking nigga nigger niggers piss pissed prick pussy shit shits shitty slut sluts twat "
    "wank wanker whore whores",
    "de": "arsch arschloch fick ficken ficker fotze hure hurensohn scheiße scheiss schlampe wichser",
    "es": "cabrón cabrones coño gilipollas joder maricón mierda pendejo polla puta putas puto",
    "fr": "connard connasse enculé foutre merde pute putain salaud salope",
    "hi": "चूतिया चूतिये भोसड़ीके मादरचोद बहनचोद गांडू रंडी हरामी हरामज़ादा कमीना",
}
PROFANITIES: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split()) for language, words in _PROFANITIES.items()
}
"""By ISO 639-1, lower case."""

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_NUMBER = re.compile(r"(?<![\w.,:$€£₹¥-])(?!\d{4}-\d\d-\d\d)\+?\(?\d(?:[\s().-]{0,2}\d){6,18}(?![\w%]|,\d)")
_CARD_DIGITS = range(13, 20)


@dataclass(frozen=True, slots=True)
class ProfanityFilter:
    name: str = "profanity_filter"

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        return wanted(self.name, options)

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition:
        bad = PROFANITIES.get(primary_language(recognition.language), frozenset())
        return replace(recognition, segments=tuple(_mask_segment(segment, bad) for segment in recognition.segments))


@dataclass(frozen=True, slots=True)
class Redaction:
    name: str = "redact"

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        return wanted(self.name, options)

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition:
        language = primary_language(recognition.language)
        return replace(recognition, segments=tuple(_redact_segment(s, language) for s in recognition.segments))


def mask(text: str, bad: frozenset[str]) -> str:
    """ "Damn," → "D***,": the first letter and the marks stay."""
    before, core, after = split_marks(text)
    return f"{before}{core[0]}{'*' * (len(core) - 1)}{after}" if core.lower() in bad else text


def redact(text: str) -> str:
    """A line of text without e-mail addresses, card numbers and telephone numbers."""
    return _NUMBER.sub(_number_label, _EMAIL.sub("[EMAIL]", text))


def _mask_segment(segment: Segment, bad: frozenset[str]) -> Segment:
    text = re.sub(r"\S+", lambda match: mask(match[0], bad), segment.text)
    words = tuple(replace(word, text=re.sub(r"\S+", lambda m: mask(m[0], bad), word.text)) for word in segment.words)
    return replace(segment, text=text, words=words)


def _redact_segment(segment: Segment, language: str) -> Segment:
    words = words_of(segment)
    if words is None:
        # The words say the text in other portions: none of them is left to show what the text hides.
        text = redact(segment.text)
        return segment if text == segment.text else replace(segment, text=text, words=())
    rules = normalizer(language)
    if rules is not None:  # Numbers that were left as words tell as much.
        spoken = [r for r in rules.rewrites(words) if redact(r.text) != r.text]
        words = apply(words, spoken)
    return with_words(segment, _redact_words(words))


def _redact_words(words: list[Word]) -> list[Word]:
    """Replaces what is found in the text by one word each, whatever words it spans."""
    text = " ".join(word.text for word in words)
    starts, at = [], 0
    for word in words:
        starts.append(at)
        at += len(word.text) + 1
    rewrites: list[Rewrite] = []
    for match in sorted([*_EMAIL.finditer(text), *_NUMBER.finditer(text)], key=lambda found: found.start()):
        label = "[EMAIL]" if "@" in match[0] else _number_label(match)
        spanned = [
            i for i, start in enumerate(starts) if start < match.end() and start + len(words[i].text) > match.start()
        ]
        if not rewrites or spanned[0] >= rewrites[-1].end:
            rewrites.append(Rewrite(spanned[0], spanned[-1] + 1, label))
    return _replace(words, rewrites)


def _replace(words: list[Word], rewrites: list[Rewrite]) -> list[Word]:
    redacted: list[Word] = []
    done = 0
    for rewrite in rewrites:
        redacted += words[done : rewrite.start]
        spanned = words[rewrite.start : rewrite.end]
        redacted.append(merge(spanned, rewrite.text + split_marks(spanned[-1].text)[2].lstrip(")")))
        done = rewrite.end
    return [*redacted, *words[done:]]


def _number_label(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    return "[CARD]" if len(digits) in _CARD_DIGITS and _passes_luhn(digits) else "[PHONE]"


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0
