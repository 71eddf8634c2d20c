"""Child processes for native code that may crash, hang or hold the GIL.

`WorkerPool("package.module:Class", {...}, size=2)` keeps up to `size` processes, each holding one instance of the
class. `pool.call("method", *args)` runs a method in a free one and returns what it returned. A process is started when
it is first needed, and replaced when it dies: a crash in native code costs the one call that caused it, and a process
that was killed costs none of the calls that say that they are repeatable.

Arguments and results cross as MessagePack (None, bool, numbers, str, bytes, lists, dicts), never as pickles, so that a
process subverted by a hostile file cannot run code in its parent. An `MlError` crosses by its code.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import importlib
import logging
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgpack

from ml import confinement, devices, errors, observe

log = logging.getLogger(__name__)

CANCEL_POLL_SECONDS = 0.05
"""How long a cancelled call may go unnoticed while its process computes."""


class _ProcessDied(Exception):
    """Rather than having answered with an error, or having taken too long. No `MlError`: those are known by codes."""


class WorkerPool:
    """Up to `size` child processes, each with its own `target` object.

    target: "module:Class"; `options` are the keyword arguments that the class is made with, in the child.
    memory_bytes: address-space limit of each child, or None for no limit.
    confined: without network and child processes, writing to the folder of temporary files alone (`ml.confinement`).
    """

    def __init__(
        self,
        target: str,
        options: Mapping[str, Any] | None = None,
        *,
        size: int,
        memory_bytes: int | None = None,
        confined: bool = False,
    ) -> None:
        self.target = target
        self._options = dict(options or {})
        self._memory_bytes = memory_bytes
        self._confined = confined
        self._closed = False
        self._mark = object()  # of its processes
        # A slot is a live process, or None for one that is still to be started. Last in, first out keeps the pool as
        # small as the load needs.
        self._slots: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self.size = size
        _pools.add(self)

    def call(
        self,
        method: str,
        *args: Any,
        cancel: threading.Event | None = None,
        timeout_seconds: float | None = None,
        repeatable: bool = False,
    ) -> Any:
        """Runs `method(*args)` in a free process and returns its result.

        repeatable: the result depends on the arguments alone, so when the process dies the call is made again in
        another one: once, so that arguments that kill every process kill two of them. `timeout_seconds` is each one's.

        Raises the `MlError` that the method raised; `Cancelled` within `CANCEL_POLL_SECONDS` of `cancel` being set (the
        process is ended, so the work really stops); `EngineFailed` when the process died or outran `timeout_seconds`.
        """
        deaths = 0
        while True:
            try:
                return self._call(method, args, cancel, timeout_seconds)
            except _ProcessDied as death:
                deaths += 1
                if not repeatable or deaths > 1 or self._closed:
                    raise errors.EngineFailed(str(death)) from death

    def _call(
        self, method: str, args: tuple[Any, ...], cancel: threading.Event | None, timeout_seconds: float | None
    ) -> Any:
        process = self._acquire(cancel)
        try:
            if process is not None and process.has_died():
                process = None
            if process is None:
                process = _Process(self, self._options, self._memory_bytes, confined=self._confined)
            with observe.activity("engine", process=self.target.rpartition(".")[2], method=method):
                return process.call(method, args, cancel, timeout_seconds)
        finally:
            self._release(process)

    def pids(self) -> list[int]:
        """The idle processes' ids; for tests and diagnostics."""
        with self._slots.mutex:
            return [process.pid for process in self._slots.queue if process is not None]

    def memory_bytes(self) -> int:
        """Resident memory of its processes."""
        with _counting:
            mine = [process.pid for process in _processes if process.mark is self._mark]
        return sum(devices.resident_bytes(pid) for pid in mine)

    def close(self) -> None:
        """Ends the processes; a call under way fails with `EngineFailed`."""
        self._closed = True
        for process in self._drain():
            process.kill()

    def _acquire(self, cancel: threading.Event | None) -> _Process | None:
        while True:
            if self._closed:
                raise errors.EngineUnavailable("The engine is shutting down.")
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            try:
                return self._slots.get(timeout=None if cancel is None else CANCEL_POLL_SECONDS)
            except queue.Empty:
                continue

    def _release(self, process: _Process | None) -> None:
        alive = process is not None and process.usable
        if alive and self._closed:
            process.kill()  # type: ignore[union-attr]
            alive = False
        self._slots.put(process if alive else None)

    def _drain(self) -> list[_Process]:
        drained = []
        with contextlib.suppress(queue.Empty):
            while True:
                drained.append(self._slots.get_nowait())
        for _ in drained:
            self._slots.put(None)
        return [process for process in drained if process is not None]


_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


_processes: weakref.WeakSet[_Process] = weakref.WeakSet()  # that live; an idle one ends with its pool
_counting = threading.Lock()


def memory_bytes() -> dict[str, int]:
    """Resident memory of all child processes, by their target."""
    with _counting:
        living = [(process.target, process.pid) for process in _processes]
    taken = dict.fromkeys((target for target, _ in living), 0)
    for target, pid in living:
        taken[target] += devices.resident_bytes(pid)
    return taken


@atexit.register
def _close_pools() -> None:
    for pool in list(_pools):
        pool.close()


class _Process:
    """One child process and the connection to it. Used by one thread at a time."""

    def __init__(
        self, pool: WorkerPool, options: Mapping[str, Any], memory_bytes: int | None, *, confined: bool = False
    ) -> None:
        self.target, self.mark = pool.target, pool._mark
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parent.parent)
        limits = [str(memory_bytes or 0), str(int(confined))]
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "ml.workers", str(theirs.fileno()), self.target, *limits],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_child_environment(root),
            )
        self._connection = Connection(ours.detach())
        self.pid = self._popen.pid
        self.usable = True
        with _counting:
            _processes.add(self)
        self._send(options)

    def call(
        self,
        method: str,
        args: tuple[Any, ...],
        cancel: threading.Event | None,
        timeout_seconds: float | None,
    ) -> Any:
        try:
            self._send([method, args])
            self._wait(cancel, timeout_seconds)
            reply = msgpack.unpackb(self._connection.recv_bytes(), strict_map_key=False)
        except (EOFError, OSError) as error:
            code = self.kill()
            log.error("worker process died", extra={"target": method, "exit_code": code})
            observe.tell(observe.ProcessDied(self.target))
            raise _ProcessDied(f"The engine's process died (exit code {code}); it is being replaced.") from error
        except BaseException:
            self.kill()  # The reply to an abandoned call would be taken for the next call's.
            raise
        if "error" in reply:
            raise errors.from_code(*reply["error"])
        return reply["result"]

    def has_died(self) -> bool:
        """Whether it ended while it was idle (the kernel's memory killer, an operator)."""
        if self._popen.poll() is None:
            return False
        self.kill()
        observe.tell(observe.ProcessDied(self.target))
        return True

    def kill(self) -> int | None:
        """Ends the process at once; its exit code."""
        self.usable = False
        self._popen.kill()
        code = self._popen.wait()
        with _counting:
            _processes.discard(self)
        self._connection.close()
        return code

    def _send(self, message: Any) -> None:
        self._connection.send_bytes(msgpack.packb(message))

    def _wait(self, cancel: threading.Event | None, timeout_seconds: float | None) -> None:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not self._connection.poll(None if cancel is None and deadline is None else CANCEL_POLL_SECONDS):
            if cancel is not None and cancel.is_set():
                raise errors.Cancelled("The request was cancelled.")
            if deadline is not None and time.monotonic() > deadline:
                raise errors.EngineFailed(f"The engine did not answer within {timeout_seconds:g} seconds.")


def _child_environment(root: str) -> dict[str, str]:
    """What native code needs, without the secrets that the server's own environment may hold."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT_PREFIXES)}
    return {**kept, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}


_ENVIRONMENT_PREFIXES = (
    "PATH", "HOME", "LANG", "LC_", "TMP", "XDG_", "LD_LIBRARY_PATH", "OPENBLAS_", "CUDA_", "ESPEAK_",
)  # fmt: skip


# ── In the child ────────────────────────────────────────────────────────────────────────────────────────────────────


def _main(fd: int, target: str, memory_bytes: int, confined: bool) -> None:
    _harden(memory_bytes)
    if confined:
        confinement.confine(write_beneath=tempfile.gettempdir())
    connection = Connection(fd)
    module, _, name = target.partition(":")
    with contextlib.suppress(EOFError, OSError):  # the parent has gone, or let go of us
        options = msgpack.unpackb(connection.recv_bytes())
        instance: Any = None
        while True:
            method, args = msgpack.unpackb(connection.recv_bytes(), strict_map_key=False)
            try:
                if instance is None:
                    instance = getattr(importlib.import_module(module), name)(**options)
                reply = {"result": getattr(instance, method)(*args)}
            except errors.MlError as error:
                reply = {"error": [error.code, error.message, error.param]}
            except OSError as error:
                reply = {"error": _of_system(error)}
            except MemoryError:
                reply = {"error": ["engine_failed", "The engine ran out of memory.", None]}
            except Exception as error:
                log.exception("worker call failed")
                reply = {"error": ["engine_failed", f"{type(error).__name__}: {error}", None]}
            connection.send_bytes(msgpack.packb(reply))


def _of_system(error: OSError) -> list[str | None]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ["storage_full", "There is no room left for temporary files.", None]
    log.error("worker call failed", exc_info=error)
    return ["engine_failed", f"{type(error).__name__}: {error}", None]


def _harden(memory_bytes: int) -> None:
    """Leaves no core file and stays within its memory.

    The end of the parent, by SIGKILL too, closes the connection and so ends `_main`. PR_SET_PDEATHSIG would not do: it
    fires when the *thread* that started us ends, and request threads are short-lived.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends us when it is done.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "1")
