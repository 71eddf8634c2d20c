"""Whose work is next: the whole scheduling policy.

Realtime work goes before synchronous, and that before batch work. Within each, tenants take turns by start-time fair
queueing (Goyal, Vin & Cheng 1996): a tenant's next item is due where its last one ended in virtual time, or now if it
was away, and the earliest is served. So whoever waited longest for his share is next, a tenant with ten times the work
waits ten times as long and the others no longer than alone, and a weight of two gives two items for one. A tenant's own
work keeps its order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, get_args

from ml import observe
from ml.types import Caller, Priority

PRIORITIES: tuple[Priority, ...] = get_args(Priority)


@dataclass(eq=False, slots=True)
class Work:
    """One item, and the future that gets its result."""

    item: Any
    call: Callable[..., Any]
    options: Hashable
    caller: Caller
    cost: float  # seconds of audio, characters, …: what the tenant's share is counted in
    cancel: threading.Event | None
    probe: Callable[[], Any] | None = None  # makes an item that a sound engine can compute
    future: Future[Any] = field(default_factory=Future)
    enqueued: float = field(default_factory=time.perf_counter)
    origin: Any = field(default_factory=observe.here)  # the activity that asked for it

    @property
    def group(self) -> Hashable:
        """Only items of the same group are computed together."""
        return self.call, self.options


@dataclass(eq=False, slots=True)
class _Tenant:
    due: float  # virtual time, at which its next item starts
    works: deque[Work] = field(default_factory=deque)


class _Class:
    """The work of one priority."""

    def __init__(self) -> None:
        self.now = 0.0  # virtual time: when the item served last started
        self.size = 0
        self.tenants: dict[str, _Tenant] = {}

    def push(self, work: Work) -> None:
        tenant = self.tenants.setdefault(work.caller.tenant, _Tenant(self.now))
        tenant.works.append(work)
        self.size += 1

    def pop(self, group: Hashable) -> Work | None:
        for tenant, work in self._in_turn():
            if group is None or work.group == group:
                return self._serve(tenant, work)
        if group is not None:  # not at the front of any line: jump the queue, as a batch-mate that costs nobody a turn
            for tenant in sorted(self.tenants.values(), key=lambda t: t.due):
                for work in tenant.works:
                    if work.group == group:
                        return self._serve(tenant, work)
        return None

    def remove(self, work: Work) -> bool:
        tenant = self.tenants.get(work.caller.tenant)
        if tenant is None or work not in tenant.works:
            return False
        tenant.works.remove(work)
        self.size -= 1
        self._forget()
        return True

    def peek(self) -> Work | None:
        return next((work for _, work in self._in_turn()), None)

    def _in_turn(self) -> Iterator[tuple[_Tenant, Work]]:
        waiting = [(tenant, tenant.works[0]) for tenant in self.tenants.values() if tenant.works]
        return iter(sorted(waiting, key=lambda pair: (max(pair[0].due, self.now), pair[1].enqueued)))

    def _serve(self, tenant: _Tenant, work: Work) -> Work:
        tenant.works.remove(work)
        self.size -= 1
        self.now = max(tenant.due, self.now)
        tenant.due = self.now + work.cost / max(work.caller.weight, 1e-6)
        self._forget()
        return work

    def _forget(self) -> None:
        """A tenant that is away keeps what it owes until the others have caught up, or nobody is left."""
        gone = [name for name, t in self.tenants.items() if not t.works and (not self.size or t.due <= self.now)]
        for name in gone:
            del self.tenants[name]


class FairQueue:
    """Not safe for threads by itself: the batcher's lock guards it."""

    def __init__(self) -> None:
        self._classes = {priority: _Class() for priority in PRIORITIES}

    def __len__(self) -> int:
        return sum(each.size for each in self._classes.values())

    def sizes(self) -> dict[Priority, int]:
        return {priority: each.size for priority, each in self._classes.items()}

    def size_of(self, caller: Caller) -> int:
        """How much work of the caller's tenant waits at his priority."""
        tenant = self._classes[caller.priority].tenants.get(caller.tenant)
        return len(tenant.works) if tenant else 0

    def push(self, work: Work) -> None:
        self._classes[work.caller.priority].push(work)

    def pop(self, group: Hashable = None) -> Work | None:
        """The next by the policy; with a group, the next of that group."""
        for each in self._classes.values():
            work = each.pop(group) if each.size else None
            if work is not None:
                return work
        return None

    def peek(self) -> Work | None:
        return next((each.peek() for each in self._classes.values() if each.size), None)

    def remove(self, work: Work) -> bool:
        """Takes one out of the middle; False where it has left already."""
        return self._classes[work.caller.priority].remove(work)
