"""The same request twice is computed and billed once.

A request says that it may be a repetition in one of two ways:

- `Idempotency-Key`: for 24 hours the same key and request get the first answer; another request with it is refused.
- `x-stainless-retry-count`, which the official SDKs send, counts their own retries: 0 starts anew, 1 and more is the
  request of a moment ago, whose answer did not come in time.

Records belong to an organisation and a credential. Only 2xx answers are kept; after an error the next one tries again.
While the first is computing, its repetitions wait for it, in any process. A first one whose process died is known by
its heartbeat, and the next takes its place. A client that left may be about to come back: the computing goes on for
IDEMPOTENCY_GRACE_SECONDS, and for as long as somebody waits. That of a stream, which its client often leaves on
purpose, pauses for IDEMPOTENCY_STREAM_GRACE_SECONDS and goes on when somebody waits.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection
from django.http import StreamingHttpResponse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.actors import Actor
from common import db, errors, storage
from common.api import JsonView
from common.lifetime import server_is_stopping
from common.streaming import in_thread
from jobs.identity import Identity, identity_of
from jobs.models import IdempotencyRecord, Job, JobStatus
from ml.errors import Cancelled

log = logging.getLogger(__name__)

KEPT = {
    IdempotencyRecord.Source.HEADER: timedelta(hours=24),
    IdempotencyRecord.Source.RETRY: timedelta(minutes=15),  # an SDK waits up to ten minutes for an answer
}
LEASE_SECONDS: float = settings.JOB_LEASE_SECONDS
BEAT_SECONDS = 1.0

Answer = Response | StreamingHttpResponse
Post = Callable[..., Answer]


class JobStream(StreamingHttpResponse):
    """The audio of a job as it is made. It is stored with the job too, from where a repetition gets it."""

    def __init__(self, job: Job, body: Any, **kwargs: Any) -> None:
        super().__init__(body, **kwargs)
        self.job, self.body = job, body
        self.before_closing: Callable[[], None] = lambda: None
        self.when_closed: Callable[[], None] = lambda: None
        self["X-Job-ID"] = str(job.id)

    def close(self) -> None:
        """Called at its end, and also when the client leaves or it is never sent."""
        self.before_closing()
        super().close()
        self.when_closed()


def idempotent(post: Post) -> Post:
    """For a view's `post` that makes jobs. A request without either header passes through at no cost."""

    @functools.wraps(post)
    def once(view: JsonView, request: Request, *args: Any, **kwargs: Any) -> Answer:
        identity = identity_of(view.actor, request)
        if identity is None:
            return post(view, request, *args, **kwargs)
        claimed = _claim_or_wait(identity, view.client_left or threading.Event())
        if isinstance(claimed, IdempotencyRecord):
            return _replay(claimed, view, request)
        return claimed.answer(view.actor, request, lambda: post(view, request, *args, **kwargs))

    return once


def purge() -> int:
    """Deletes records whose time is over."""
    return IdempotencyRecord.objects.filter(expires_at__lt=timezone.now()).delete()[0]


def forget(*, job: Job) -> None:
    """Deletes the kept answers that a job is part of: what was said in it is not to be kept any longer."""
    IdempotencyRecord.objects.filter(organization_id=job.organization_id, job_ids__contains=[job.id]).delete()


# ── Who computes ────────────────────────────────────────────────────────────────────────────────────────────────────


def _claim_or_wait(identity: Identity, client_left: threading.Event) -> _Attempt | IdempotencyRecord:
    """Ours to compute, or the record of an answer that there is."""
    deadline = time.monotonic() + settings.IDEMPOTENCY_WAIT_SECONDS
    pause = 0.02
    attempt = _insert(identity, client_left)
    while attempt is None:
        record = IdempotencyRecord.objects.filter(**identity.record).first()
        if record is None:
            attempt = _insert(identity, client_left)
        elif identity.starts_anew or _is_over(record):
            attempt = _take_over(record, identity, client_left)
            identity = identity if attempt else _not_anew(identity)
        elif record.fingerprint != identity.fingerprint:
            raise errors.Conflict(
                "This Idempotency-Key was used for another request.", code="idempotency_key_reused"
            )  # fmt: skip
        elif record.status is not None:
            return record
        elif time.monotonic() > deadline:
            raise errors.Conflict(
                "The first request with this Idempotency-Key is still being answered.",
                code="idempotency_in_progress",
                retry_after_seconds=5,
            )
        else:
            _wait(record, client_left, pause)
            pause = min(0.5, pause * 1.5)
    return attempt


def _insert(identity: Identity, client_left: threading.Event) -> _Attempt | None:
    attempt = uuid.uuid4()
    try:
        IdempotencyRecord.objects.create(**identity.record, **_fresh(identity, attempt))
    except IntegrityError:
        return None
    return _Attempt(attempt, client_left)


def _take_over(record: IdempotencyRecord, identity: Identity, client_left: threading.Event) -> _Attempt | None:
    attempt = uuid.uuid4()
    changed = IdempotencyRecord.objects.filter(id=record.id, attempt=record.attempt).update(**_fresh(identity, attempt))
    return _Attempt(attempt, client_left) if changed else None


def _fresh(identity: Identity, attempt: uuid.UUID) -> dict[str, Any]:
    now = timezone.now()
    return {
        "fingerprint": identity.fingerprint, "attempt": attempt, "started_at": now, "heartbeat_at": now,
        "awaited_at": None, "expires_at": now + KEPT[IdempotencyRecord.Source(identity.source)], "status": None,
        "location": "", "body": "", "job_ids": [], "content_type": "", "audio_key": "",
    }  # fmt: skip


def _not_anew(identity: Identity) -> Identity:
    """Another first try took the record in this very moment: that it is the same request is good enough."""
    return replace(identity, starts_anew=False)


def _is_over(record: IdempotencyRecord) -> bool:
    """Its time is over, or its process died."""
    now = timezone.now()
    lost = record.status is None and record.heartbeat_at < now - timedelta(seconds=LEASE_SECONDS)
    return lost or record.expires_at <= now


def _wait(record: IdempotencyRecord, client_left: threading.Event, seconds: float) -> None:
    now = timezone.now()
    if record.awaited_at is None or now - record.awaited_at > timedelta(seconds=BEAT_SECONDS):
        IdempotencyRecord.objects.filter(id=record.id, attempt=record.attempt).update(awaited_at=now)
    with db.released():
        if client_left.wait(seconds):
            raise Cancelled("The client left.")


@dataclass(eq=False)
class _Attempt:
    """The computing of one answer here. `cancel` takes the place of the client's leaving."""

    id: uuid.UUID
    client_left: threading.Event
    cancel: threading.Event = field(default_factory=threading.Event)
    left_at: float | None = None  # time.monotonic()

    def answer(self, actor: Actor, request: Request, post: Callable[[], Answer]) -> Answer:
        request._request.client_left = self.cancel  # type: ignore[attr-defined]
        _keeper.add(self)
        try:
            response = post()
        except BaseException:
            self._forget()
            raise
        if isinstance(response, JobStream):
            response.before_closing = lambda: self._await_return(response)
            response.when_closed = lambda: self._stream_ended(response, actor)
        elif isinstance(response, Response) and 200 <= response.status_code < 300:
            self._remember(
                actor,
                status=response.status_code,
                body=JSONRenderer().render(response.data).decode(),
                job_ids=[response["X-Job-ID"]] if "X-Job-ID" in response else list(_job_ids(response.data)),
                location=response.headers.get("Location", ""),
            )
        else:
            self._forget()
        return response

    def _await_return(self, response: JobStream) -> None:
        """Where the client left in the middle: nothing more is computed, but for one that soon asks again. An SDK whose
        time-out passed does; one whose user has heard enough does not.
        """
        if getattr(response.body, "ended", True):
            return
        until = time.monotonic() + settings.IDEMPOTENCY_STREAM_GRACE_SECONDS
        try:
            while time.monotonic() < until and not server_is_stopping():
                if self._is_awaited():
                    response.body.drain()
                    return
                with db.released():
                    time.sleep(0.1)
        except Exception:
            log.warning("the rest of a stream could not be made for a client that came back", exc_info=True)
        finally:
            connection.close()

    def _is_awaited(self) -> bool:
        return self._mine.filter(awaited_at__gt=timezone.now() - timedelta(seconds=4 * BEAT_SECONDS)).exists()

    def _stream_ended(self, response: JobStream, actor: Actor) -> None:
        try:
            job: Any = type(response.job)._default_manager.filter(id=response.job.id).first()
            if job is None or job.status != JobStatus.SUCCEEDED:
                self._forget()
                return
            self._remember(
                actor,
                status=response.status_code,
                job_ids=[job.id],
                content_type=response.headers["Content-Type"],
                audio_key=getattr(job, "audio_key", ""),
            )
        finally:
            connection.close()

    def _remember(self, actor: Actor, *, status: int, **answer: Any) -> None:
        _keeper.remove(self)
        if actor.organization.transcript_retention_days == 0:
            answer = {}  # that it was answered is kept, what was said is not
        self._mine.update(status=status, **answer)

    def _forget(self) -> None:
        _keeper.remove(self)
        self._mine.delete()

    @property
    def _mine(self) -> Any:
        return IdempotencyRecord.objects.filter(attempt=self.id)


class _Keeper:
    """One thread a process: heartbeats of the attempts under way here, and an end to those that nobody wants."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempts: set[_Attempt] = set()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, attempt: _Attempt) -> None:
        with self._lock:
            self._attempts.add(attempt)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="idempotency", daemon=True)
                self._thread.start()
        self._wake.set()

    def remove(self, attempt: _Attempt) -> None:
        with self._lock:
            self._attempts.discard(attempt)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(BEAT_SECONDS)  # requests that are shorter than this cost no query
            with self._lock:
                attempts = list(self._attempts)
                if not attempts:
                    self._wake.clear()
                    continue
            try:
                self._look_after(attempts)
            except Exception:
                log.exception("could not reach the database for requests that may be repeated; trying again")
            finally:
                connection.close()

    def _look_after(self, attempts: list[_Attempt]) -> None:
        rows = IdempotencyRecord.objects.filter(attempt__in=[attempt.id for attempt in attempts])
        rows.update(heartbeat_at=timezone.now())
        awaited = dict(rows.values_list("attempt", "awaited_at"))
        for attempt in attempts:
            if attempt.client_left.is_set() and _is_abandoned(attempt, awaited.get(attempt.id)):
                attempt.cancel.set()


def _is_abandoned(attempt: _Attempt, awaited_at: datetime | None) -> bool:
    now = time.monotonic()
    attempt.left_at = attempt.left_at or now
    if awaited_at is not None and timezone.now() - awaited_at < timedelta(seconds=4 * BEAT_SECONDS):
        attempt.left_at = now
    return now - attempt.left_at > settings.IDEMPOTENCY_GRACE_SECONDS


_keeper = _Keeper()


# ── The answer again ────────────────────────────────────────────────────────────────────────────────────────────────


def _replay(record: IdempotencyRecord, view: JsonView, request: Request) -> Answer:
    """From the record, or by the view's own `replay(request, job_id)` where its answers are made from a job."""
    if not (record.body or record.audio_key or record.job_ids):
        raise errors.Conflict(
            "This request has been answered; the organisation keeps no answers.", code="idempotency_answer_not_kept"
        )
    if own := getattr(view, "replay", None):
        answer: Answer = own(request, record.job_ids[0])
        answer["Idempotent-Replayed"] = "true"
        return answer
    if record.audio_key:
        last = storage.size(record.audio_key) - 1
        stream = StreamingHttpResponse(
            in_thread(storage.read_range(record.audio_key, 0, last)), content_type=record.content_type
        )
        stream["X-Job-ID"] = str(record.job_ids[0])
        stream["Idempotent-Replayed"] = "true"
        return stream
    response = Response(_with_fresh_links(json.loads(record.body), request), status=record.status)
    if record.location:
        response["Location"] = record.location
    response["Idempotent-Replayed"] = "true"
    return response


def _with_fresh_links(value: Any, request: Request) -> Any:
    """The first answer's links may have expired since."""
    if isinstance(value, list):
        return [_with_fresh_links(item, request) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: storage.renewed_url(request._request, item)
        if name == "audio_url" and item
        else _with_fresh_links(item, request)
        for name, item in value.items()
    }


def _job_ids(value: Any) -> Iterator[uuid.UUID]:
    """The ids of the jobs in an answer."""
    if isinstance(value, list):
        for item in value:
            yield from _job_ids(item)
    elif isinstance(value, dict):
        if value.get("job_id"):
            yield uuid.UUID(str(value["job_id"]))
        yield from _job_ids(value.get("items"))
