"""This process's models follow the active rows.

`start()` is called by the first request (see `apps`), so that a command or an import starts nothing: it makes the
active models known to `ml`, which loads each when it is first used, and starts one thread. The thread listens for
announcements of other processes, compares the rows with what is installed here every now and then in case one was
missed, and writes down how this process does. `stop()` ends it.
"""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone

from common.serializers import json_time
from ml import devices
from ml.errors import MlError
from ml.residency import ModelState
from models_registry import announcements, engines, folders, limits, watching
from models_registry.models import EMBEDDED_VERSION, ModelStatus, ModelVersion, WorkerState
from models_registry.trials import Trials

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 4 * HEARTBEAT_SECONDS
"""A process that was not heard of for so long is gone."""

Key = tuple[str, str]
"""Task and name of a model."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a process says about one of its models."""

    task: str
    name: str
    version: str
    generation: int
    status: str  # ModelStatus
    memory_bytes: int | None
    loaded_at: str | None  # ISO 8601
    last_error: str
    on_trial: bool = False  # serves only what a rollout gives it


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a row asks a process to serve; equal: nothing to do."""

    version: str
    generation: int
    default: bool


class Runtime:
    """One a process: `models_registry.runtime.current`."""

    def __init__(self) -> None:
        self.kind = "server"
        self.trials = Trials()
        self._lock = threading.RLock()
        self._served: dict[Key, _Wanted] = {}
        self._refused: dict[Key, tuple[_Wanted, str]] = {}
        self._warmed: dict[Key, int] = {}
        self._listener: announcements.Listener | None = None
        self._started_at = timezone.now()
        self._id = ""
        self._reported: dict[tuple[str, str, bool], ModelReport] = {}

    @property
    def id(self) -> str:
        return self._id

    @property
    def running(self) -> bool:
        return self._listener is not None

    def start(self, *, kind: str = "server") -> None:
        """Serves the active models from now on, and follows changes. Idempotent."""
        if self._listener is not None:
            return
        with self._lock:
            if self._listener is not None:
                return
            self.kind = kind
            self._started_at = timezone.now()
            self._id = f"{socket.gethostname()}:{os.getpid()}:{int(time.time())}"
            limits.apply()
            folders.synchronise_rows()
            self.synchronise()
            self.report()
            self._listener = announcements.Listener(self._follow, interval_seconds=HEARTBEAT_SECONDS)
            self._listener.start()
            atexit.register(self.stop)

    def stop(self) -> None:
        """Ends the thread and takes this process off the list. The models stay as they are."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is None:
            return
        atexit.unregister(self.stop)
        listener.stop()
        try:
            WorkerState.objects.filter(id=self._id).delete()
        except DatabaseError:
            log.warning("could not sign off", exc_info=True)
        finally:
            connection.close()

    # ── Following the rows ──────────────────────────────────────────────────────────────────────────────────────────

    def synchronise(self) -> dict[Key, str]:
        """Installs, swaps and takes away until this process serves the active rows; what was refused, and why.

        What is refused leaves the running version in place, and is tried again when its row changes.
        """
        rows = {(row.task, row.name): row for row in _active_rows()}
        connection.close()  # models load for minutes
        with self._lock:
            for key in self._served.keys() - rows.keys():
                engines.uninstall(*key)
                del self._served[key]
            for key in self._refused.keys() - rows.keys():
                del self._refused[key]
            for key, row in rows.items():
                self._serve(key, row)
            self._warm(rows.values())
            return {key: reason for key, (_, reason) in self._refused.items()}

    def follow_trials(self) -> None:
        """Loads candidates, and rolls back rollouts of those that do not load, or that passed a limit."""
        for unfit in self.trials.follow():
            reason = f"It does not load in {self._id}: {unfit.reason}"
            watching.roll_back_automatically(unfit.rollout_id, reason)
        if self.trials.running():
            watching.look_after()

    def retry(self) -> None:
        """Forgets what was refused, so that it is tried again."""
        with self._lock:
            self._refused.clear()

    def _serve(self, key: Key, row: ModelVersion) -> None:
        wanted = _Wanted(row.version, row.generation, row.is_default)
        served, refused = self._served.get(key), self._refused.get(key)
        if served == wanted or (refused is not None and refused[0] == wanted):
            return
        try:
            engines.install(folders.folder_of(row), default=row.is_default)
            if served is not None and served.version == row.version and served.generation != row.generation:
                engines.reload(*key)  # the same folder, which `install` leaves as it is
        except Exception as error:  # whatever is wrong with one model, the others are to serve
            reason = error.message if isinstance(error, MlError) else f"{type(error).__name__}: {error}"
            log.error("model refused: %s", reason, exc_info=not isinstance(error, MlError))
            self._refused[key] = (wanted, reason)
            return
        self._served[key] = wanted
        self._refused.pop(key, None)

    def _warm(self, rows: Iterable[ModelVersion]) -> None:
        for row in rows:
            key = (row.task, row.name)
            first = row.warm_generation - 1 if settings.MODELS_WARM else row.warm_generation
            asked, self._warmed[key] = self._warmed.get(key, first), row.warm_generation
            if key in self._served and asked != row.warm_generation:
                try:
                    engines.warm(*key)
                except MlError as error:
                    log.error("model did not load", extra={"model": row.reference, "error": error.message})

    def _follow(self) -> None:
        """In the listener's thread: after an announcement, and every now and then."""
        try:
            self.synchronise()
            self.follow_trials()
            self.report()
        finally:
            connection.close()

    # ── Reporting ───────────────────────────────────────────────────────────────────────────────────────────────────

    def reports(self) -> list[ModelReport]:
        """How this process's models do, the embedded ones included."""
        states = engines.states()
        with self._lock:
            served, refused = dict(self._served), dict(self._refused)
        found = [_report_of_trial(state) for state in states.values() if "@" in state.name]
        for key in sorted({key for key in (*states, *served, *refused) if "@" not in key[1]}):
            state, wanted = states.get(key), served.get(key)
            reason = refused[key][1] if key in refused else (state.last_error if state else None)
            status: str = state.status if state else ModelStatus.REGISTERED
            found.append(
                ModelReport(
                    task=key[0],
                    name=key[1],
                    version=wanted.version if wanted else EMBEDDED_VERSION if key not in refused else "",
                    generation=wanted.generation if wanted else 0,
                    status=ModelStatus.FAILED if key in refused and wanted is None else status,
                    memory_bytes=state.taken_bytes if state else None,
                    loaded_at=_iso(state.loaded_at) if state else None,
                    last_error=reason or "",
                )
            )
        return found

    def report(self) -> None:
        """Writes down how this process does, and in the rows what changed since it last did."""
        if not self._id:
            return
        reports = self.reports()
        fields = {
            "kind": self.kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "seen_at": timezone.now(),
            "memory_bytes": devices.resident_bytes(),
            "reports": [asdict(report) for report in reports],
        }
        WorkerState.objects.update_or_create(id=self._id, defaults=fields)
        self._mirror(reports)

    def _mirror(self, reports: Iterable[ModelReport]) -> None:
        for report in reports:
            key = (report.task, report.name, report.on_trial)
            before = self._reported.get(key)
            self._reported[key] = report
            if before == report or report.version == EMBEDDED_VERSION or report.on_trial:
                continue
            rows = ModelVersion.objects.filter(task=report.task, name=report.name, is_active=True)
            rows.update(memory_bytes=report.memory_bytes, loaded_at=report.loaded_at)
            if report.last_error:
                rows.update(status=ModelStatus.FAILED, last_error=report.last_error)
            else:  # takes back only what this process said: a folder that was found corrupt stays so
                ours = ("", before.last_error if before else "")
                rows.filter(last_error__in=ours).update(status=report.status, last_error="")


current = Runtime()


def start() -> None:
    """For the start of a server: in a thread, because an event loop may not wait for the database."""
    threading.Thread(target=_start, name="models-start", daemon=True).start()


def stop() -> None:
    """For the end of a server; also in an event loop."""
    stopping = threading.Thread(target=current.stop, name="models-stop")
    stopping.start()
    stopping.join()


def _start() -> None:
    try:
        current.start()
    except DatabaseError:
        log.warning("the models could not be read yet; the first request tries again", exc_info=True)
    finally:
        connection.close()


def _active_rows() -> list[ModelVersion]:
    return list(ModelVersion.objects.filter(is_active=True).exclude(version=EMBEDDED_VERSION))


def _report_of_trial(state: ModelState) -> ModelReport:
    name, _, version = state.name.partition("@")
    loaded = _iso(state.loaded_at)
    return ModelReport(
        state.task, name, version, 0, state.status, state.taken_bytes, loaded, state.last_error or "", on_trial=True
    )


def _iso(seconds: float | None) -> str | None:
    return json_time(datetime.fromtimestamp(seconds, UTC)) if seconds is not None else None
