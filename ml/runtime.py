"""The models and the queues of this process.

    runtime.configure(memory_budget_bytes={"host": 8 << 30}, idle_seconds=900)
    runtime.pool        the resident models
    runtime.batcher     the way to their computing
    runtime.place(…)    a model folder into the pool; `ml.stt.install` and `ml.tts.install` do that and more

Without a configuration, models may take 60% of the machine's memory and all of a GPU's.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ml import artifacts, devices, engines, errors
from ml.artifacts import ModelFolder
from ml.batching import Batcher
from ml.residency import ModelPool, ModelSpec, ModelState

_HOST_SHARE = 0.6

pool = ModelPool({"host": round(_HOST_SHARE * devices.host_memory_bytes())})
batcher = Batcher(pool)


def configure(
    *,
    memory_budget_bytes: Mapping[str, int] | None = None,
    idle_seconds: float | None = None,
    retry_after_failure_seconds: float | None = None,
    window_seconds: float | None = None,
    max_queue: int | None = None,
    max_queue_per_tenant: int | None = None,
) -> None:
    """Sets limits as `ModelPool` and `Batcher` have them; None leaves one as it is. `idle_seconds` of 0: never free."""
    if memory_budget_bytes is not None:
        pool.memory_budget_bytes = dict(memory_budget_bytes)
    if idle_seconds is not None:
        pool.idle_seconds = idle_seconds or None
    if retry_after_failure_seconds is not None:
        pool.retry_after_failure_seconds = retry_after_failure_seconds
    if window_seconds is not None:
        batcher.window_seconds = window_seconds
    if max_queue is not None:
        batcher.max_queue = max_queue
    if max_queue_per_tenant is not None:
        batcher.max_queue_per_tenant = max_queue_per_tenant


# ── Model folders ───────────────────────────────────────────────────────────────────────────────────────────────────

_SERVING_SETTINGS = ("priority", "fallback_confidence", "keep_resident", "memory_bytes")
"""Of `model.json`, for whoever routes and keeps models; its engine is not shown them."""

_placing = threading.Lock()
_folders: dict[str, ModelFolder] = {}


@dataclass(frozen=True, slots=True)
class Serving:
    """What `settings` of a model folder say about routing and residency."""

    priority: int | None  # None: by the kind of model
    fallback_confidence: float  # a transcript under it goes to the next model; 0: none does
    keep_resident: bool  # never freed for idleness or room
    memory_bytes: int | None  # None: what the files take


def model_id(task: str, name: str) -> str:
    """The pool's id of a model, the same for all its versions."""
    return f"{task}/{name}"


def serving(folder: ModelFolder) -> Serving:
    """Raises `ModelInvalid` for values that cannot be."""
    settings = folder.manifest.settings
    priority, memory = settings.get("priority"), settings.get("memory_bytes")
    confidence, keep = settings.get("fallback_confidence", 0.0), settings.get("keep_resident", False)
    for name, value in (("priority", priority), ("memory_bytes", memory)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise errors.ModelInvalid(f"{folder.manifest.id}: settings.{name} must be a number from 0.")
    if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise errors.ModelInvalid(f"{folder.manifest.id}: settings.fallback_confidence is from 0 to 1.")
    if not isinstance(keep, bool):
        raise errors.ModelInvalid(f"{folder.manifest.id}: settings.keep_resident must be true or false.")
    return Serving(priority, float(confidence), keep, memory)


def for_engine(folder: ModelFolder) -> ModelFolder:
    """The folder as its engine sees it."""
    own = {name: value for name, value in folder.manifest.settings.items() if name not in _SERVING_SETTINGS}
    return replace(folder, manifest=replace(folder.manifest, settings=own))


def static_function(folder: ModelFolder, name: str) -> Callable[..., Any] | None:
    """A function beside the folder's loader, such as `capabilities`, that tells of a model without loading it."""
    found = getattr(sys.modules[engines.loader(folder).__module__], name, None)
    return found if callable(found) else None


def place(folder: ModelFolder, *, capabilities: Any = None, reload: bool = False) -> ModelState:
    """Registers a folder, or swaps it for the version of the same name that serves; that one loads at once.

    The same folder again changes nothing, unless `reload`. Raises `ModelInvalid`, `EngineFailed` or
    `EngineUnavailable`, and then what served goes on serving.
    """
    spec = _spec(folder, capabilities)
    with _placing:
        before = _folders.get(spec.id)
        if before is None:
            pool.register(spec)
            state = pool.state(spec.id)
        elif before == folder and not reload:
            return pool.state(spec.id)
        else:
            state = pool.replace(spec)
        _folders[spec.id] = folder
    return state


def remove(task: str, name: str) -> None:
    """Takes a placed model away; requests under way finish with it. Raises `UnknownModel`."""
    with _placing:
        if _folders.pop(model_id(task, name), None) is None:
            raise errors.UnknownModel(f"There is no installed {task} model {name!r}.", param="model")
        pool.unregister(model_id(task, name))


def reread(task: str, name: str) -> ModelFolder:
    """The folder of a placed model, its manifest read again. Raises `UnknownModel`, `ModelInvalid`."""
    folder = _folders.get(model_id(task, name))
    if folder is None:
        raise errors.UnknownModel(f"There is no installed {task} model {name!r}.", param="model")
    return artifacts.read(folder.path)


def folders(task: str) -> tuple[ModelFolder, ...]:
    """Those that are placed."""
    return tuple(folder for folder in _folders.copy().values() if folder.manifest.task == task)


class PooledModel:
    """Looks like the engine, and takes it from the pool for the length of each call."""

    def __init__(self, model_id: str) -> None:
        self._model_id = model_id

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            with pool.acquire(self._model_id) as engine:
                return getattr(engine, name)(*args, **options)

        return call


def _spec(folder: ModelFolder, capabilities: Any) -> ModelSpec:
    manifest = folder.manifest
    settings = serving(folder)
    engines.loader(folder)  # raises for what no engine serves
    wanted = devices.resolve(manifest.settings.get("device", devices.CPU))  # refuses what is not there
    overridden = manifest.capabilities
    return ModelSpec(
        id=model_id(manifest.task, manifest.name),
        task=manifest.task,
        name=manifest.name,
        version=manifest.version,
        engine=manifest.engine,
        load=functools.partial(engines.load, for_engine(folder)),
        device=devices.resolve(getattr(capabilities, "device", wanted)),
        estimated_bytes=settings.memory_bytes or manifest.bytes_on_disk,
        pinned=settings.keep_resident,
        max_batch=overridden.get("max_batch"),
        concurrency=overridden.get("concurrency"),
    )
