"""From a task to the part of `ml` that serves its models: one small interface for all of them."""

from __future__ import annotations

from ml import runtime, stt, tts
from ml.artifacts import ModelFolder
from ml.residency import ModelState
from ml.stt import trials


def install(folder: ModelFolder, *, default: bool) -> None:
    """Makes a model serve under its name; where another version does, it loads beside that one and takes over.

    Raises `MlError`; what served before then goes on serving.
    """
    (tts if folder.manifest.task == "tts" else stt).install(folder, default=default)


def reload(task: str, name: str) -> None:
    """Loads a model anew beside the one that serves, and lets it take over. Raises `MlError`, as `install` does."""
    if task == "tts":
        tts.reload(name)
    else:
        stt.reload(name, task=task)


def uninstall(task: str, name: str) -> None:
    """Takes a model away; requests under way finish with it."""
    if task == "tts":
        tts.uninstall(name)
    else:
        stt.uninstall(name, task=task)


def warm(task: str, name: str) -> ModelState:
    """Loads a model now. Raises `MlError`."""
    return runtime.pool.warm(runtime.model_id(task, name))


def install_trial(folder: ModelFolder) -> None:
    """Makes a version known beside the one that serves under its name. Raises `MlError`."""
    trials.install(folder)


def warm_trial(name: str, version: str) -> ModelState:
    """Loads it now. Raises `MlError`."""
    return trials.warm(name, version)


def uninstall_trial(name: str, version: str) -> None:
    """Requests under way finish with it."""
    trials.uninstall(name, version)


def states() -> dict[tuple[str, str], ModelState]:
    """Of this process's models, by task and name."""
    return {(state.task, state.name): state for state in runtime.pool.states()}
