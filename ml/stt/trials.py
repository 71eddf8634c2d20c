"""Versions on trial: beside the version that serves under a name, another one that only chosen requests are given to.

    trials.install(folder)                                    # known, and out of everybody's sight
    stt.transcribe(path, options, trial="2")                  # asks version 2 first, where the options choose its model
    trials.uninstall("tiny", "2")

The version that serves stays among the candidates, so that it takes over where the other fails: a trial fails no
request that would have succeeded.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from ml import runtime
from ml.artifacts import ModelFolder
from ml.residency import ModelState
from ml.stt import registry
from ml.stt.registry import ModelInfo, Resolution
from ml.types import TranscriptionOptions

_infos: dict[tuple[str, str], ModelInfo] = {}
_lock = threading.Lock()


def install(folder: ModelFolder) -> ModelState:
    """Makes a version known; it loads with its first use, or by `warm`. Raises `ModelInvalid`."""
    info = replace(registry.describe(folder), on_trial=True)
    named = replace(folder, manifest=replace(folder.manifest, name=info.label))
    state = runtime.place(named, capabilities=info.capabilities)
    with _lock:
        _infos[info.name, info.version] = info
    return state


def warm(name: str, version: str) -> ModelState:
    """Loads it now. Raises `MlError`."""
    return runtime.pool.warm(_info(name, version).id)


def uninstall(name: str, version: str) -> None:
    """Requests under way finish with it. Raises `UnknownModel`."""
    info = _info(name, version)
    with _lock:
        del _infos[name, version]
    runtime.remove(registry.TASK, info.label)


def resolve(resolution: Resolution, options: TranscriptionOptions, version: str | None) -> Resolution:
    """With that version of the chosen model before it; as it was where that version cannot do what is asked."""
    with _lock:
        info = _infos.get((resolution.model.name, version)) if version is not None else None
    if info is None or not _fits(info, resolution, options):
        return resolution
    others = tuple(other for other in resolution.candidates or (resolution.model,) if not other.on_trial)
    return replace(resolution, model=info, candidates=(info, *others))


def _fits(info: ModelInfo, resolution: Resolution, options: TranscriptionOptions) -> bool:
    able = info.capabilities
    known = bool(resolution.language_confidence)
    speaks = not known or registry.primary_language(resolution.language) in able.languages
    return speaks and (options.task != "translate" or able.translation)


def _info(name: str, version: str) -> ModelInfo:
    with _lock:
        info = _infos.get((name, version))
    if info is None:
        raise registry.unknown(f"{name}@{version}")
    return info
