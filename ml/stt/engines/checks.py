"""Looks into ONNX files and token tables before native code does.

sherpa-onnx ends the whole process over a missing entry in a model's metadata, so a folder is read here first: the
outer fields of the protocol buffer alone, weights skipped over, without a library for it. Field numbers are those of
onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ml.errors import ModelInvalid

MAX_TEXT_BYTES = 16 << 20
"""Of one metadata entry, and of a token table."""

_GRAPH, _METADATA = 7, 14  # of ModelProto
_INPUT, _OUTPUT = 11, 12  # of GraphProto
_NAME = 1  # of ValueInfoProto
_KEY, _VALUE = 1, 2  # of StringStringEntryProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    metadata: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_onnx(path: Path) -> OnnxFacts:
    """Raises `ModelInvalid` for what is no ONNX model."""
    metadata: dict[str, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    graphs = 0
    try:
        with path.open("rb") as stream:
            for number, length in _fields(stream, path.stat().st_size):
                end = stream.tell() + length
                if number == _METADATA:
                    entry = {field: _text(stream, size) for field, size in _fields(stream, end)}
                    metadata[entry.get(_KEY, "")] = entry.get(_VALUE, "")
                elif number == _GRAPH:
                    graphs += 1
                    for field, size in _fields(stream, end):
                        if field in (_INPUT, _OUTPUT):
                            (inputs if field == _INPUT else outputs).append(_value_name(stream, size))
                stream.seek(end)
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path.name} is no ONNX model: {error}") from None
    if graphs != 1 or not outputs:
        raise ModelInvalid(f"{path.name} is no ONNX model: it has no graph.")
    return OnnxFacts(metadata, tuple(inputs), tuple(outputs))


def require_metadata(path: Path, names: Collection[str], *, numbers: Collection[str] = ()) -> OnnxFacts:
    """The facts of a file that has these entries; those in `numbers` are whole and over 0. Raises `ModelInvalid`."""
    facts = read_onnx(path)
    missing = [name for name in (*names, *numbers) if name not in facts.metadata]
    if missing:
        raise ModelInvalid(f"{path.name} lacks the metadata {', '.join(missing)}.")
    for name in numbers:
        value = facts.metadata[name]
        if not value.isascii() or not value.isdigit() or not 0 < int(value) < 2**31:
            raise ModelInvalid(f"{path.name}: the metadata {name} must be a positive number, not {value[:40]!r}.")
    return facts


def require_shape(path: Path, facts: OnnxFacts, *, inputs: int, outputs: int) -> None:
    """That a graph has at least as many inputs and outputs as are bound by position. Raises `ModelInvalid`."""
    if len(facts.inputs) < inputs or len(facts.outputs) < outputs:
        raise ModelInvalid(
            f"{path.name} has {len(facts.inputs)} inputs and {len(facts.outputs)} outputs; "
            f"{inputs} and {outputs} are needed."
        )


def read_tokens(path: Path) -> dict[str, int]:
    """A table of `symbol id` a line; a line of an id alone is the space. Raises `ModelInvalid`."""
    table: dict[str, int] = {}
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise ValueError("it is too large")
        for line in path.read_text("utf-8").split("\n"):
            if line.strip():
                symbol, number = _token(line.rstrip("\r"))
                table[symbol] = number
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path.name} is no table of tokens: {error}") from None
    if sorted(table.values()) != list(range(len(table))):
        raise ModelInvalid(f"{path.name} is no table of tokens: its numbers are not 0 to {len(table) - 1}.")
    return table


def require_vocabulary(path: Path, facts: OnnxFacts, tokens: dict[str, int], *, blank_beyond: bool = False) -> None:
    """That every number a model can write has a symbol. blank_beyond: `vocab_size` leaves out the blank."""
    size = int(facts.metadata["vocab_size"]) + int(blank_beyond)
    if len(tokens) != size:
        raise ModelInvalid(f"{path.name} writes {size} tokens, and the table has {len(tokens)}.")


def _token(line: str) -> tuple[str, int]:
    parts = line.split()
    if len(parts) not in (1, 2) or not parts[-1].isascii() or not parts[-1].isdigit():
        raise ValueError(f"the line {line[:40]!r}")
    return (parts[0] if len(parts) == 2 else " "), int(parts[-1])


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """(number, length) of each length-delimited field up to `end`; the stream stands at its first byte."""
    while stream.tell() < end:
        key = _varint(stream)
        kind, number = key & 7, key >> 3
        if kind == _VARINT:
            _varint(stream)
        elif kind in (_FIXED64, _FIXED32):
            stream.seek(8 if kind == _FIXED64 else 4, 1)
        elif kind == _BYTES:
            length = _varint(stream)
            after = stream.tell() + length
            if after > end:
                raise ValueError("a field is longer than the file")
            yield number, length
            stream.seek(after)
        else:
            raise ValueError(f"there is no field type {kind}")


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = stream.read(1)
        if not byte:
            raise ValueError("it ends early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is too long")


def _text(stream: BinaryIO, length: int) -> str:
    if length > MAX_TEXT_BYTES:
        raise ValueError("an entry is too large")
    return stream.read(length).decode("utf-8", "replace")


def _value_name(stream: BinaryIO, length: int) -> str:
    name = ""
    for field, size in _fields(stream, stream.tell() + length):
        if field == _NAME:
            name = _text(stream, size)
    return name
