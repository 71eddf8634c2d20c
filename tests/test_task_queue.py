"""How workers take tasks: in order, each once, and at the same cost whatever else is queued."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone
from procrastinate import sql

from jobs.connector import _QUICK
from tests.test_workers import enqueue

MANY = 20_000


@pytest.fixture
def queue(database: None) -> Iterator[str]:
    """The name of a queue that no worker looks at."""
    name = f"tests-{uuid.uuid4().hex[:12]}"
    yield name
    run("DELETE FROM procrastinate_jobs WHERE queue_name LIKE %s", f"{name}%")


def run(query: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []


def add(queue: str, count: int = 1, *, priority: int = 0, scheduled_at: object = None) -> list[int]:
    """The ids, in the order in which they were queued."""
    return [
        row[0]
        for row in run(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, priority, scheduled_at) "
            "SELECT %s, 'tests.none', %s, %s::timestamptz FROM generate_series(1, %s) RETURNING id",
            queue, priority, scheduled_at, count,
        )
    ]  # fmt: skip


def take(*queues: str) -> int | None:
    """As a worker does it: the query that it sends."""
    with connection.cursor() as cursor:
        (worker,) = run("INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")[0]
        cursor.execute(_QUICK[sql.queries["fetch_job"]], {"queues": list(queues), "worker_id": worker})
        columns = [column.name for column in cursor.description]
        row = dict(zip(columns, cursor.fetchone(), strict=True))
    assert row["id"] is None or (row["status"], row["worker_id"]) == ("doing", worker)
    return row["id"]


def test_oldest_of_the_highest_priority_first(queue: str) -> None:
    first, second = add(queue, 2)
    urgent = add(queue, priority=5)[0]
    other = add(f"{queue}-other")[0]
    assert [take(queue, f"{queue}-other") for _ in range(5)] == [urgent, first, second, other, None]


def test_scheduled_tasks_wait_until_they_are_due(queue: str) -> None:
    now = timezone.now()
    add(queue, scheduled_at=now + timedelta(hours=1))
    late = add(queue, scheduled_at=now - timedelta(seconds=1))[0]
    latest = add(queue, scheduled_at=now - timedelta(seconds=9))[0]
    assert {take(queue) for _ in range(3)} == {late, latest, None}


def test_each_task_is_taken_once(queue: str) -> None:
    """By workers that take at the same time, also from a queue whose first task another is just taking."""
    ids, taken, lock = add(queue, 60), [], threading.Lock()

    def work() -> None:
        try:
            while (task := take(queue)) is not None:
                with lock:
                    taken.append(task)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    with transaction.atomic():
        held = take(queue)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted([held, *taken]) == ids


def test_the_cost_does_not_depend_on_what_is_queued(queue: str) -> None:
    """Also right after a burst, when the statistics still know of a small table. Counted in pages, not in time."""
    few, many, empty = f"{queue}-few", f"{queue}-many", f"{queue}-empty"
    add(few, 20)
    pages_of_few = pages(few)
    add(many, MANY)
    add(empty, MANY, scheduled_at=timezone.now() + timedelta(hours=1))
    assert pages(many) < pages_of_few + 60
    assert pages(few) < pages_of_few + 60
    assert pages(empty) < pages_of_few + 60  # nothing is due there


def pages(queue: str) -> int:
    """Looked at by the query that takes the queue's next task, planned anew."""
    query = "SELECT id FROM jobs_fetch_task(ARRAY[%s]::varchar[], NULL)"
    run("DISCARD PLANS")
    run(query, queue)
    lines = "\n".join(row[0] for row in run(f"EXPLAIN (ANALYZE, BUFFERS) {query}", queue))
    return sum(int(number) for number in re.findall(r"(?:hit|read)=(\d+)", lines.partition("Planning")[0]))


def test_organizations_take_turns(database: None) -> None:
    """Whoever has queued many does not keep others waiting; within an organisation the order is kept."""
    large, small = enqueue(6), enqueue(2)  # of an organisation each
    late = enqueue(1)
    names = {job.id: name for name, jobs in (("a", large), ("b", small), ("c", late)) for job in jobs}
    try:
        order = order_of(names)
        assert sorted(order[:3]) == ["a", "b", "c"]
        assert sorted(order[3:5]) == ["a", "b"]
        assert order[5:] == "aaaa"
        ours = [job.id for job in large]
        assert [job_id for job_id in queued_ids(names) if job_id in ours] == ours
        # Those who come when the queue has moved on do not come before all who wait.
        run(
            "DELETE FROM procrastinate_jobs WHERE args->>'job_id' = ANY(%s)",
            [str(job_id) for job_id in queued_ids(names)[:5]],
        )
        names |= {job.id: "d" for job in enqueue(2)}
        assert order_of(names) == "adadaa"
    finally:
        run("DELETE FROM procrastinate_jobs WHERE args->>'job_id' = ANY(%s)", [str(job_id) for job_id in names])


def queued_ids(names: dict[object, str]) -> list[uuid.UUID]:
    """The jobs, as workers will take them."""
    rows = run("SELECT args->>'job_id' FROM procrastinate_jobs WHERE status = 'todo' AND args->>'job_id' = ANY(%s) "
               "ORDER BY priority DESC, id", [str(job_id) for job_id in names])  # fmt: skip
    return [uuid.UUID(job_id) for (job_id,) in rows]


def order_of(names: dict[object, str]) -> str:
    return "".join(names[job_id] for job_id in queued_ids(names))
