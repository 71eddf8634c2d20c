"""SSML 1.1, read into the same runs and pauses that plain text becomes.

Nothing of the document itself reaches an engine: it is parsed with defusedxml (no DTD, no entities), checked against a
list of elements and attributes, and only styles that we understood are passed on. So an element that reads files or
fetches addresses (`<audio>`, `<lexicon>`, `xml:base`) cannot do so in any engine.

Elements: speak, p, s, break, prosody, emphasis, say-as, sub, phoneme, voice, lang, mark, and token, w, meta, metadata.
Elements and attributes of other namespaces ("amazon:effect") are passed over, and what they hold is spoken; elements of
SSML that would bring in something from elsewhere, and elements that SSML does not know, are refused (section 3.1).
https://www.w3.org/TR/speech-synthesis11/
"""

from __future__ import annotations

import io
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
from ml.tts import languages, say_as
from ml.tts import ssml_values as values
from ml.tts import text as plain
from ml.tts.phonemes import UnknownPhoneme, from_ipa, from_x_sampa
from ml.tts.script import Emphasis, Mark, Pause, Run, Style
from ml.types import Voice

MAX_DEPTH = 50
MAX_ELEMENTS = 20_000
MAX_TOTAL_BREAK_SECONDS = 600.0
MAX_ATOM_CHARACTERS = 300
"""In say-as and phoneme, whose content is spoken in one piece."""

_PARAGRAPH_SECONDS = 0.4
_BREAK_SECONDS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
_EMPHASES = ("none", "reduced", "moderate", "strong")
_NAMESPACE = "http://www.w3.org/2001/10/synthesis"
_FAILURE = {"onlangfailure"}  # what to do without the language; ours is always to say so
_REFUSED = {
    "audio": "<audio> is not supported: sounds from elsewhere are not fetched",
    "lexicon": "<lexicon> is not supported: documents are not fetched; send a lexicon with the request",
    "lookup": "<lookup> is not supported: send a lexicon with the request",
}

_ATTRIBUTES: dict[str, frozenset[str]] = {
    "speak": frozenset({"version", "xml:lang", "xmlns", *_FAILURE}),
    "p": frozenset({"xml:lang", *_FAILURE}),
    "s": frozenset({"xml:lang", *_FAILURE}),
    "token": frozenset({"xml:lang", "role", *_FAILURE}),
    "w": frozenset({"xml:lang", "role", *_FAILURE}),
    "meta": frozenset({"name", "http-equiv", "content"}),
    "metadata": frozenset(),
    "break": frozenset({"time", "strength"}),
    "prosody": frozenset({"rate", "pitch", "range", "volume"}),
    "emphasis": frozenset({"level"}),
    "say-as": frozenset({"interpret-as", "format", "detail"}),
    "sub": frozenset({"alias"}),
    "phoneme": frozenset({"alphabet", "ph", "type"}),
    "voice": frozenset(
        {"name", "xml:lang", "language", "languages", "gender", "age", "variant", "required", "ordering", *_FAILURE}
    ),
    "lang": frozenset({"xml:lang", *_FAILURE}),
    "mark": frozenset({"name"}),
}
_MNEMONICS = regex.compile(r"[A-Za-z0-9@:;,'_|%=!?*~#^&/\\ .\"+(){}-]+")

Item: TypeAlias = Run | Pause | Mark
Attributes: TypeAlias = dict[str, str]
VoiceFinder: TypeAlias = Callable[[str | None, str | None, str | None, str], str]
"""(voice id, BCP-47 language, gender, the voice so far) → voice id; raises `InvalidRequest`."""
VoiceGetter: TypeAlias = Callable[[str], Voice]
"""The voice of an id that was found."""


def parse(document: str, *, voice: Voice, chosen: bool, find_voice: VoiceFinder, get_voice: VoiceGetter) -> list[Item]:
    """The runs and pauses of an SSML document, which begins in `voice`.

    chosen: the caller named the voice, so that the document's own language does not replace it by another voice of the
    same language; every document has an `xml:lang`, and few mean a voice by it.
    Raises `SsmlInvalid`, whose message ends with the line and the column.
    """
    parser = defusedxml.sax.make_parser()
    parser.forbid_dtd = True
    reader = _Reader(voice.id, voice.language if chosen else None, find_voice, get_voice)
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
    muted: bool  # its text is not spoken: sub brings its own words, metadata has none


@dataclass(slots=True)
class _Atom:
    """What say-as or phoneme holds, which is spoken in one piece."""

    name: str  # the element's
    kind: str = ""  # of say-as
    form: str = ""
    content: str = ""


class _Reader(xml.sax.handler.ContentHandler):
    """Follows the document and notes what is to be spoken."""

    def __init__(
        self, voice: str, chosen_language: str | None, find_voice: VoiceFinder, get_voice: VoiceGetter
    ) -> None:
        super().__init__()
        self._chosen_language = chosen_language
        self.items: list[Item] = []
        self._find_voice, self._get_voice = find_voice, get_voice
        self._stack = [_Element("", Style(voice), False)]
        self._elements = 0
        self._pause_seconds = 0.0
        self._atom: _Atom | None = None
        self._words: list[str] = []  # not yet an item
        self._words_style = self._stack[0].style

    def endDocument(self) -> None:
        self._flush()

    def startElement(self, name: str, attrs: xml.sax.xmlreader.AttributesImpl) -> None:
        attributes = {key: value for key, value in attrs.items() if not _is_foreign(key)}
        parent = self._stack[-1]
        element = _Element(name, parent.style, parent.muted)
        foreign = ":" in name or attributes.get("xmlns", _NAMESPACE) != _NAMESPACE
        self._check_place(name, foreign)
        if foreign:
            self._stack.append(element)  # not SSML's: passed over, and what it holds is spoken
            return
        self._check(name, attributes)
        start = getattr(self, "_start_" + name.replace("-", "_"), None)
        self._stack.append(start(element, attributes) if start else element)

    def endElement(self, name: str) -> None:
        element = self._stack.pop()
        if name == "p" and not element.muted:
            self._pause(_PARAGRAPH_SECONDS)
        elif name == "s" and not element.muted:
            self._pause(0.0)
        elif self._atom is not None and name == self._atom.name:
            self._end_atom(element)

    def characters(self, content: str) -> None:
        element = self._stack[-1]
        if element.muted:
            return
        if self._atom is None:
            self._say(content, element.style)
            return
        self._atom.content += content
        if len(self._atom.content) > MAX_ATOM_CHARACTERS:
            raise self._error(f"<{self._atom.name}> holds more than {MAX_ATOM_CHARACTERS} characters")

    def _error(self, message: str) -> errors.SsmlInvalid:
        return _invalid(message, self._locator)  # type: ignore[attr-defined]  # set by the parser

    def _check_place(self, name: str, foreign: bool) -> None:
        self._elements += 1
        if name in _REFUSED:
            raise self._error(_REFUSED[name])
        if not foreign and name not in _ATTRIBUTES:
            raise self._error(f"<{name[:40]}> is no element of SSML")
        if (len(self._stack) == 1) != (name == "speak"):
            raise self._error("SSML is one <speak> element with everything in it")
        if self._atom is not None:
            raise self._error(f"<{name[:40]}> is not allowed in <{self._atom.name}>")
        if len(self._stack) > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise self._error(f"SSML may have {MAX_ELEMENTS:,} elements, {MAX_DEPTH} deep")

    def _check(self, name: str, attributes: Attributes) -> None:
        unknown = sorted(set(attributes) - _ATTRIBUTES[name] - {"xmlns", "xml:id", "xml:space"})
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

    def _start_token(self, element: _Element, attributes: Attributes) -> _Element:
        return self._in_language(element, attributes)

    _start_w = _start_token

    def _start_metadata(self, element: _Element, _attributes: Attributes) -> _Element:
        return replace(element, muted=True)

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
            style = replace(style, rate=style.rate * self._value(values.rate, attributes["rate"]))
        if "pitch" in attributes:
            gender = self._get_voice(style.voice).gender
            style = replace(style, pitch=self._value(values.pitch, attributes["pitch"], style.pitch, gender))
        if "range" in attributes:
            factor = self._value(values.pitch_range, attributes["range"])
            style = replace(style, pitch_range=style.pitch_range * factor)
        if "volume" in attributes:
            style = replace(style, volume=min(3.0, style.volume * self._value(values.gain, attributes["volume"])))
        return replace(element, style=style)

    def _start_emphasis(self, element: _Element, attributes: Attributes) -> _Element:
        level = attributes.get("level", "moderate")
        if level not in _EMPHASES:
            raise self._error(f"The level of <emphasis> is one of {', '.join(_EMPHASES)}")
        return replace(element, style=replace(element.style, emphasis=cast(Emphasis, level)))

    def _start_say_as(self, element: _Element, attributes: Attributes) -> _Element:
        kind, form = self._required("say-as", attributes, "interpret-as"), attributes.get("format", "").strip()
        if kind not in say_as.KINDS:
            raise self._error(f"interpret-as is one of {', '.join(say_as.KINDS)}")
        wrong = say_as.check_format(kind, form)
        if wrong:
            raise self._error(wrong)
        self._atom = _Atom("say-as", kind, form)
        return element

    def _start_sub(self, element: _Element, attributes: Attributes) -> _Element:
        alias = self._required("sub", attributes, "alias")
        if not element.muted:
            self._say(alias, element.style)
        return replace(element, muted=True)

    def _start_phoneme(self, element: _Element, attributes: Attributes) -> _Element:
        alphabet, ph = attributes.get("alphabet", "ipa"), self._required("phoneme", attributes, "ph")
        phonemes, ipa = self._phonemes(alphabet, ph)
        self._atom = _Atom("phoneme")
        return replace(element, style=replace(element.style, phonemes=phonemes, ipa=ipa))

    def _start_break(self, element: _Element, attributes: Attributes) -> _Element:
        strength = attributes.get("strength", "medium")
        if strength not in _BREAK_SECONDS:
            raise self._error(f"The strength of <break> is one of {', '.join(_BREAK_SECONDS)}")
        seconds = (
            self._value(values.break_seconds, attributes["time"]) if "time" in attributes else _BREAK_SECONDS[strength]
        )
        if seconds and not element.muted:
            self._pause(seconds)
        return element

    def _start_mark(self, element: _Element, attributes: Attributes) -> _Element:
        name = self._required("mark", attributes, "name")
        if not element.muted:
            self._add(Mark(name))
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
        """Of several names, parted by spaces, the first that there is."""
        failed: errors.InvalidRequest | None = None
        candidates: list[str | None] = [*(name or "").split()]
        for candidate in candidates or [None]:
            try:
                return self._find_voice(candidate, language, gender, element.style.voice)
            except errors.InvalidRequest as error:
                failed = failed or error
        raise self._error((failed.message if failed else "There is no such voice").rstrip(".")) from failed

    def _value(self, read: Callable[..., float], *arguments: object) -> float:
        """What one of `ssml_values` reads."""
        try:
            return read(*arguments)
        except values.BadValue as error:
            raise self._error(str(error)) from None

    def _phonemes(self, alphabet: str, ph: str) -> tuple[str, str | None]:
        """espeak's mnemonics, and the IPA where that is what was written."""
        if alphabet in ("espeak", "x-espeak"):
            if not _MNEMONICS.fullmatch(ph):
                raise self._error("The phonemes are not espeak mnemonics")
            return ph, None
        if alphabet not in ("ipa", "x-sampa"):
            raise self._error("The alphabet of <phoneme> is ipa, x-sampa or x-espeak")
        try:
            ipa = from_x_sampa(ph) if alphabet == "x-sampa" else ph
            return from_ipa(ipa), ipa
        except UnknownPhoneme as error:
            raise self._error(f"The phoneme {error.symbol!r} is not known") from error

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
        atom, self._atom = self._atom, None
        if atom is None or element.muted:
            return
        content, style = plain.clean(atom.content), element.style
        if atom.name == "phoneme":
            self._add(Run(content if plain.is_speakable(content) else " ", style))
        elif not plain.is_speakable(content):
            self._say(content, style)
        elif say_as.is_spelt(atom.kind):
            self._add(Run(content, replace(style, say_as="characters")))
        else:
            language = self._get_voice(style.voice).language
            self._add_said(content, style, say_as.expand(content, atom.kind, atom.form, language))

    def _add_said(self, content: str, style: Style, spoken: str | None) -> None:
        if spoken is None:
            self._say(content, style)
        else:
            self._add(Run(content, style, spoken=f" {spoken} "))


def _is_foreign(name: str) -> bool:
    """An attribute of another namespace, or what declares one."""
    return ":" in name and not name.startswith("xml:")
