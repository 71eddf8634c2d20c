"""Lexicons as files: the W3C's PLS 1.0 (https://www.w3.org/TR/pronunciation-lexicon/) and CSV.

PLS has one language for a document and no rule about case; CSV keeps everything. Both are read with care: no DTD, no
entities, nothing is fetched.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any
from xml.etree import ElementTree as ET  # nosec B405 - for writing; defusedxml reads

import defusedxml
import defusedxml.ElementTree

from ml import errors
from ml.tts import lexicon
from ml.tts.lexicon import Entry
from ml.tts.phonemes import UnknownPhoneme, from_x_sampa

NAMESPACE = "http://www.w3.org/2005/01/pronunciation-lexicon"
COLUMNS = ("grapheme", "alias", "ipa", "language", "case_sensitive")

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})


def read_pls(data: bytes, *, most: int) -> list[Entry]:
    """Of a lexeme with several graphemes, an entry each; of several pronunciations, the preferred or the first.

    Raises `InvalidRequest` with line and column, or naming the grapheme.
    """
    root = _parsed(data)
    if root.tag != f"{{{NAMESPACE}}}lexicon":
        raise errors.InvalidRequest("The document is no <lexicon> of PLS 1.0.", param="file")
    alphabet, language = root.get("alphabet", "ipa"), root.get(_LANG, "")
    entries: list[Entry] = []
    for lexeme in root.iter(f"{{{NAMESPACE}}}lexeme"):
        entries += _of_lexeme(lexeme, alphabet, language)
        if len(entries) > most:
            raise errors.InvalidRequest(f"A lexicon holds at most {most:,} entries.", param="file")
    return entries


def _parsed(data: bytes) -> Any:
    try:
        return defusedxml.ElementTree.fromstring(data, forbid_dtd=True)
    except ET.ParseError as error:
        line, column = error.position
        message = f"The PLS is not well-formed (line {line}, column {column + 1})."
        raise errors.InvalidRequest(message, param="file") from None
    except (defusedxml.DefusedXmlException, ValueError, LookupError):
        raise errors.InvalidRequest(
            "A PLS may have no document type or entities, and is UTF-8.", param="file"
        ) from None


def _of_lexeme(lexeme: Any, alphabet: str, language: str) -> Iterator[Entry]:
    spoken = {name: lexeme.findall(f"{{{NAMESPACE}}}{name}") for name in ("phoneme", "alias")}
    preferred = [node for nodes in spoken.values() for node in nodes if node.get("prefer") == "true"]
    chosen = next(iter([*preferred, *spoken["phoneme"], *spoken["alias"]]), None)
    for grapheme in lexeme.findall(f"{{{NAMESPACE}}}grapheme"):
        written = "".join(grapheme.itertext())
        said = "" if chosen is None else "".join(chosen.itertext()).strip()
        if chosen is not None and chosen.tag.endswith("}phoneme"):
            ipa = _ipa(said, chosen.get("alphabet", alphabet), written)
            yield lexicon.check(Entry(written, ipa=ipa, language=language))
        else:
            yield lexicon.check(Entry(written, alias=said, language=language))


def _ipa(said: str, alphabet: str, grapheme: str) -> str:
    if alphabet == "ipa":
        return said
    if alphabet != "x-sampa":
        raise errors.InvalidRequest(f"{grapheme[:40]!r}: the alphabet is ipa or x-sampa.", param="file")
    try:
        return from_x_sampa(said)
    except UnknownPhoneme as error:
        raise errors.InvalidRequest(
            f"{grapheme[:40]!r}: the phoneme {error.symbol!r} is not known.", param="file"
        ) from None


def write_pls(entries: Iterable[Entry], language: str) -> bytes:
    """Those that hold for `language` (BCP-47)."""
    ET.register_namespace("", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}lexicon", {"version": "1.0", "alphabet": "ipa", _LANG: language})
    for entry in entries:
        if entry.language and entry.language.lower() != language.lower():
            continue
        lexeme = ET.SubElement(root, f"{{{NAMESPACE}}}lexeme")
        ET.SubElement(lexeme, f"{{{NAMESPACE}}}grapheme").text = entry.grapheme
        kind, said = ("phoneme", entry.ipa) if entry.ipa else ("alias", entry.alias)
        ET.SubElement(lexeme, f"{{{NAMESPACE}}}{kind}").text = said
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def read_csv(data: bytes, *, most: int) -> list[Entry]:
    """With a header of `COLUMNS`, of which the grapheme and one that says it must be there. Raises `InvalidRequest`."""
    try:
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = rows.fieldnames or ()
        if "grapheme" not in names or set(names) - set(COLUMNS):
            raise errors.InvalidRequest(f"The columns of the CSV are {', '.join(COLUMNS)}.", param="file")
        entries: list[Entry] = []
        for row in rows:
            if len(entries) == most:
                raise errors.InvalidRequest(f"A lexicon holds at most {most:,} entries.", param="file")
            entries.append(_of_row(row, rows.line_num))
    except (UnicodeDecodeError, csv.Error) as error:
        raise errors.InvalidRequest(f"The file is no CSV in UTF-8: {error}.", param="file") from None
    return entries


def _of_row(row: dict[str | Any, str | Any], line: int) -> Entry:
    case = str(row.get("case_sensitive") or "").strip().lower()
    if None in row or case not in _TRUE | _FALSE:
        raise errors.InvalidRequest(f"Line {line} of the CSV has too many columns or no known case rule.", param="file")
    texts = {name: str(row.get(name) or "") for name in COLUMNS[:4]}
    try:
        return lexicon.check(Entry(**texts, case_sensitive=case in _TRUE))
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(f"Line {line} of the CSV: {error.message}", param="file") from None


def write_csv(entries: Iterable[Entry]) -> bytes:
    """With a header; cells that a spreadsheet would take for formulas are words and phonemes, and stay as they are."""
    made = io.StringIO(newline="")
    writer = csv.writer(made)
    writer.writerow(COLUMNS)
    for entry in entries:
        case = "true" if entry.case_sensitive else "false"
        writer.writerow([entry.grapheme, entry.alias, entry.ipa, entry.language, case])
    return made.getvalue().encode()
