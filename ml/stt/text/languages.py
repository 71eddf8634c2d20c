"""What the rules of punctuation and casing know about languages."""

# ruff: noqa: SIM905  long lists of words read better as text

from __future__ import annotations

UNCASED_LANGUAGES = frozenset(
    "am ar as bn bo fa gu he hi hy ja ka km kn ko lo ml mn mr my ne or pa ps sa sd si ta te th ug ur yi yue zh".split()
) - {"hy", "mn"}
"""Written in scripts without capitals."""

FULL_STOPS = {**dict.fromkeys(("hi", "mr", "ne", "sa", "bn", "as", "or", "pa"), "।"), "ur": "۔", "th": ""}
QUESTION_MARKS = dict.fromkeys(("ar", "fa", "ur", "ps"), "؟") | {"el": ";"}
COMMAS = dict.fromkeys(("ar", "fa", "ur", "ps"), "،")

OPEN_WORDS = {
    "en": frozenset(
        "a an the and or but nor of to in on at by for from with into onto upon than as if because although though "
        "while whereas unless until since when which whose whom who that my your his her its our their is are was were "
        "am be been has have had do does did will would can could shall should may might must very so too not no mr "
        "mrs ms mister dr".split()
    )
    - {"in", "on", "by", "so", "too", "not", "no", "is", "are", "was", "were", "am", "be", "do", "does", "did", "have"},
    "de": frozenset(
        "der die das den dem des ein eine einen einem einer und oder aber von zu mit für auf im am".split()
    ),
    "es": frozenset("el la los las un una unos unas y o e u pero de del a al en con por para que su sus mi tu".split()),
    "fr": frozenset("le la les un une des et ou mais de du à au aux en avec par pour que son sa ses mon ma".split()),
    "hi": frozenset("और या लेकिन कि का की के को".split()) - {"का", "की", "के", "को"},
}
"""A sentence does not end after these: the speaker only took breath."""

BREATH_WORDS = {
    "en": frozenset("and but or so because although though while whereas unless until which who where when".split()),
    "de": frozenset("und aber oder weil dass obwohl während wenn der die das".split()),
    "es": frozenset("y pero o porque aunque mientras cuando donde que".split()),
    "fr": frozenset("et mais ou parce quoique tandis quand où qui que".split()),
    "hi": frozenset("और लेकिन या क्योंकि जबकि जब तो कि".split()),
}
"""A comma before these needs a shorter pause than before others."""

_AUXILIARIES = "is are was were am do does did have has had can could will would shall should may might must".split()
_CONTRACTED = "isn't aren't wasn't weren't don't doesn't didn't haven't hasn't can't couldn't won't wouldn't".split()
_SUBJECTS = frozenset(
    "i you he she it we they there this that these those anyone anybody someone somebody everyone everybody your my "
    "his her our their the".split()
)
_QUESTION_WORDS = frozenset("who what where when why how which whose whom".split())
_WORD_AUXILIARIES = frozenset([*_AUXILIARIES, *_CONTRACTED])
_QUANTITIES = frozenset("many much long far old often big tall fast soon".split())
_CONTRACTED_QUESTIONS = frozenset(
    "who's what's where's when's why's how's who'd who'll what're what'll where're how'd".split()
)
_OPENERS = {
    "de": ("wer", "was", "wann", "wo", "warum", "wieso", "weshalb", "welche", "welcher", "welches", "wohin", "woher"),
    "es": ("qué", "quién", "quiénes", "cuándo", "dónde", "cómo", "cuál", "cuáles", "cuánto", "cuántos", "adónde"),
    "fr": ("est-ce", "qu'est-ce", "pourquoi", "comment", "combien", "quel", "quelle", "quels", "quelles"),
    "hi": ("क्या", "कौन", "क्यों", "कहाँ", "कहां", "कब", "कैसे", "कितना", "कितने", "कितनी"),
}
_HINDI_CLOSERS = frozenset("है हैं था थे थी हो होगा होगी सकते सकता".split())


def is_question(words: list[str], language: str) -> bool:
    """Whether lower-case words of a sentence are asked, by how it opens."""
    words = [word for word in words if word]
    if len(words) < 2:
        return False
    if language == "en":
        return _is_english_question(words[1:] if words[0] in ("and", "but", "so", "well", "oh", "okay") else words)
    if language == "hi":
        return any(word in _OPENERS["hi"] for word in words) and words[-1] in _HINDI_CLOSERS
    return words[0] in _OPENERS.get(language, ())


def _is_english_question(words: list[str]) -> bool:
    if len(words) < 2:
        return False
    first, second = words[0], words[1]
    if first in _CONTRACTED_QUESTIONS or first in _CONTRACTED:
        return True
    if first in _AUXILIARIES:
        return second in _SUBJECTS
    if first in _QUESTION_WORDS:
        # "who came in late was fined": a relative clause goes on; an auxiliary behind it asks. "What joy" exclaims.
        return second in _WORD_AUXILIARIES or (first == "how" and second in _QUANTITIES)
    return False
