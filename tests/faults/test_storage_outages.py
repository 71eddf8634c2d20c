"""The audio storage fails for ten seconds: an S3 server that is gone, and a folder that is no folder any more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx

from tests.conftest import error_of
from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.load import Load, short_clip
from tests.s3_store import Store

OUTAGE_SECONDS = 10.0 if os.environ.get("FAULTS") == "full" else 0.0
"""At least; all jobs find the storage gone."""


def test_an_s3_store_that_is_gone() -> None:
    store = Store()
    try:
        with public_folder() as folder, deployed(folder, **store.settings) as deployment:
            load = survive(deployment, store.away())
            # What is to be deleted while the store is away stays there, and is logged.
            assert load.count + 3 <= len(store.keys()) <= load.count + 6, "one object each: nothing lost"
    finally:
        store.server.stop()


def test_a_folder_that_is_gone() -> None:
    with public_folder() as folder, deployed(folder) as deployment:
        survive(deployment, replaced_by_a_file(deployment.server.data_dir / "media"))


@contextmanager
def replaced_by_a_file(folder: Path) -> Iterator[None]:
    """Neither readable nor writable for anybody, root included."""
    kept = folder.rename(folder.with_suffix(".away"))
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        kept.rename(folder)


def survive(deployment: Deployment, outage: AbstractContextManager[None]) -> Load:
    """Jobs that were queued before and during an outage succeed after it; requests are refused meanwhile."""
    load = Load(deployment)
    kept = deployment.post("/tts/synthesize", json={"text": "Kept."}).json()
    load.add(10)
    began = time.monotonic()
    with outage:
        worker = deployment.start_worker()
        assert_refused(deployment, kept["audio_url"])
        answer = deployment.post("/tts/synthesize", json={"text": "Needs no storage yet.", "async": True})
        load.jobs["tts"].append(answer.json()["job_id"])
        log = deployment.log_of(worker)
        wait_until(lambda: log.read_text().count("job waits") >= load.count, 60, "all jobs have found it gone")
        time.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
    assert deployment.client.get(kept["audio_url"]).status_code == 200
    for kind, request in (("tts", {"json": {"text": "After."}}), ("stt", recording())):
        path = "/tts/synthesize" if kind == "tts" else "/stt/transcribe"
        answer = deployment.post(path, **request)
        assert answer.status_code == 200, answer.text
    assert load.wait_until_ended(120) == {"succeeded": load.count}
    assert load.attempts() == load.count, "an outage is no attempt"
    wait_until(lambda: load.queued_tasks() == 0, 30, "no task is left")
    load.assert_exact()
    assert worker.poll() is None
    return load


def recording() -> dict[str, dict[str, tuple[str, bytes]]]:
    return {"files": {"audio_file": ("a.wav", short_clip())}}


def assert_refused(deployment: Deployment, audio_url: str) -> None:
    """Clearly, and billed to nobody."""
    before = deployment.client.get("/analytics/usage").json()["total_jobs"]
    answers = [
        deployment.post("/tts/synthesize", json={"text": "During."}),
        deployment.post("/stt/transcribe", **recording()),
        deployment.post("/stt/transcribe", **recording(), data={"async": "true"}),
        deployment.client.get(audio_url),
    ]
    for answer in answers:
        error_of(answer, 503, "storage_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    ready = httpx.get(f"{deployment.server.url}/health/ready", trust_env=False, timeout=60)
    assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "ok")
    assert deployment.client.get("/auth/me").status_code == 200
    usage = deployment.client.get("/analytics/usage").json()
    assert usage["total_jobs"] - before == 1, "the one that was computed in vain"
    billed = "SELECT sum(characters), sum(audio_seconds) FROM analytics_usagerecord WHERE status = 'failed'"
    assert deployment.postgres.rows(billed) == [(0, 0.0)]
