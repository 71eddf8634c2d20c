"""GET /jobs/events: server-sent events of jobs and batches.

with speech.jobs.events(task="stt") as events:
    for event in events:
        print(event.type, [job.job_id for job in event.jobs])
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypedDict

import httpx

from speech_client._flow import IO, Flow, run, run_async
from speech_client._http import Call, fetch, without_none
from speech_client._reading import read
from speech_client.errors import ConnectionFailed
from speech_client.types import BatchState, JobEvent, JobState, Task

QUIET_SECONDS = 45.0
"""The server says something every 15 seconds."""


class EventFilters(TypedDict, total=False):
    """Of which jobs to hear."""

    job_id: str | None
    batch_id: str | None
    task: Task | None


class Parser:
    """Lines of an event stream, as the HTML standard has them, to events."""

    def __init__(self) -> None:
        self._fields: dict[str, str] = {}

    def feed(self, line: str) -> JobEvent | None:
        """The event that this line completes."""
        if line:
            name, _, value = line.partition(":")
            if name in ("event", "id", "data"):
                before = self._fields.get(name, "") + "\n" if name == "data" and name in self._fields else ""
                self._fields[name] = before + value.removeprefix(" ")
            return None
        fields, self._fields = self._fields, {}
        return _event(fields) if "data" in fields else None


def _event(fields: dict[str, str]) -> JobEvent:
    kind, data = fields.get("event", "message"), json.loads(fields["data"])
    jobs, batches = data.get("jobs", []), data.get("batches", [])
    if kind.startswith("job."):
        jobs = [data]
    elif kind.startswith("batch."):
        batches = [data]
    return JobEvent(
        type=kind,
        id=fields.get("id", ""),
        jobs=[read(JobState, job) for job in jobs],
        batches=[read(BatchState, batch) for batch in batches],
        raw=data,
    )


class _Stream:
    def __init__(
        self, io: IO, *, job_id: str | None = None, batch_id: str | None = None, task: str | None = None
    ) -> None:
        self._io, self._parser = io, Parser()
        self._filters = without_none(job_id=job_id, batch_id=batch_id, task=task)
        self._response: httpx.Response | None = None
        self._lines: Any = None
        self._over = False

    def _opening(self, quiet_seconds: float | None) -> Flow[httpx.Response]:
        quiet = min(QUIET_SECONDS, quiet_seconds or QUIET_SECONDS)
        call = Call("GET", "/jobs/events", params=self._filters, read_timeout=quiet, again=False)
        self._response = yield from fetch(self._io, call, stream=True)
        return self._response

    def _read(self, line: str) -> JobEvent | None:
        event = self._parser.feed(line)
        self._over = event is not None and event.type == "end"
        return event


class EventStream(_Stream):
    """Events until the server ends them. A context, or open it and close it yourself."""

    def open(self, quiet_seconds: float | None = None) -> EventStream:
        """quiet_seconds: a server that says nothing for so long is taken for lost."""
        self._lines = run(self._opening(quiet_seconds)).iter_lines()
        return self

    def next(self) -> JobEvent | None:
        """None at the end. Raises ConnectionFailed."""
        try:
            while not self._over and (line := next(self._lines, None)) is not None:
                if event := self._read(line):
                    return event
        except httpx.TransportError as error:
            raise ConnectionFailed(f"The events broke off: {error or type(error).__name__}") from error
        return None

    def close(self) -> None:
        if self._response:
            self._response.close()

    def __iter__(self) -> Iterator[JobEvent]:
        while event := self.next():
            yield event

    def __enter__(self) -> EventStream:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncEventStream(_Stream):
    """Events until the server ends them. A context, or open it and close it yourself."""

    async def open(self, quiet_seconds: float | None = None) -> AsyncEventStream:
        """quiet_seconds: a server that says nothing for so long is taken for lost."""
        self._lines = (await run_async(self._opening(quiet_seconds))).aiter_lines()
        return self

    async def next(self) -> JobEvent | None:
        """None at the end. Raises ConnectionFailed."""
        try:
            while not self._over and (line := await anext(self._lines, None)) is not None:
                if event := self._read(line):
                    return event
        except httpx.TransportError as error:
            raise ConnectionFailed(f"The events broke off: {error or type(error).__name__}") from error
        return None

    async def close(self) -> None:
        if self._response:
            await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[JobEvent]:
        while event := await self.next():
            yield event

    async def __aenter__(self) -> AsyncEventStream:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
