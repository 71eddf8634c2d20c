"""Dynamic batching: work of concurrent callers joined into one call of an engine, fairly.

    future = batcher.submit("stt/tiny", window, call=recognise, options=("en",), caller=Caller("acme"), cancel=cancel)

One queue a model. A thread takes the model from the pool, and only then, with the engine ready, chooses its batch: the
next item in fairness (`ml.fair_queue`), and as many others of the same group as the engine computes at once, for which
it waits a few milliseconds. The model is given back after every batch, so a swapped version serves the next one.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ml import errors, observe
from ml.engine_calls import call_engine, has_left, is_sound
from ml.fair_queue import FairQueue, Work
from ml.residency import ModelPool, ModelSpec
from ml.types import Caller, Priority
from ml.waiting import CANCEL_POLL_SECONDS, wait_for

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

Call = Callable[[Any, Sequence[Item], threading.Event | None], Sequence[Result]]
"""Gives a batch to an engine: (engine, items, cancel) → one result an item. A module's function, not a closure, for
only items with the same call are computed together."""

FAULTS_IN_A_ROW = 3
"""So many unexpected exceptions without a success between them, and the engine is suspected, and probed: by the count
alone, one tenant with hostile files could take a model away from all."""

_ANYONE = Caller()


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What one model's queue did since the process started."""

    model_id: str
    queued: dict[Priority, int]  # now
    running: int  # items being computed now
    batches: int
    batch_sizes: dict[int, int]  # batches by their number of items
    succeeded: int  # items
    failed: int
    cancelled: int  # before their computing began
    rejected: int  # because the queue was full
    wait_seconds: float  # in the queue, of all items together
    longest_wait_seconds: float
    compute_seconds: float  # of all batches together


@dataclass(eq=False)
class _Lane:
    """A model's queue, and what is known of its engine since it was loaded last."""

    model_id: str
    changed: threading.Condition
    queue: FairQueue = field(default_factory=FairQueue)
    steps: int = 0  # threads that compute, or are about to
    max_batch: int = 1
    concurrency: int = 1
    faults: int = 0  # unexpected exceptions in a row
    running: int = 0
    batch_sizes: dict[int, int] = field(default_factory=dict)
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    rejected: int = 0
    wait_seconds: float = 0.0
    longest_wait_seconds: float = 0.0
    compute_seconds: float = 0.0


class Batcher:
    """Safe to use from any thread.

    window_seconds: how long an item may wait for batch-mates; engines that take one at a time do not wait.
    max_queue: items that may wait for one model, at each priority; max_queue_per_tenant: of these, one tenant's.
    max_threads: batches of all models together that are computed at a time.
    """

    def __init__(
        self,
        pool: ModelPool,
        *,
        window_seconds: float = 0.005,
        max_queue: int = 1024,
        max_queue_per_tenant: int = 512,
        max_threads: int = 32,
    ) -> None:
        self._pool = pool
        self.window_seconds = window_seconds
        self.max_queue = max_queue
        self.max_queue_per_tenant = max_queue_per_tenant
        self._lock = threading.RLock()
        self._lanes: dict[str, _Lane] = {}
        self._executor = ThreadPoolExecutor(max_threads, thread_name_prefix="batch")
        self._closed = False

    def submit(
        self,
        model_id: str,
        item: Item,
        *,
        call: Call[Item, Result],
        options: Hashable = None,
        caller: Caller = _ANYONE,
        cancel: threading.Event | None = None,
        cost: float = 1.0,
        probe: Callable[[], Item] | None = None,
    ) -> Future[Result]:
        """Queues one item and returns. Cancelling the future, or setting `cancel`, drops it until its work starts.

        options: only items with equal ones are computed together. cost: how much of its tenant's share it takes.
        probe: makes an item that a sound engine can compute, to tell a broken engine from odd items.

        Raises `EngineUnavailable` when the queue is full. The future raises what the engine raised for this item,
        `EngineUnavailable` where the model cannot be loaded or broke, `UnknownModel`, `Cancelled`.
        """
        work = Work(item, call, options, caller, cost, cancel, probe)
        self._enqueue(model_id, work, patient=False)
        return work.future

    def run(
        self,
        model_id: str,
        items: Iterable[Item],
        *,
        call: Call[Item, Result],
        options: Hashable = None,
        caller: Caller = _ANYONE,
        cancel: threading.Event | None = None,
        cost: Callable[[Item], float] = lambda item: 1.0,
        probe: Callable[[], Item] | None = None,
        width: int = 16,
    ) -> Iterator[Result]:
        """The results of many items, in order, with up to `width` of them queued or computed at a time.

        Only the first is refused by a full queue, and nothing of batch priority is: there the caller waits for room.
        Raises what `submit` and its futures raise, and drops the rest; `Cancelled` soon after `cancel` is set.
        """
        under_way: deque[Future[Result]] = deque()
        patient = caller.priority == "batch"
        try:
            for item in items:
                if len(under_way) >= width:
                    yield result_of(under_way.popleft(), cancel)
                work = Work(item, call, options, caller, cost(item), cancel, probe)
                self._enqueue(model_id, work, patient=patient)
                under_way.append(work.future)
                patient = True
            while under_way:
                yield result_of(under_way.popleft(), cancel)
        finally:
            for future in under_way:
                future.cancel()

    def stats(self) -> tuple[QueueStats, ...]:
        with self._lock:
            return tuple(_stats(lane) for _, lane in sorted(self._lanes.items()))

    def close(self) -> None:
        """Refuses new work, fails what waits, and returns when what is being computed has ended."""
        with self._lock:
            self._closed = True
            lanes = list(self._lanes.values())
        for lane in lanes:
            self._fail_queued(lane, errors.EngineUnavailable("The server is shutting down."))
        self._executor.shutdown(wait=True)

    # ── Queueing ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _enqueue(self, model_id: str, work: Work, *, patient: bool) -> None:
        """Raises `EngineUnavailable` when there is no room; a patient caller waits for some."""
        with self._lock:
            lane = self._lane(model_id)
            while not self._has_room(lane, work.caller):
                if not patient:
                    lane.rejected += 1
                    observe.tell(observe.ItemRefused(model_id))
                    raise errors.EngineUnavailable("Too many requests are waiting for this model; try again later.")
                if work.cancel is not None and work.cancel.is_set():
                    raise errors.Cancelled("The request was cancelled.")
                lane.changed.wait(CANCEL_POLL_SECONDS)
            work.enqueued = time.perf_counter()
            lane.queue.push(work)
            lane.changed.notify_all()
            self._schedule(lane)
        if work.future.done():  # refused by `_schedule`
            return
        work.future.add_done_callback(lambda _: self._discard(lane, work))

    def _lane(self, model_id: str) -> _Lane:
        if self._closed:
            raise errors.EngineUnavailable("The server is shutting down.")
        lane = self._lanes.get(model_id)
        if lane is None:
            lane = self._lanes[model_id] = _Lane(model_id, threading.Condition(self._lock))
        return lane

    def _has_room(self, lane: _Lane, caller: Caller) -> bool:
        if self._closed:
            raise errors.EngineUnavailable("The server is shutting down.")
        mine, all_ = lane.queue.size_of(caller), lane.queue.sizes()[caller.priority]
        return all_ < self.max_queue and mine < self.max_queue_per_tenant

    def _discard(self, lane: _Lane, work: Work) -> None:
        """Where the caller left before his work was chosen, his place is free at once."""
        if not work.future.cancelled():
            return
        with self._lock:
            if lane.queue.remove(work):
                lane.cancelled += 1
                lane.changed.notify_all()

    def _schedule(self, lane: _Lane) -> None:
        """Under the lock: as many threads as the waiting work can use and the engine allows."""
        wanted = min(lane.concurrency, -(-len(lane.queue) // lane.max_batch))
        while lane.steps < wanted:
            try:
                self._executor.submit(self._step, lane)
            except RuntimeError:  # the interpreter, or this batcher, is shutting down
                self._fail_queued(lane, errors.EngineUnavailable("The server is shutting down."))
                return
            lane.steps += 1

    # ── One step: take the model, choose a batch, compute it ────────────────────────────────────────────────────────

    def _step(self, lane: _Lane) -> None:
        try:
            if not self._someone_waits(lane):  # nobody is left to load a model for
                return
            with self._pool.acquire(lane.model_id) as engine:
                batch = self._choose(lane, engine)
                if batch:
                    self._compute(lane, engine, batch)
        except BaseException as error:
            if not isinstance(error, errors.MlError):
                log.exception("batch failed", extra={"model": lane.model_id})
                error = errors.EngineFailed(f"{type(error).__name__}: {error}")
            self._fail_queued(lane, error)
        finally:
            with self._lock:
                lane.steps -= 1
                self._schedule(lane)

    def _someone_waits(self, lane: _Lane) -> bool:
        with self._dropping(lane) as dropped, self._lock:
            while (work := lane.queue.peek()) is not None and has_left(work):
                lane.queue.remove(work)
                dropped.append(work)
            return work is not None

    def _choose(self, lane: _Lane, engine: Any) -> list[Work]:
        max_batch, concurrency = _limits(self._pool.spec(lane.model_id), engine)
        batch: list[Work] = []
        with self._dropping(lane) as dropped, self._lock:
            lane.max_batch, lane.concurrency = max_batch, concurrency
            self._await_mates(lane)
            while len(batch) < lane.max_batch and (work := lane.queue.pop(batch[0].group if batch else None)):
                (dropped if has_left(work) or not work.future.set_running_or_notify_cancel() else batch).append(work)
            self._note_start(lane, batch)
            lane.changed.notify_all()
            self._schedule(lane)
        return batch

    def _await_mates(self, lane: _Lane) -> None:
        """Under the lock, which is let go meanwhile. The window began when the first item came."""
        while lane.max_batch > 1 and 0 < len(lane.queue) < lane.max_batch:
            first = lane.queue.peek()
            remaining = first.enqueued + self.window_seconds - time.perf_counter() if first else 0.0
            if remaining <= 0:
                return
            lane.changed.wait(remaining)

    def _compute(self, lane: _Lane, engine: Any, batch: list[Work], *, again: bool = False) -> None:
        """Settles every future of the batch. A batch that fails is computed again one by one."""
        started = time.perf_counter()
        try:
            with observe.activity("batch", [work.origin for work in batch], model=lane.model_id, size=len(batch)):
                results = call_engine(engine, batch)
        except BaseException as error:
            self._note_end(lane, batch, started, failed=not isinstance(error, errors.Cancelled), again=again)
            if len(batch) > 1 and not isinstance(error, errors.EngineFault):
                log.warning("batch of %d failed, retrying singly: %s", len(batch), error)
                for work in batch:
                    self._compute_alone(lane, engine, work)
                return
            for work in batch:
                self._fail(lane, engine, work, error)
            return
        self._note_end(lane, batch, started, failed=False, again=again)
        with self._lock:
            lane.faults = 0
            lane.succeeded += len(batch)
        for work, result in zip(batch, results, strict=True):
            work.future.set_result(result)

    def _compute_alone(self, lane: _Lane, engine: Any, work: Work) -> None:
        if work.cancel is not None and work.cancel.is_set():
            self._fail(lane, engine, work, errors.Cancelled("The request was cancelled."))
            return
        with self._lock:
            lane.running += 1
            lane.batch_sizes[1] = lane.batch_sizes.get(1, 0) + 1
        self._compute(lane, engine, [work], again=True)

    def _fail(self, lane: _Lane, engine: Any, work: Work, error: BaseException) -> None:
        expected = isinstance(error, errors.MlError)
        with self._lock:
            lane.failed += 1
            lane.faults += 0 if expected else 1
            suspected = lane.faults >= FAULTS_IN_A_ROW
            lane.faults = 0 if suspected else lane.faults
        if isinstance(error, errors.EngineFault) or (suspected and not is_sound(engine, work)):
            self._pool.mark_failed(lane.model_id, error, engine=engine)
        if isinstance(error, errors.EngineFault):
            error = errors.EngineUnavailable(f"The model {lane.model_id} broke and is loaded again; try again shortly.")
        elif not expected:
            log.error("engine raised", exc_info=error, extra={"model": lane.model_id})
            error = errors.EngineFailed(f"The engine failed: {type(error).__name__}: {error}")
        work.future.set_exception(error)

    def _fail_queued(self, lane: _Lane, error: errors.MlError) -> None:
        """Everyone who waits for a model that cannot be had."""
        with self._lock:
            waiting = list(iter(lane.queue.pop, None))
            lane.changed.notify_all()
        for work in waiting:
            if work is not None and work.future.set_running_or_notify_cancel():
                with self._lock:
                    lane.failed += 1
                work.future.set_exception(error)

    # ── Book-keeping ────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _dropping(self, lane: _Lane) -> Iterator[list[Work]]:
        """Collects items whose callers have left, and tells them outside the lock."""
        dropped: list[Work] = []
        yield dropped
        with self._lock:
            lane.cancelled += len(dropped)
        for work in dropped:
            with contextlib.suppress(Exception):  # the future was cancelled, and so is settled
                work.future.set_exception(errors.Cancelled("The request was cancelled."))

    def _note_start(self, lane: _Lane, batch: list[Work]) -> None:
        if not batch:
            return
        now = time.perf_counter()
        waits = [now - work.enqueued for work in batch]
        lane.running += len(batch)
        lane.batch_sizes[len(batch)] = lane.batch_sizes.get(len(batch), 0) + 1
        lane.wait_seconds += sum(waits)
        lane.longest_wait_seconds = max(lane.longest_wait_seconds, *waits)

    def _note_end(self, lane: _Lane, batch: list[Work], started: float, *, failed: bool, again: bool) -> None:
        seconds = time.perf_counter() - started
        with self._lock:
            lane.running -= len(batch)
            lane.compute_seconds += seconds
        waits = () if again else tuple(started - work.enqueued for work in batch)
        observe.tell(observe.BatchComputed(lane.model_id, len(batch), waits, seconds, failed))


def result_of(future: Future[Result], cancel: threading.Event | None = None) -> Result:
    """The future's result. When `cancel` is set first, its work is dropped, and `Cancelled` raised."""
    try:
        return wait_for(future, cancel)
    except errors.Cancelled:
        future.cancel()
        raise


def _limits(spec: ModelSpec, engine: Any) -> tuple[int, int]:
    """Items in a batch, and batches side by side: the model's own setting before the engine's capability."""
    capabilities = getattr(engine, "capabilities", None)
    max_batch = spec.max_batch or getattr(capabilities, "max_batch", 1) or 1
    concurrency = spec.concurrency or getattr(capabilities, "concurrency", 1) or 1
    return int(max_batch), int(concurrency)


def _stats(lane: _Lane) -> QueueStats:
    return QueueStats(
        model_id=lane.model_id,
        queued=lane.queue.sizes(),
        running=lane.running,
        batches=sum(lane.batch_sizes.values()),
        batch_sizes=dict(lane.batch_sizes),
        succeeded=lane.succeeded,
        failed=lane.failed,
        cancelled=lane.cancelled,
        rejected=lane.rejected,
        wait_seconds=lane.wait_seconds,
        longest_wait_seconds=lane.longest_wait_seconds,
        compute_seconds=lane.compute_seconds,
    )
