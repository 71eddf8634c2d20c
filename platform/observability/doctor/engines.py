"""Models and engines: whether the files are whole, and whether this machine speaks and hears."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from ml import artifacts, audio, stt, tts
from ml import engines as loaders
from ml.artifacts import ModelFolder
from ml.errors import MlError, ModelInvalid
from ml.types import SynthesisOptions, TranscriptionOptions
from observability.doctor.findings import Finding, Reporter, megabytes, reason

HASH_SECONDS = 3.0
"""For so long files are compared by their hashes, the smallest folders first; then by their sizes."""

_SENTENCE, _RATE = "one two three four five", 16_000


def models() -> Iterator[Finding]:
    say, base = Reporter("models"), Path(settings.MODEL_BASE_PATH)
    found = list(artifacts.discover(base)) if base.is_dir() else []
    for broken in found:
        if isinstance(broken, ModelInvalid):
            yield say.error(
                f"A model's folder below {base} cannot be read: {broken.message}", "Remove it, or pull it again."
            )
    folders = sorted((f for f in found if isinstance(f, ModelFolder)), key=lambda f: f.manifest.bytes_on_disk)
    whole, hashed, deadline = 0, 0, time.monotonic() + HASH_SECONDS
    for folder in folders:
        by_hash = time.monotonic() < deadline and folder.manifest.bytes_on_disk < 500_000_000
        hashed += by_hash
        try:
            artifacts.verify(folder) if by_hash else _compare_sizes(folder)
            loaders.loader(folder)
        except MlError as error:
            model = f"{folder.manifest.task} {folder.manifest.name}:{folder.manifest.version}"
            yield say.error(
                f"The model {model} cannot be used: {error.message}", "manage.py models verify; pull it again."
            )
        except ImportError as error:
            yield say.error(
                f"The model {folder.manifest.id} needs a package that is missing: {error}.", _torch_hint(error)
            )
        else:
            whole += 1
    if not folders and not found:
        yield say.ok("No models are installed beside the embedded ones.")
    elif whole:
        rest = (
            ""
            if hashed == len(folders)
            else f" ({len(folders) - hashed} by size only: `manage.py models verify` for all)"
        )
        size = megabytes(sum(folder.manifest.bytes_on_disk for folder in folders))
        yield say.ok(f"{whole} of {len(folders)} installed models are whole, {size}{rest}.")


def _compare_sizes(folder: ModelFolder) -> None:
    for name, entry in folder.manifest.files.items():
        file = folder.path / name
        if not file.is_file() or file.stat().st_size != entry.bytes:
            raise ModelInvalid(f"{folder.manifest.id}: the file {name!r} is missing or of another size.")


def _torch_hint(error: ImportError) -> str:
    return f"pip install -r requirements-torch.txt (it has {error.name})."


def engines() -> Iterator[Finding]:
    """Says a sentence with the embedded voice, and hears it with the embedded recogniser."""
    say, started = Reporter("engines"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="speech-doctor-") as folder:
        file = Path(folder) / "sentence.wav"
        try:
            chunks = tts.synthesize(_SENTENCE, SynthesisOptions(voice="espeak:en-us", sample_rate=_RATE))
            with file.open("wb") as spoken:
                made = audio.encode_to_file(chunks, "wav", spoken, sample_rate=_RATE)
        except (MlError, OSError) as error:
            yield say.error(f"The machine cannot speak: {reason(error)}", "Look at memory, limits and the log above.")
            return
        yield say.ok(f"Speaks: {made.duration_seconds:.1f} s of speech after {time.monotonic() - started:.1f} s.")
        started = time.monotonic()
        try:
            heard = stt.transcribe(file, TranscriptionOptions(model="pocketsphinx-en-us"))
        except (MlError, OSError) as error:
            yield say.error(f"The machine cannot hear: {reason(error)}", "Look at memory, limits and the log above.")
            return
    if heard.segments:
        yield say.ok(f"Hears: {heard.text!r} after {time.monotonic() - started:.1f} s.")
    else:
        yield say.warning("The embedded recogniser heard nothing in its own sentence.", "Reinstall pocketsphinx.")
