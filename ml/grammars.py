"""The grammars of nemo_text_processing: numbers, money, dates, measures, addresses and more, from words and to words.

    grammars.configure(folder)                          # nothing happens without it
    grammar = grammars.ready("itn", "en")               # None until it is built, which asking for it begins
    grammar.write(["twenty three kilograms"])           # → ["23 kg"]

The package is optional (requirements-nemo.txt) and heavy: it is imported in child processes alone, which also keep its
native code from holding the GIL and from taking the server along. Grammars are compiled on first need, in the
background, for a minute or two; they are kept in `folder`, from which they are read in a second or so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import shutil
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ml import errors
from ml.workers import WorkerPool

log = logging.getLogger(__name__)

Direction = Literal["itn", "tn"]
"""Inverse normalisation, of what was heard; normalisation, of what is to be spoken."""

PACKAGE = "nemo_text_processing"
LANGUAGES = frozenset({"en", "hi"})
BUILD_SECONDS = 900.0
CALL_SECONDS = 20.0
PROCESSES = 2  # for each language and direction, started as they are needed; about 160 MB each


def installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


class Grammar:
    """Of one direction and language. Safe to use from several threads."""

    def __init__(self, direction: Direction, language: str, folder: Path) -> None:
        self.built = threading.Event()
        self._name = f"{direction}-{language}"
        options = {"direction": direction, "language": language, "folder": str(folder)}
        self._pool = WorkerPool("ml.grammars:Worker", options, size=PROCESSES)
        threading.Thread(target=self._build, name=f"grammar-{self._name}", daemon=True).start()

    def write(self, texts: Sequence[str]) -> list[str]:
        """Each text written the other way. Raises `EngineFailed`, `EngineUnavailable`."""
        written: list[str] = self._pool.call("write", list(texts), timeout_seconds=CALL_SECONDS, repeatable=True)
        return written

    def close(self) -> None:
        self._pool.close()

    def _build(self) -> None:
        try:
            self._pool.call("write", [], timeout_seconds=BUILD_SECONDS)
        except errors.MlError as error:
            log.error("grammar not built", extra={"grammar": self._name, "error": str(error)})
        else:
            self.built.set()


class _Shelf:
    """Which grammars this process has, or is building."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._grammars: dict[tuple[str, str], Grammar] = {}

    def configure(self, folder: Path | None) -> None:
        """Lets grammars be used, and kept in a folder; None: not, which is how it begins.

        Raises `EngineUnavailable` where the package is not installed.
        """
        if folder is not None and not installed():
            raise errors.EngineUnavailable(f"{PACKAGE} is not installed: see requirements-nemo.txt.")
        with self._lock:
            self._folder = folder
            unused = list(self._grammars.values())
            self._grammars.clear()
        for grammar in unused:
            grammar.close()

    def ready(self, direction: Direction, language: str) -> Grammar | None:
        """A grammar of a language (ISO 639-1), where it is wanted, there is one, and it has been built."""
        with self._lock:
            if self._folder is None or language not in LANGUAGES:
                return None
            grammar = self._grammars.get((direction, language))
            if grammar is None:
                grammar = self._grammars[direction, language] = Grammar(direction, language, self._folder)
        return grammar if grammar.built.is_set() else None


_shelf = _Shelf()
configure, ready = _shelf.configure, _shelf.ready


# ── In the child ────────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """Holds a grammar, read from the folder or compiled into it."""

    def __init__(self, direction: str, language: str, folder: str) -> None:
        logging.getLogger("NeMo-text-processing").setLevel(logging.WARNING)
        version = importlib.metadata.version(PACKAGE)
        kept = Path(folder) / f"{direction}-{language}-{version}"
        self._native = _read(direction, language, kept) if kept.is_dir() else None
        if self._native is None:
            self._native = _compile(direction, language, kept)
        self._write = self._native.inverse_normalize if direction == "itn" else self._native.normalize

    def write(self, texts: list[str]) -> list[str]:
        return [self._write(text, verbose=False) for text in texts]


def _read(direction: str, language: str, kept: Path) -> Any:
    """None where a full disk or a broken one has left something that is no grammar."""
    try:
        return _make(direction, language, kept)
    except Exception:
        log.exception("grammar cannot be read, and is compiled again", extra={"folder": str(kept)})
        shutil.rmtree(kept, ignore_errors=True)
        return None


def _compile(direction: str, language: str, kept: Path) -> Any:
    """Written whole or not at all; where another process was faster, its files stay."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{kept.name}-", dir=kept.parent))
    try:
        native = _make(direction, language, temporary)
        with suppress(OSError):
            temporary.rename(kept)
        return native
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make(direction: str, language: str, cache: Path) -> Any:
    if direction == "itn":
        from nemo_text_processing.inverse_text_normalization.inverse_normalize import InverseNormalizer

        return InverseNormalizer(lang=language, cache_dir=str(cache))
    from nemo_text_processing.text_normalization.normalize import Normalizer

    return Normalizer(input_case="cased", lang=language, cache_dir=str(cache))
