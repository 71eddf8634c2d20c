"""`known_speaker_names` and `known_speaker_references`: data URLs with a few seconds of somebody's voice."""

from __future__ import annotations

import base64
import binascii
import re
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from common import db
from ml.stt.known_speakers import enrol
from ml.types import KnownSpeaker

MOST = 4

_DATA_URL = re.compile(r"data:[\w.+/;=-]*;base64,(?P<content>[A-Za-z0-9+/\s]+=*)\s*")


def content_of(data_url: str) -> bytes:
    """Raises ValueError."""
    match = _DATA_URL.fullmatch(data_url)
    if match is None:
        raise ValueError("not a data URL in base64")
    try:
        return base64.b64decode(match["content"])
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def enrolled(
    names: Sequence[str], samples: Sequence[bytes], *, cancel: threading.Event | None = None
) -> tuple[KnownSpeaker, ...]:
    """Each voice, learned from its sample; nothing of it is stored. Raises what `enrol` raises."""
    return tuple(_enrolled(name, sample, cancel) for name, sample in zip(names, samples, strict=True))


def _enrolled(name: str, sample: bytes, cancel: threading.Event | None) -> KnownSpeaker:
    with db.released(), tempfile.NamedTemporaryFile(suffix=".audio") as file:
        file.write(sample)
        file.flush()
        return enrol(name, Path(file.name), cancel=cancel)
