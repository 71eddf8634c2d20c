"""What the platform's processes use: processor seconds and memory, by what they do. Shared by the measurements."""

from __future__ import annotations

import os
import platform as machine
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Reading:
    """By kind of process. Differences of two readings count what ended between them too, with what had started it."""

    seconds: Mapping[str, float]  # of processors, since the processes began
    memory: Mapping[str, float]  # MB; pages that processes share are divided among them (PSS)

    def seconds_since(self, earlier: Reading) -> Counter[str]:
        kinds = {*self.seconds, *earlier.seconds}
        return Counter({kind: self.seconds.get(kind, 0.0) - earlier.seconds.get(kind, 0.0) for kind in kinds})


def read(roots: Mapping[int, str]) -> Reading:
    """roots: process → its kind. PostgreSQL below them is `database`, everything else below them `engine`."""
    seconds: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    for process in _family(roots):
        try:
            with process.oneshot():
                kind = roots.get(process.pid) or ("database" if process.name().startswith("postgres") else "engine")
                seconds[kind] += sum(process.cpu_times()[:4])  # user, system, and those of children that have ended
                memory[kind] += _resident(process) / 1e6
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return Reading(seconds, memory)


def _family(roots: Iterable[int]) -> set[psutil.Process]:
    found = set()
    for pid in roots:
        try:
            root = psutil.Process(pid)
            found |= {root, *root.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:  # of another user
        return process.memory_info().rss


def this_machine() -> str:
    """For the head of a report."""
    model = machine.processor() or machine.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{len(os.sched_getaffinity(0))} cores of {model}, load {os.getloadavg()[0]:.1f} at the start"


def of_platform(pid: int, data_dir: str | Path) -> Reading:
    """Of a server and of the embedded PostgreSQL whose files lie in its data folder."""
    return read({pid: "server", **dict.fromkeys(databases(data_dir), "database")})


def databases(data_dir: str | Path) -> list[int]:
    """The first process of each PostgreSQL whose files lie there; the others are its children."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(data_dir) in " ".join(process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def engines_of(pid: int) -> list[psutil.Process]:
    """The server's children that are no PostgreSQL."""
    return [child for child in psutil.Process(pid).children() if child.name() != "postgres"]
