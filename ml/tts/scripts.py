"""Words of another script within a text, such as Hindi in an English sentence: which language they are likely in.

By the script alone, so only a change of script is found: French in an English text is not.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from ml.tts.languages import primary

_LANGUAGE_OF = {
    "Latin": "en", "Devanagari": "hi", "Bengali": "bn", "Gurmukhi": "pa", "Gujarati": "gu", "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn", "Malayalam": "ml", "Oriya": "or", "Sinhala": "si", "Cyrillic": "ru", "Greek": "el", "Arabic": "ar",
    "Hebrew": "he", "Thai": "th", "Hangul": "ko", "Hiragana": "ja", "Katakana": "ja", "Han": "cmn", "Armenian": "hy",
    "Georgian": "ka", "Ethiopic": "am",
}  # fmt: skip
"""The most widely spoken language that is written so."""

_SCRIPTS_OF = {
    **dict.fromkeys(("hi", "mr", "ne", "sa", "kok", "bho"), ("Devanagari",)),
    **dict.fromkeys(("ru", "uk", "bg", "be", "mk", "kk", "ky", "tt", "ba", "cv", "nog"), ("Cyrillic",)),
    **dict.fromkeys(("ar", "fa", "ur", "ug", "sd", "ks"), ("Arabic",)),
    "sr": ("Cyrillic", "Latin"), "bs": ("Cyrillic", "Latin"), "ja": ("Han", "Hiragana", "Katakana"), "cmn": ("Han",),
    "yue": ("Han",), "hak": ("Han",), "ko": ("Hangul", "Han"), "bn": ("Bengali",), "as": ("Bengali",),
    "bpy": ("Bengali",),
    "pa": ("Gurmukhi",), "gu": ("Gujarati",), "ta": ("Tamil",), "te": ("Telugu",), "kn": ("Kannada",),
    "ml": ("Malayalam",), "or": ("Oriya",), "si": ("Sinhala",), "el": ("Greek",), "grc": ("Greek",), "he": ("Hebrew",),
    "th": ("Thai",), "hy": ("Armenian",), "hyw": ("Armenian",), "ka": ("Georgian",), "am": ("Ethiopic",),
}  # fmt: skip
"""Other languages are written in Latin letters."""


def _words(script: str) -> regex.Pattern[str]:
    """From a letter of the script to the last one before anything else, with what may stand between its words."""
    letter = rf"\p{{Script={script}}}"
    return regex.compile(rf"{letter}(?:[{letter}\p{{M}}\p{{Nd}}\u200c\u200d\s,'’-]*[{letter}\p{{M}}])?")


_WORDS = {script: _words(script) for script in _LANGUAGE_OF}
_LETTER = regex.compile(r"\p{L}")
_BY_SCRIPT = regex.compile("|".join(rf"(?P<{script}>\p{{Script={script}}})" for script in _LANGUAGE_OF))


def segments(text: str, language: str) -> Iterator[tuple[str, str | None]]:
    """Stretches of `text`, which they make up again, each with the language of a script that `language` (BCP-47) is not
    written in; None: it is."""
    if text.isascii() and primary(language) not in _SCRIPTS_OF:
        yield text, None
        return
    own = _SCRIPTS_OF.get(primary(language), ("Latin",))
    start = position = 0
    while found := _LETTER.search(text, position):
        script = _script(found.group())
        if script is None or script in own:
            position = found.end()
            continue
        words = _WORDS[script].match(text, found.start())
        end = words.end() if words else found.end()
        if found.start() > start:
            yield text[start : found.start()], None
        yield text[found.start() : end], _LANGUAGE_OF[script]
        start = position = end
    if start < len(text):
        yield text[start:], None


def _script(letter: str) -> str | None:
    found = _BY_SCRIPT.match(letter)
    return found.lastgroup if found else None
