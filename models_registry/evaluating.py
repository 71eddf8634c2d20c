"""Runs an installed model over a manifest, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common import db
from ml import evaluation, stt
from ml.errors import ModelInvalid
from ml.evaluation import Evaluation, FileResult, Recording
from ml.types import TranscriptionOptions
from models_registry import engines, folders
from models_registry.models import ModelTask, ModelVersion


def evaluate(
    *, row: ModelVersion, manifest: Path, limit: int | None = None, progress: Callable[[FileResult], None] | None = None
) -> Evaluation:
    """Word and character error rates and speed of one version, whether it is active or not.

    The model is loaded before the clock runs. Raises `InvalidRequest` for a manifest that is wrong, `ModelInvalid`.
    """
    if row.task != ModelTask.STT:
        raise ModelInvalid(f"{row.reference} recognises nothing: only {ModelTask.STT} models have an error rate.")
    recordings = evaluation.read_manifest(manifest, limit=limit)
    with db.released(), _installed(row):

        def recognise(recording: Recording) -> tuple[str, float]:
            options = TranscriptionOptions(model=row.name, language_hint=recording.language)
            transcript = stt.transcribe(recording.audio, options)
            return transcript.text, transcript.duration_seconds

        engines.warm(row.task, row.name)
        if row.is_embedded:
            recognise(recordings[0])  # starts its processes
        return evaluation.evaluate(row.reference, manifest, recordings, recognise, progress=progress)


@contextmanager
def _installed(row: ModelVersion) -> Iterator[None]:
    """For the time of the block, unless it serves in this process anyway."""
    if row.is_embedded or (row.task, row.name) in engines.states():
        yield
        return
    engines.install(folders.folder_of(row), default=False)
    try:
        yield
    finally:
        engines.uninstall(row.task, row.name)
