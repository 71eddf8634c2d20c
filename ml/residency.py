"""Models in memory: loaded when first used, shared by all who ask, counted, and freed again.

    pool.register(spec)                  # known; nothing loads
    with pool.acquire("stt/tiny") as engine:   # loads once, however many threads ask
        engine.recognise(windows)
    pool.replace(new_spec)               # loads beside the old one; who holds the old one finishes with it

A model that nobody uses is freed when it was idle for long enough, or, least recently used first, when another needs
the room; a model in use never is. A load that fails is reported, and tried again only after a while.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from ml import errors, observe
from ml.loading import ModelSpec, load_measured, return_memory
from ml.room import Resident, Room
from ml.types import ModelState, Status
from ml.waiting import wait_for

__all__ = ["ModelPool", "ModelSpec", "ModelState", "Status"]

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Model:
    """A name under which one version serves."""

    spec: ModelSpec
    resident: Resident | None = None
    loading: Future[None] | None = None
    waiters: int = 0  # for its load, or its replacement's; meanwhile it is not freed for room
    error: str | None = None
    retry_at: float = 0.0  # of the pool's clock; no load is tried before
    swapping: threading.Lock = field(default_factory=threading.Lock)


class ModelPool:
    """Safe to use from any thread.

    memory_budget_bytes: by device ("cuda:1") or kind of memory ("host", "cuda", the latter for each GPU); none: no
    limit. idle_seconds: None keeps models for ever. retry_after_failure_seconds: how long a failed model stays away.
    """

    def __init__(
        self,
        memory_budget_bytes: Mapping[str, int] | None = None,
        *,
        idle_seconds: float | None = 900.0,
        retry_after_failure_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._room = Room(memory_budget_bytes or {})
        self.idle_seconds = idle_seconds
        self.retry_after_failure_seconds = retry_after_failure_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._models: dict[str, _Model] = {}
        self._closed = threading.Event()
        self._sweeper: threading.Thread | None = None

    # ── Which models there are ──────────────────────────────────────────────────────────────────────────────────────

    def register(self, spec: ModelSpec) -> None:
        """Makes a model known; nothing loads. Raises `ModelInvalid` where the id is taken: see `replace`."""
        with self._lock:
            if spec.id in self._models:
                raise errors.ModelInvalid(f"{spec.id} is registered already.")
            self._models[spec.id] = _Model(spec)

    def unregister(self, model_id: str) -> None:
        """Takes a model away; its memory is freed when its last user has left. Unknown ids are no error."""
        with self._lock:
            model = self._models.pop(model_id, None)
            unused = self._retire(model) if model is not None else []
        self._close(unused)

    def states(self) -> tuple[ModelState, ...]:
        with self._lock:
            return tuple(self._state(model) for _, model in sorted(self._models.items()))

    def state(self, model_id: str) -> ModelState:
        """Raises `UnknownModel`."""
        with self._lock:
            return self._state(self._find(model_id))

    def spec(self, model_id: str) -> ModelSpec:
        """Of the version that serves. Raises `UnknownModel`."""
        with self._lock:
            return self._find(model_id).spec

    def memory_bytes(self) -> dict[str, int]:
        """What loaded models take, by device; versions that are on their way out count while they are used."""
        with self._lock:
            return self._room.taken()

    @property
    def memory_budget_bytes(self) -> dict[str, int]:
        return self._room.budget_bytes

    @memory_budget_bytes.setter
    def memory_budget_bytes(self, budget: Mapping[str, int]) -> None:
        self._room.budget_bytes = dict(budget)

    # ── Using them ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def acquire(
        self, model_id: str, *, cancel: threading.Event | None = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """Yields the engine, loaded if need be, which stays loaded and unchanged until the block ends.

        Raises `UnknownModel`; `EngineUnavailable` where it cannot be loaded now (it failed, there is no room, or it
        took longer than `timeout` seconds); `Cancelled`. A load that its caller gave up goes on for the next.
        """
        try:
            resident = self._take(model_id, cancel, timeout)
        except (errors.ModelInvalid, errors.EngineFailed) as error:
            raise errors.EngineUnavailable(f"The model {model_id} cannot be loaded: {error}") from error
        try:
            yield resident.engine
        finally:
            self._give_back(resident)

    def warm(self, model_id: str) -> ModelState:
        """Loads a model now, also one that failed a moment ago. Raises what its loading raises."""
        with self._lock:
            self._find(model_id).retry_at = 0.0
        self._give_back(self._take(model_id, None, None))
        return self.state(model_id)

    def replace(self, spec: ModelSpec) -> ModelState:
        """Loads another version beside the serving one, which then goes when its last user leaves.

        Raises what loading raises, and `EngineUnavailable` where both do not fit; the old one then goes on serving.
        """
        with self._lock:
            model = self._find(spec.id)
            model.waiters += 1  # or the old one might have to make room for the new
        with model.swapping:
            try:
                resident = self._load(spec)
            except errors.MlError as error:
                model.error = str(error)
                raise
            finally:
                with self._lock:
                    model.waiters -= 1
            with self._lock:
                unused = self._retire(model)
                model.spec, model.resident, model.error, model.retry_at = spec, resident, None, 0.0
                if self._models.get(spec.id) is not model:  # unregistered meanwhile
                    unused += self._retire(model)
        self._close(unused)
        return self.state(spec.id)

    def mark_failed(self, model_id: str, error: BaseException | str, *, engine: Any = None) -> None:
        """Drops a broken engine: nobody gets it any more, and it is loaded again on the next use after a while.

        With `engine`, only if that one still serves, so that late reports of an old fault do not hit its successor.
        """
        with self._lock:
            model = self._models.get(model_id)
            if model is None or model.resident is None or engine not in (None, model.resident.engine):
                return
            self._note_failure(model, error)
            unused = self._retire(model)
        log.error("model failed", extra={"model": model_id, "error": str(error)})
        observe.tell(observe.ModelBroke(model_id))
        self._close(unused)

    # ── Freeing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def evict_idle(self) -> tuple[str, ...]:
        """Frees what nobody used for `idle_seconds`; their ids. A thread does so every now and then."""
        if self.idle_seconds is None:
            return ()
        with self._lock:
            since = self._clock() - self.idle_seconds
            unused = self._evict([resident for resident in self._unused() if resident.last_used <= since])
        self._close(unused, reason="idle")
        return tuple(resident.spec.id for resident in unused)

    def close(self) -> None:
        """Frees everything; what is in use, when its last user leaves. No model can be acquired any more."""
        self._closed.set()
        with self._lock:
            unused = [resident for model in self._models.values() for resident in self._retire(model)]
            self._models.clear()
            sweeper = self._sweeper
        self._close(unused)
        if sweeper is not None:
            sweeper.join()

    # ── States ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _state(self, model: _Model) -> ModelState:
        spec, resident = model.spec, model.resident
        return ModelState(
            id=spec.id,
            task=spec.task,
            name=spec.name,
            version=spec.version,
            engine=spec.engine,
            status=_status(model),
            device=spec.device,
            memory_bytes=resident.memory_bytes if resident else None,
            process_bytes=resident.process_bytes() if resident else 0,
            loaded_at=resident.loaded_at if resident else None,
            users=resident.users if resident else 0,
            last_error=model.error,
        )

    # ── Taking and giving back ──────────────────────────────────────────────────────────────────────────────────────

    def _find(self, model_id: str) -> _Model:
        if self._closed.is_set():
            raise errors.EngineUnavailable("The server is shutting down.")
        model = self._models.get(model_id)
        if model is None:
            raise errors.UnknownModel(f"There is no model {model_id!r}.", param="model")
        return model

    def _take(self, model_id: str, cancel: threading.Event | None, timeout: float | None) -> Resident:
        deadline = None if timeout is None else time.monotonic() + timeout
        waited_for: _Model | None = None
        while True:
            with self._lock:
                if waited_for is not None:
                    waited_for.waiters -= 1
                    waited_for = None
                model = self._find(model_id)
                if model.resident is not None:
                    model.resident.users += 1
                    model.resident.last_used = self._clock()
                    return model.resident
                loading = self._start_loading(model)
                model.waiters += 1
                waited_for = model
            try:
                wait_for(loading, cancel, deadline=deadline)
            except BaseException:
                with self._lock:
                    model.waiters -= 1
                raise

    def _give_back(self, resident: Resident) -> None:
        with self._lock:
            resident.users -= 1
            resident.last_used = self._clock()
            last = resident.retired and not resident.users
        if last:  # in a thread, because the request that happened to be the last need not wait for it
            threading.Thread(target=self._close, args=([resident],), name="model-close", daemon=True).start()

    def _retire(self, model: _Model) -> list[Resident]:
        """Under the lock. What the caller has to close: the model's engine, unless someone still uses it."""
        resident, model.resident = model.resident, None
        if resident is None:
            return []
        resident.retired = True
        return [] if resident.users else [resident]

    def _close(self, unused: list[Resident], *, reason: str = "removed") -> None:
        """Not under the lock: closing takes time."""
        for resident in unused:
            observe.tell(observe.ModelFreed(resident.spec.id, resident.spec.device, reason))
            try:
                getattr(resident.engine, "close", lambda: None)()  # helpers of recognition hold nothing but memory
            except Exception:
                log.exception("model did not close", extra={"model": resident.spec.id})
            resident.engine = None
            with self._lock:
                self._room.leave(resident)
        if unused:
            return_memory()

    # ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_loading(self, model: _Model) -> Future[None]:
        """Under the lock. In a thread of its own, so that every one who waits for it can leave."""
        if model.loading is None:
            seconds = model.retry_at - self._clock()
            if seconds > 0:
                raise errors.EngineUnavailable(
                    f"The model {model.spec.id} failed and is tried again in {seconds:.0f} s: {model.error}"
                )
            model.loading = Future()
            arguments = (model, model.spec, model.loading)
            threading.Thread(target=self._load_first, args=arguments, name="model-load", daemon=True).start()
        return model.loading

    def _load_first(self, model: _Model, spec: ModelSpec, loading: Future[None]) -> None:
        failure: errors.MlError | None = None
        resident: Resident | None = None
        try:
            resident = self._load(spec)
        except errors.MlError as error:
            failure = error
        with self._lock:
            model.loading = None
            superseded = model.spec is not spec or self._models.get(spec.id) is not model
            if resident is not None and superseded:
                resident.retired = True
            elif resident is not None:
                model.resident, model.error, model.retry_at = resident, None, 0.0
            elif failure is not None and not superseded:
                self._note_failure(model, failure)
        if failure is not None and not superseded:
            loading.set_exception(failure)
        else:
            loading.set_result(None)  # who waits looks again, and finds this one or its successor
        self._close([resident] if resident is not None and superseded else [])

    def _note_failure(self, model: _Model, error: BaseException | str) -> None:
        model.error = str(error)
        if not isinstance(error, errors.EngineUnavailable):  # no room now may be room in a moment
            model.retry_at = self._clock() + self.retry_after_failure_seconds

    def _load(self, spec: ModelSpec) -> Resident:
        """Makes room and loads. Raises `MlError` only."""
        started = time.perf_counter()
        try:
            engine, memory_bytes = self._load_in_room(spec)
        except errors.MlError as error:
            observe.tell(observe.ModelLoadFailed(spec.id, error.code))
            raise
        resident = Resident(spec, engine, memory_bytes, time.time(), self._clock())
        with self._lock:
            surplus = self._evict(self._room.fill(resident, self._unused()))
            self._start_sweeper()
        self._close(surplus, reason="room")
        observe.tell(observe.ModelLoaded(spec.id, spec.device, resident.memory_bytes, time.perf_counter() - started))
        log.info("model loaded", extra={"model": spec.id, "version": spec.version, "bytes": resident.memory_bytes})
        return resident

    def _load_in_room(self, spec: ModelSpec) -> tuple[Any, int]:
        with self._lock:
            evicted = self._evict(self._room.reserve(spec, self._unused()))
        try:
            self._close(evicted, reason="room")
            return load_measured(spec)
        except BaseException:
            with self._lock:
                self._room.give_up(spec)
            raise

    def _unused(self) -> list[Resident]:
        """Under the lock. What nobody uses or waits for, and so may be freed."""
        return [
            model.resident
            for model in self._models.values()
            if model.resident is not None and not (model.resident.users or model.waiters or model.resident.spec.pinned)
        ]

    def _evict(self, unused: list[Resident]) -> list[Resident]:
        """Under the lock. What the caller has to close."""
        return [resident for each in unused for resident in self._retire(self._models[each.spec.id])]

    # ── Idle models ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_sweeper(self) -> None:
        if self._sweeper is None and self.idle_seconds is not None and not self._closed.is_set():
            self._sweeper = threading.Thread(target=self._sweep, name="model-idle", daemon=True)
            self._sweeper.start()

    def _sweep(self) -> None:
        while not self._closed.wait(min(30.0, max(0.01, (self.idle_seconds or 0) / 4))):
            self.evict_idle()


def _status(model: _Model) -> Status:
    if model.resident is not None:
        return "ready"
    if model.loading is not None:
        return "loading"
    return "failed" if model.error is not None else "registered"
