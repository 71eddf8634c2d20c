"""SSML 1.1, read into the same runs and pauses that plain text becomes.

Nothing of the document itself reaches an engine: it is parsed with defusedxml (no DTD, no entities), checked against a
list of elements and attributes, and only styles that we understood are passed on. So an element that reads files or
fetches addresses (`<audio>`, `<lexicon>`, `xml:base`) cannot do so in any engine.

Elements: speak, p, s, break, prosody, emphasis, say-as, sub, phoneme, voice, lang, mark.
https://www.w3.org/TR/speech-synthesis11/
"""

from __future__ import annotations

import io
import math
import xml.sax.handler
import xml.sax.xmlreader
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast
from xml.sax import SAXParseException

import defusedxml
import defusedxml.sax
import regex

from ml import errors
from ml.tts import languages
from ml.tts import text as plain
from ml.tts.phonemes import UnknownPhoneme, from_ipa
from ml.tts.script import Emphasis, Pause, Run, SayAs, Style
from ml.types import Voice

MAX_DEPTH = 50
MAX_ELEMENTS = 20_000
MAX_BREAK_SECONDS = 10.0
MAX_TOTAL_BREAK_SECONDS = 600.0
MAX_ATOM_CHARACTERS = 300
"""In say-as and phoneme, whose content is spoken in one piece."""

_PARAGRAPH_SECONDS = 0.4
_BREAK_SECONDS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.4, "x-fast": 2.0}
_PITCHES = {"x-low": -6.0, "low": -3.0, "medium": 0.0, "default": 0.0, "high": 3.0, "x-high": 6.0}
_RANGES = {"x-low": 0.2, "low": 0.5, "medium": 1.0, "default": 1.0, "high": 1.4, "x-high": 1.8}
_VOLUMES = {"silent": 0.0, "x-soft": 0.3, "soft": 0.6, "medium": 1.0, "default": 1.0, "loud": 1.5, "x-loud": 2.0}
_EMPHASES = ("none", "reduced", "moderate", "strong")
_SAY_AS: dict[str, SayAs | None] = {
    "characters": "characters", "spell-out": "characters", "verbatim": "characters",
    "digits": "digits", "telephone": "digits",
    # What engines read so anyway, from the way it is written.
    "cardinal": None, "number": None, "ordinal": None, "date": None, "time": None, "currency": None, "unit": None,
}  # fmt: skip

_ATTRIBUTES: dict[str, frozenset[str]] = {
    "speak": frozenset({"version", "xml:lang", "xmlns", "xmlns:xsi", "xsi:schemaLocation"}),
    "p": frozenset({"xml:lang"}),
    "s": frozenset({"xml:lang"}),
    "break": frozenset({"time", "strength"}),
    "prosody": frozenset({"rate", "pitch", "range", "volume"}),
    "emphasis": frozenset({"level"}),
    "say-as": frozenset({"interpret-as", "format", "detail"}),
    "sub": frozenset({"alias"}),
    "phoneme": frozenset({"alphabet", "ph"}),
    "voice": frozenset({"name", "xml:lang", "language", "languages", "gender"}),
    "lang": frozenset({"xml:lang"}),
    "mark": frozenset({"name"}),
}
_NUMBER = regex.compile(r"[+-]?(?:\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})")
_MNEMONICS = regex.compile(r"[A-Za-z0-9@:;,'_|%=!?*~#^&/\\ .\"+(){}-]+")

Item: TypeAlias = Run | Pause
Attributes: TypeAlias = dict[str, str]
VoiceFinder: TypeAlias = Callable[[str | None, str | None, str | None, str], str]
"""(voice id, BCP-47 language, gender, the voice so far) → voice id; raises `InvalidRequest`."""


def parse(document: str, *, voice: Voice, chosen: bool, find_voice: VoiceFinder) -> list[Item]:
    """The runs and pauses of an SSML document, which begins in `voice`.

    chosen: the caller named the voice, so that the document's own language does not replace it by another voice of the
    same language; every document has an `xml:lang`, and few mean a voice by it.
    Raises `SsmlInvalid`, whose message ends with the line and the column.
    """
    parser = defusedxml.sax.make_parser()
    parser.forbid_dtd = True
    reader = _Reader(voice.id, voice.language if chosen else None, find_voice)
    parser.setContentHandler(reader)
    # Characters that are not XML are refused where they stand; lone surrogates cannot even be encoded.
    source = io.BytesIO(document.lstrip("\ufeff \t\r\n").encode("utf-8", "replace"))
    try:
        parser.parse(source)
    except SAXParseException as error:
        raise _invalid(f"The SSML is not well-formed: {error.getMessage()}", error) from None
    except defusedxml.DefusedXmlException:
        raise _invalid("SSML may not have a document type or entities", parser) from None
    except (ValueError, LookupError):  # an encoding that Python does not know, in the XML declaration
        raise _invalid("The SSML's encoding is not UTF-8", parser) from None
    return reader.items


def _invalid(message: str, locator: Any) -> errors.SsmlInvalid:
    line, column = locator.getLineNumber() or 1, (locator.getColumnNumber() or 0) + 1
    return errors.SsmlInvalid(f"{message} (line {line}, column {column}).", param="text")


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    style: Style
    muted: bool  # its text is not spoken: sub and phoneme bring their own words


class _Reader(xml.sax.handler.ContentHandler):
    """Follows the document and notes what is to be spoken."""

    def __init__(self, voice: str, chosen_language: str | None, find_voice: VoiceFinder) -> None:
        super().__init__()
        self._chosen_language = chosen_language
        self.items: list[Item] = []
        self._find_voice = find_voice
        self._stack = [_Element("", Style(voice), False)]
        self._elements = 0
        self._pause_seconds = 0.0
        self._atom: list[str] | None = None  # the text within say-as
        self._words: list[str] = []  # not yet an item
        self._words_style = self._stack[0].style

    def endDocument(self) -> None:
        self._flush()

    def startElement(self, name: str, attrs: xml.sax.xmlreader.AttributesImpl) -> None:
        attributes = dict(attrs.items())
        self._check(name, attributes)
        start = getattr(self, "_start_" + name.replace("-", "_"), None)
        parent = self._stack[-1]
        element = _Element(name, parent.style, parent.muted)
        self._stack.append(start(element, attributes) if start else element)

    def endElement(self, name: str) -> None:
        element = self._stack.pop()
        if name == "p" and not element.muted:
            self._pause(_PARAGRAPH_SECONDS)
        elif name == "s" and not element.muted:
            self._pause(0.0)
        elif name == "say-as" and self._atom is not None:
            self._end_atom(element)

    def characters(self, content: str) -> None:
        element = self._stack[-1]
        if element.muted:
            return
        if self._atom is None:
            self._say(content, element.style)
            return
        self._atom.append(content)
        if sum(map(len, self._atom)) > MAX_ATOM_CHARACTERS:
            raise self._error(f"<say-as> holds more than {MAX_ATOM_CHARACTERS} characters")

    def _error(self, message: str) -> errors.SsmlInvalid:
        return _invalid(message, self._locator)  # type: ignore[attr-defined]  # set by the parser

    def _check(self, name: str, attributes: Attributes) -> None:
        self._elements += 1
        if name not in _ATTRIBUTES:
            raise self._error(f"<{name[:40]}> is not allowed here")
        if (len(self._stack) == 1) != (name == "speak"):
            raise self._error("SSML is one <speak> element with everything in it")
        if self._atom is not None:
            raise self._error(f"<{name}> is not allowed in <say-as>")
        if len(self._stack) > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise self._error(f"SSML may have {MAX_ELEMENTS:,} elements, {MAX_DEPTH} deep")
        unknown = sorted(set(attributes) - _ATTRIBUTES[name])
        if unknown:
            raise self._error(f"<{name}> may not have the attribute {unknown[0][:40]!r}")

    # ── Elements: each gives what holds within it ──

    def _start_speak(self, element: _Element, attributes: Attributes) -> _Element:
        chosen, own = self._chosen_language, attributes.get("xml:lang")
        if chosen and own and languages.primary(chosen) == languages.primary(own):
            return element
        return self._in_language(element, attributes)

    def _start_p(self, element: _Element, attributes: Attributes) -> _Element:
        self._pause(0.0)
        return self._in_language(element, attributes)

    _start_s = _start_p

    def _start_lang(self, element: _Element, attributes: Attributes) -> _Element:
        self._required("lang", attributes, "xml:lang")
        return self._in_language(element, attributes)

    def _start_voice(self, element: _Element, attributes: Attributes) -> _Element:
        language = attributes.get("xml:lang") or attributes.get("language") or attributes.get("languages")
        name, gender = attributes.get("name"), attributes.get("gender")
        if not (name or language or gender):
            raise self._error("<voice> needs a name, a language or a gender")
        return replace(element, style=replace(element.style, voice=self._voice(name, language, gender, element)))

    def _start_prosody(self, element: _Element, attributes: Attributes) -> _Element:
        style = element.style
        if "rate" in attributes:
            style = replace(style, rate=style.rate * self._factor("rate", attributes["rate"], _RATES, 0.1, 8.0))
        if "pitch" in attributes:
            style = replace(style, pitch=style.pitch + self._semitones(attributes["pitch"]))
        if "range" in attributes:
            factor = self._factor("range", attributes["range"], _RANGES, 0.0, 4.0)
            style = replace(style, pitch_range=style.pitch_range * factor)
        if "volume" in attributes:
            style = replace(style, volume=min(3.0, style.volume * self._gain(attributes["volume"])))
        return replace(element, style=style)

    def _start_emphasis(self, element: _Element, attributes: Attributes) -> _Element:
        level = attributes.get("level", "moderate")
        if level not in _EMPHASES:
            raise self._error(f"The level of <emphasis> is one of {', '.join(_EMPHASES)}")
        return replace(element, style=replace(element.style, emphasis=cast(Emphasis, level)))

    def _start_say_as(self, element: _Element, attributes: Attributes) -> _Element:
        kind = self._required("say-as", attributes, "interpret-as")
        if kind not in _SAY_AS:
            raise self._error(f"interpret-as is one of {', '.join(_SAY_AS)}")
        self._atom = []
        return replace(element, style=replace(element.style, say_as=_SAY_AS[kind]))

    def _start_sub(self, element: _Element, attributes: Attributes) -> _Element:
        alias = self._required("sub", attributes, "alias")
        if not element.muted:
            self._say(alias, element.style)
        return replace(element, muted=True)

    def _start_phoneme(self, element: _Element, attributes: Attributes) -> _Element:
        phonemes = self._phonemes(attributes.get("alphabet", "ipa"), self._required("phoneme", attributes, "ph"))
        if not element.muted:
            self._add(Run(" ", replace(element.style, phonemes=phonemes)))
        return replace(element, muted=True)

    def _start_break(self, element: _Element, attributes: Attributes) -> _Element:
        strength = attributes.get("strength", "medium")
        if strength not in _BREAK_SECONDS:
            raise self._error(f"The strength of <break> is one of {', '.join(_BREAK_SECONDS)}")
        seconds = self._seconds(attributes["time"]) if "time" in attributes else _BREAK_SECONDS[strength]
        if seconds and not element.muted:
            self._pause(seconds)
        return element

    def _start_mark(self, element: _Element, attributes: Attributes) -> _Element:
        self._required("mark", attributes, "name")
        return element

    # ── Attributes ──

    def _required(self, name: str, attributes: Attributes, attribute: str) -> str:
        value = attributes.get(attribute, "").strip()
        if not value or len(value) > MAX_ATOM_CHARACTERS:
            raise self._error(f"<{name}> needs the attribute {attribute}, of {MAX_ATOM_CHARACTERS} characters at most")
        return value

    def _in_language(self, element: _Element, attributes: Attributes) -> _Element:
        language = attributes.get("xml:lang")
        if not language:
            return element
        return replace(element, style=replace(element.style, voice=self._voice(None, language, None, element)))

    def _voice(self, name: str | None, language: str | None, gender: str | None, element: _Element) -> str:
        try:
            return self._find_voice(name, language, gender, element.style.voice)
        except errors.InvalidRequest as error:
            raise self._error(error.message.rstrip(".")) from error

    def _factor(self, name: str, value: str, named: dict[str, float], least: float, most: float) -> float:
        """A name, a percentage ("80%", "+20%") or, for a rate, a bare factor ("1.5")."""
        value = value.strip()
        if value in named:
            return named[value]
        number = self._number(name, value.removesuffix("%"))
        if value.endswith("%"):
            number = (100 + number if value[0] in "+-" else number) / 100
        if not least <= number <= most:
            raise self._error(f"The {name} of <prosody> is from {least:.0%} to {most:.0%}")
        return number

    def _semitones(self, value: str) -> float:
        """A name, semitones ("+2st"), or a relative percentage ("-10%"); hertz would mean another voice each time."""
        value = value.strip()
        if value in _PITCHES:
            return _PITCHES[value]
        if value.endswith("st"):
            number = self._number("pitch", value[:-2])
        elif value.endswith("%") and value[0] in "+-":
            number = 12 * math.log2(max(0.01, 1 + self._number("pitch", value[:-1]) / 100))
        else:
            raise self._error('The pitch of <prosody> is a name, "+2st" or "+10%"')
        if not -24 <= number <= 24:
            raise self._error("The pitch of <prosody> is within two octaves")
        return number

    def _gain(self, value: str) -> float:
        """A name, decibels ("-6dB", as SSML 1.1 has it), or a percentage."""
        value = value.strip()
        if value.endswith("dB"):
            return min(3.0, 10 ** (min(20.0, self._number("volume", value[:-2])) / 20))
        return self._factor("volume", value, _VOLUMES, 0.0, 3.0)

    def _seconds(self, value: str) -> float:
        value = value.strip()
        unit = 0.001 if value.endswith("ms") else 1.0
        if not value.endswith("s"):
            raise self._error('The time of <break> is like "500ms" or "1.5s"')
        seconds = self._number("time", value.removesuffix("s").removesuffix("m")) * unit
        if not 0 <= seconds <= MAX_BREAK_SECONDS:
            raise self._error(f"The time of <break> is from 0 to {MAX_BREAK_SECONDS:g} seconds")
        return seconds

    def _number(self, name: str, value: str) -> float:
        if not _NUMBER.fullmatch(value):
            raise self._error(f"The {name} {value[:40]!r} is not a number with a known unit")
        return float(value)

    def _phonemes(self, alphabet: str, ph: str) -> str:
        if alphabet == "ipa":
            try:
                return from_ipa(ph)
            except UnknownPhoneme as error:
                raise self._error(f"The phoneme {error.symbol!r} is not known") from error
        if alphabet not in ("espeak", "x-espeak"):
            raise self._error("The alphabet of <phoneme> is ipa or x-espeak")
        if not _MNEMONICS.fullmatch(ph):
            raise self._error("The phonemes are not espeak mnemonics")
        return ph

    # ── What is to be spoken ──

    def _say(self, content: str, style: Style) -> None:
        """Notes text; the parser hands over one stretch in many pieces."""
        if self._words and self._words_style != style:
            self._flush()
        self._words_style = style
        self._words.append(content)

    def _flush(self) -> None:
        content = plain.clean("".join(self._words))
        self._words.clear()
        if content:
            self.items.append(Run(content, self._words_style))

    def _add(self, item: Item) -> None:
        self._flush()
        self.items.append(item)

    def _pause(self, seconds: float) -> None:
        self._pause_seconds += seconds
        if self._pause_seconds > MAX_TOTAL_BREAK_SECONDS:
            raise self._error(f"The pauses add up to more than {MAX_TOTAL_BREAK_SECONDS:g} seconds")
        self._add(Pause(seconds))

    def _end_atom(self, element: _Element) -> None:
        content, self._atom = "".join(self._atom or ()), None
        if element.style.say_as is None:
            self._say(content, element.style)
        elif plain.is_speakable(plain.clean(content)):
            self._add(Run(plain.clean(content), element.style))
