"""Runs an installed model over a manifest, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from common import db
from ml import evaluation, stt
from ml.errors import EngineFailed, ModelInvalid
from ml.evaluation import Evaluation, FileResult, Recording
from ml.types import TranscriptionOptions
from models_registry import engines, folders, runtime
from models_registry.models import ModelTask, ModelVersion


def evaluate(
    *,
    row: ModelVersion,
    manifest: Path,
    limit: int | None = None,
    verbatim: bool = False,
    progress: Callable[[FileResult], None] | None = None,
) -> Evaluation:
    """Word and character error rates and speed of one version, whether it is active or not.

    What is measured are the words that the model hears: they are not written as numbers, nor punctuated.

    The model is loaded before the clock runs. Raises `InvalidRequest` for a manifest that is wrong, `ModelInvalid`.
    """
    if row.task != ModelTask.STT:
        raise ModelInvalid(f"{row.reference} recognises nothing: only {ModelTask.STT} models have an error rate.")
    recordings = evaluation.read_manifest(manifest, limit=limit)
    with db.released(), _installed(row) as trial:

        def recognise(recording: Recording) -> tuple[str, float]:
            options = TranscriptionOptions(model=row.name, language_hint=recording.language, itn=False, punctuate=False)
            transcript = stt.transcribe(recording.audio, options, trial=trial)
            if transcript.stages and transcript.version_used not in ("", row.version):
                raise EngineFailed(
                    f"{row.reference} did not recognise it: {transcript.fallback_reason or 'another did'}"
                )
            return transcript.text, transcript.duration_seconds

        if trial is not None:
            engines.warm_trial(row.name, trial)
        else:
            engines.warm(row.task, row.name)
        if row.is_embedded:
            recognise(recordings[0])  # starts its processes
        return evaluation.evaluate(row.reference, manifest, recordings, recognise, verbatim=verbatim, progress=progress)


@contextmanager
def _installed(row: ModelVersion) -> Iterator[str | None]:
    """For the time of the block, unless it serves in this process anyway; what to ask for as a trial.

    Where another version serves under the name, this one is put beside it, out of everybody's sight.
    """
    served = next((model for model in stt.models() if model.name == row.name), None)
    if row.is_embedded or (served is not None and served.version == row.version):
        yield None
    elif served is None:
        engines.install(folders.folder_of(row), default=False)
        try:
            yield None
        finally:
            engines.uninstall(row.task, row.name)
    elif any((trial.name, trial.version) == (row.name, row.version) for trial in runtime.current.trials.running()):
        yield row.version
    else:
        engines.install_trial(folders.folder_of(row))
        try:
            yield row.version
        finally:
            engines.uninstall_trial(row.name, row.version)
