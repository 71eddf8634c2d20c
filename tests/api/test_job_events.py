"""GET /jobs/events: an organisation follows its own jobs, from a snapshot to their end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from accounts import services, tokens
from accounts.models import LoginSession, Membership
from jobs.events import hub
from jobs.events.reading import Notice, Scope
from jobs.models import Batch, EventListener
from stt.models import SttJob
from tests.api.support import silence
from tests.api.test_async_jobs import LONG_TEXT, finished
from tests.browser import signed_in
from tests.conftest import Client, Tenant, error_of
from tts.models import TtsJob

PATH = "/jobs/events"


class Stream:
    """An open stream, parsed by the standard's rules as it comes."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.comments = 0
        self.last_id = ""
        self.ended = False
        self._news = threading.Condition()
        self._answer = answer
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        name, data = "", ""
        try:
            for line in self._answer.iter_lines():
                key, _, value = line.partition(": ")
                with self._news:
                    if not line and data:
                        self.events.append((name, json.loads(data)))
                        name, data = "", ""
                    elif key == "event":
                        name = value
                    elif key == "data":
                        data += value
                    elif key == "id":
                        self.last_id = value
                    elif line.startswith(":"):
                        self.comments += 1
                    self._news.notify_all()
        except (httpx.TransportError, httpx.StreamError):
            pass
        with self._news:
            self.ended = True
            self._news.notify_all()

    def wait(self, condition: Any, seconds: float = 30) -> Any:
        with self._news:
            assert self._news.wait_for(lambda: condition(self), seconds), self.events
            return condition(self)

    def snapshot(self) -> dict[str, Any]:
        return self.wait(lambda stream: next((data for name, data in stream.events if name == "snapshot"), None))

    def of_job(self, job_id: str) -> list[str]:
        return [name for name, data in self.events if data.get("job_id") == job_id]

    def until_job(self, job_id: str, name: str) -> list[str]:
        self.wait(lambda stream: name in stream.of_job(job_id))
        return self.of_job(job_id)

    def named(self, name: str) -> list[dict[str, Any]]:
        return [data for event, data in self.events if event == name]


@contextmanager
def following(client: Client, query: str = "", **headers: str) -> Iterator[Stream]:
    with client.stream("GET", PATH + query, headers=headers) as answer:
        stream = Stream(answer)
        try:
            stream.snapshot()
            yield stream
        finally:  # closing alone does not wake the thread that reads, and so tells the server nothing
            answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            stream.wait(lambda stream: stream.ended)


def speak_later(client: Client, text: str = "Later.") -> str:
    answer = client.post("/tts/synthesize", json={"text": text, "async": True})
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


# ── What is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queued_job_from_its_beginning_to_its_end(tenant: Tenant) -> None:
    client = tenant.key("tts")
    with following(tenant.user("viewer")) as stream:
        assert stream.snapshot() == {"jobs": [], "batches": [], "truncated": False}
        job_id = speak_later(client, "One sentence. " * 100)
        told = stream.until_job(job_id, "job.succeeded")
    assert [name for name in told if name != "job.progress"] == ["job.queued", "job.started", "job.succeeded"]
    assert told.index("job.succeeded") == len(told) - 1
    (end,) = stream.named("job.succeeded")
    assert (end["task"], end["status"], end["progress"], end["error"]) == ("tts", "succeeded", 1.0, None)
    assert "sentence" not in json.dumps(stream.events)  # what was said is not in events


def test_synchronous_failed_and_cancelled_jobs(tenant: Tenant) -> None:
    client = tenant.key()
    with following(client) as stream:
        spoken = client.post("/tts/synthesize", json={"text": "Now."}).json()["job_id"]
        assert stream.until_job(spoken, "job.succeeded") == ["job.started", "job.succeeded"]
        wrong = {"audio_file": ("a.wav", b"no audio" * 100)}
        failed = client.post("/stt/transcribe", files=wrong, data={"async": "true"}).json()["job_id"]
        stream.until_job(failed, "job.failed")
        assert stream.named("job.failed")[0]["error"]["code"] == "audio_undecodable"
        long = speak_later(client, LONG_TEXT)
        stream.wait(lambda stream: len(stream.named("job.progress")) > 1)
        client.delete(f"/tts/jobs/{long}")
        assert stream.until_job(long, "job.cancelled")[-1] == "job.cancelled"
        progress = [data["progress"] for data in stream.named("job.progress") if data["job_id"] == long]
        assert progress == sorted(progress)
        assert 0 < progress[-1] < 1


def test_snapshot_has_what_has_not_ended(tenant: Tenant) -> None:
    client = tenant.key("tts")
    done = client.post("/tts/synthesize", json={"text": "Done."}).json()["job_id"]
    long = speak_later(client, LONG_TEXT)
    with following(client) as stream:
        assert [job["job_id"] for job in stream.snapshot()["jobs"]] == [long]
        client.delete(f"/tts/jobs/{long}")
        stream.until_job(long, "job.cancelled")
    with following(client, f"?job_id={done}") as stream:  # one that is asked for by name is told, ended or not
        assert [job["status"] for job in stream.snapshot()["jobs"]] == ["succeeded"]


def test_a_batch_and_its_progress(tenant: Tenant) -> None:
    client = tenant.key("tts")
    items = [{"text": f"Number {n}."} for n in range(4)] + [{"text": "x", "voice": "nobody"}]
    with following(client) as stream:
        batch_id = client.post("/tts/synthesize-batch", json={"items": items, "async": True}).json()["batch_id"]
        stream.wait(lambda stream: stream.named("batch.finished"))
        (end,) = stream.named("batch.finished")
    assert (end["batch_id"], end["task"], end["total"], end["progress"]) == (batch_id, "tts", 4, 1.0)
    assert end["counts"]["succeeded"] == 4
    shares = [data["progress"] for data in stream.named("batch.progress")]
    assert shares == sorted(shares)
    with following(client, f"?batch_id={batch_id}") as stream:
        snapshot = stream.snapshot()
    assert (len(snapshot["jobs"]), snapshot["batches"][0]["finished_at"] is not None) == (4, True)


def test_filters(tenant: Tenant) -> None:
    client = tenant.key()
    with following(client, "?task=stt") as heard, following(client) as all_jobs:
        spoken = client.post("/tts/synthesize", json={"text": "Spoken."}).json()["job_id"]
        job_id = client.post("/stt/transcribe", files={"audio_file": ("s.wav", silence(0.4))}).json()["job_id"]
        all_jobs.until_job(spoken, "job.succeeded")
        heard.until_job(job_id, "job.succeeded")
        assert {data["task"] for name, data in heard.events if name.startswith("job.")} == {"stt"}
    error_of(client.get(f"{PATH}?task=video"), 400)
    error_of(client.get(f"{PATH}?jobid={job_id}"), 400, "parameter_unknown")
    error_of(client.get(f"{PATH}?job_id=00000000-0000-4000-8000-000000000000"), 404, "not_found")


# ── Who is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_organization_hears_nothing(tenant: Tenant, other_tenant: Tenant) -> None:
    client, stranger = tenant.key("tts"), other_tenant.key("tts")
    with following(stranger) as theirs, following(client) as mine:
        job_id = speak_later(client)
        batch = client.post("/tts/synthesize-batch", json={"items": [{"text": "Mine."}], "async": True}).json()
        mine.until_job(job_id, "job.succeeded")
        mine.wait(lambda stream: stream.named("batch.finished"))
        own = speak_later(stranger)
        theirs.until_job(own, "job.succeeded")
        assert {data.get("job_id") for name, data in theirs.events if name != "snapshot"} == {own}
        assert own not in json.dumps(mine.events)
    for query in (f"?job_id={job_id}", f"?batch_id={batch['batch_id']}"):
        error_of(stranger.get(PATH + query), 404, "not_found")


def test_keys_hear_of_their_scopes_alone(tenant: Tenant) -> None:
    client = tenant.key()
    with following(tenant.key("stt")) as heard, following(client) as all_jobs:
        spoken = client.post("/tts/synthesize", json={"text": "Spoken."}).json()["job_id"]
        all_jobs.until_job(spoken, "job.succeeded")
        assert heard.of_job(spoken) == []
    error_of(tenant.key("stt").get(f"{PATH}?task=tts"), 403, "scope_missing")


def test_a_browser_follows_with_its_cookie(tenant: Tenant) -> None:
    cookies = {cookie.name: cookie.value for cookie in signed_in(tenant, "viewer").cookies.jar}
    browser = Client(tenant.server, {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())})
    with following(browser) as stream:
        job_id = speak_later(tenant.key("tts"))
        stream.until_job(job_id, "job.succeeded")
    # The cookie is for this alone.
    error_of(browser.get("/tts/jobs"), 401)
    error_of(Client(tenant.server).get(PATH), 401)


# ── How long ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_quiet_stream_shows_that_it_lives(tenant: Tenant, settings: Any) -> None:
    settings.JOB_EVENTS_BEAT_SECONDS = 0.2
    with following(tenant.key("tts")) as stream:
        stream.wait(lambda stream: stream.comments >= 3)


@pytest.mark.parametrize("end", ["revoked key", "logged out", "removed member"])
def test_a_stream_ends_with_its_credential(tenant: Tenant, settings: Any, end: str) -> None:
    settings.JOB_EVENTS_BEAT_SECONDS = 0.2
    row, key = tenant.new_key("tts")
    client = Client(tenant.server, {"x-api-key": key}) if end == "revoked key" else tenant.user("developer")
    with following(client) as stream:
        if end == "revoked key":
            services.revoke_api_key(actor=tenant.actor(), api_key=row)
        elif end == "logged out":
            tokens.revoke(LoginSession.objects.get(membership=tenant.member("developer")))
        else:
            Membership.objects.filter(id=tenant.member("developer").id).delete()
        stream.wait(lambda stream: stream.ended)
        assert stream.events[-1] == ("end", {"reason": "credential_ended"})
    error_of(client.get(PATH), 401)


def test_head_ends_at_once(tenant: Tenant) -> None:
    assert tenant.key("tts").head(PATH).headers["Content-Type"].startswith("text/event-stream")
    assert not EventListener.objects.filter(organization=tenant.organization).exists()


def test_as_many_streams_as_are_allowed(tenant: Tenant, other_tenant: Tenant, settings: Any) -> None:
    settings.JOB_EVENTS_MAX_LISTENERS = 2
    client = tenant.key("tts")
    with following(client), following(client):
        refused = client.get(PATH)
        error_of(refused, 429, "too_many_listeners")
        assert int(refused.headers["Retry-After"]) >= 1
        with following(other_tenant.key("tts")):
            pass
    deadline = time.monotonic() + 20
    while EventListener.objects.filter(organization=tenant.organization).exists():  # the clients that left are noticed
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with following(client):
        pass


def test_streams_hold_no_threads(tenant: Tenant) -> None:
    from contextlib import ExitStack

    client = tenant.key("tts")
    with ExitStack() as streams:
        streams.enter_context(following(client))
        before = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
        count = threading.active_count()
        for _ in range(20):
            streams.enter_context(following(client))
        mine = 20  # those that read in this test
        assert threading.active_count() - count - mine <= 4 + 2, before  # the hub's own, and a pool that grows a little


# ── Missed events ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_that_comes_back_hears_what_ended_meanwhile(tenant: Tenant) -> None:
    client = tenant.key("tts")
    with following(client) as stream:
        stream.until_job(speak_later(client), "job.succeeded")
    missed = client.post("/tts/synthesize", json={"text": "While away."}).json()["job_id"]
    with following(client, **{"Last-Event-ID": stream.last_id}) as again:
        assert missed in [job["job_id"] for job in again.snapshot()["jobs"]]
    for wrong in ("", "x", "9" * 30):
        with following(client, **{"Last-Event-ID": wrong}) as anew:
            assert anew.snapshot()["jobs"] == []


def test_a_slow_listener_is_told_to_look_again(tenant: Tenant, settings: Any) -> None:
    """More happens between two looks than a stream may lag behind."""
    settings.JOB_EVENTS_MAX_BEHIND = 3
    client = tenant.key("tts")
    with following(client) as stream:
        items = [{"text": "Quick."}] * 8
        client.post("/tts/synthesize-batch", json={"items": items, "async": True})
        stream.wait(lambda stream: len(stream.named("snapshot")) > 1)
        stream.wait(lambda stream: stream.named("batch.finished") or _all_ended(stream.named("snapshot")[-1], 8), 60)
    assert stream.named("resync")


def _all_ended(snapshot: dict[str, Any], count: int) -> bool:
    return [job["status"] for job in snapshot["jobs"]].count("succeeded") == count


def test_a_stream_ends_also_where_news_come_at_that_moment() -> None:
    async def leave() -> None:
        listener = hub.Listener(uuid.uuid4(), Scope(uuid.uuid4(), ("tts",)))
        waiting = asyncio.ensure_future(listener.news(60))
        for _ in range(5):
            await asyncio.sleep(0)  # until it waits
        listener.close()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(leave())


def test_a_lost_connection_to_the_database_is_made_again(tenant: Tenant) -> None:
    from django.db import connection

    client = tenant.key("tts")
    with following(client) as stream:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [hub.NAME]
            )
            assert len(cursor.fetchall()) == 1
        stream.wait(lambda stream: stream.named("resync"))
        stream.until_job(speak_later(client), "job.succeeded")


# ── What it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_is_notified_where_nobody_listens(tenant: Tenant, other_tenant: Tenant) -> None:
    import psycopg
    from procrastinate.contrib.django.utils import connector_params

    with psycopg.connect(**connector_params(), autocommit=True) as ears, following(other_tenant.key("tts")):
        ears.execute(f"LISTEN {hub.CHANNEL}")
        tenant.key("tts").post("/tts/synthesize", json={"text": "Unheard."})
        job_id = speak_later(other_tenant.key("tts"))
        finished(other_tenant.key("tts"), f"/tts/jobs/{job_id}")
        told = [Notice.parse(notification.payload) for notification in ears.notifies(timeout=1)]
    assert {notice.organization_id for notice in told} == {other_tenant.organization.id}
    assert {str(notice.object_id) for notice in told} == {job_id}  # ids, and nothing else: see `Notice`


# ── Batches ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_over_once(tenant: Tenant) -> None:
    """Also where its jobs end before all of them are there, and where every item was refused."""
    client = tenant.key()
    both = [
        client.post("/tts/synthesize-batch", json={"items": [{"text": "a"}, {"text": "b", "voice": "nobody"}]}),
        client.post("/tts/synthesize-batch", json={"items": [{"text": "b", "voice": "nobody"}]}),
        client.post("/stt/batch-transcribe", files=[("audio_files", ("s.wav", silence(0.4)))] * 2),
    ]
    batches = {row.id: row for row in Batch.objects.filter(organization=tenant.organization)}
    assert {str(row.id) for row in batches.values()} == {answer.json()["batch_id"] for answer in both}
    assert all(row.closed and row.finished_at for row in batches.values())
    state = client.get(f"/tts/batches/{both[0].json()['batch_id']}").json()
    assert (state["total"], state["progress"], state["finished_at"] is not None) == (1, 1.0, True)
    assert TtsJob.objects.filter(organization=tenant.organization).count() == 1
    assert SttJob.objects.filter(organization=tenant.organization).count() == 2
