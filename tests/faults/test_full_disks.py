"""Disks that are full: those of audio and of temporary files. The database lies on another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import error_of
from tests.faults.deployment import Deployment, deployed, public_folder, wait_until
from tests.faults.disks import filled, small_disk
from tests.faults.load import Load, short_clip

LONG_TEXT = "More than is kept in memory before a temporary file is made. " * 20


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """With small disks of their own for audio and for temporary files."""
    with ExitStack() as stack:
        folder = stack.enter_context(public_folder())
        stack.enter_context(small_disk(folder / "data" / "media", megabytes=16))
        scratch = stack.enter_context(small_disk(folder / "scratch", megabytes=16))
        made = stack.enter_context(deployed(folder, TMPDIR=str(scratch)))
        made.start_worker()
        warm = made.post("/tts/synthesize", json={"text": "Is everything there?"})
        assert warm.status_code == 200, warm.text
        yield made


def media(deployment: Deployment) -> Path:
    return deployment.server.data_dir / "media"


def scratch(deployment: Deployment) -> Path:
    return deployment.server.data_dir.parent / "scratch"


def stored(deployment: Deployment) -> set[Path]:
    return {path for path in media(deployment).rglob("*") if path.is_file()}


def recording() -> dict[str, tuple[str, bytes]]:
    return {"audio_file": ("a.wav", short_clip())}


def assert_refused(answer: httpx.Response) -> None:
    error_of(answer, 503, "storage_full")
    assert int(answer.headers["Retry-After"]) > 0


def assert_alive(deployment: Deployment) -> None:
    assert deployment.server.process.poll() is None
    assert deployment.client.get("/auth/me").status_code == 200


def billed(deployment: Deployment) -> tuple[int, float]:
    usage = deployment.client.get("/analytics/usage").json()
    return usage["total_tts_characters"], usage["total_stt_seconds"]


def test_no_room_for_audio(deployment: Deployment) -> None:
    before, files, load = billed(deployment), stored(deployment), Load(deployment)
    with filled(media(deployment)):
        assert_refused(deployment.post("/tts/synthesize", json={"text": "There is no room for this."}))
        assert_refused(deployment.post("/stt/transcribe", files=recording()))
        assert_refused(deployment.post("/stt/transcribe", files=recording(), data={"async": "true"}))
        batch = deployment.post("/tts/synthesize-batch", json={"items": [{"text": "One."}, {"text": "Two."}]}).json()
        assert [item["error"]["code"] for item in batch["items"]] == ["storage_full"] * 2
        load.jobs["tts"].append(queued(deployment, "Waits until there is room."))
        wait_until(lambda: waits(deployment) >= 1, 30, "the worker found no room")
        ready = httpx.get(f"{deployment.server.url}/health/ready", trust_env=False, timeout=30)
        assert ready.status_code == 503
        assert [name for name, outcome in ready.json()["checks"].items() if outcome != "ok"] == ["storage"]
        assert_alive(deployment)
        assert billed(deployment) == before
        assert stored(deployment) - files == {media(deployment) / "filler"}, "what was begun is removed"

    assert deployment.post("/tts/synthesize", json={"text": "There is room."}).status_code == 200
    assert deployment.post("/stt/transcribe", files=recording()).status_code == 200
    assert load.wait_until_ended(60) == {"succeeded": 1}
    load.assert_exact()


def queued(deployment: Deployment, text: str) -> str:
    answer = deployment.post("/tts/synthesize", json={"text": text, "async": True})
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"]


def waits(deployment: Deployment) -> int:
    """How often a job has been put off."""
    return deployment.log_of(deployment.workers[0]).read_text().count("job waits")


def test_no_room_for_temporary_files(deployment: Deployment) -> None:
    load, form = Load(deployment), {"files": recording(), "data": {"async": "true"}}
    # Python chooses its folder for temporary files when it first needs one, and would not choose a full one.
    first = deployment.post("/stt/transcribe", **form).json()["job_id"]
    wait_until(lambda: deployment.job("stt", first)["status"] == "succeeded", 60, "the worker works")
    before, waited = billed(deployment), waits(deployment)
    with filled(scratch(deployment)):
        assert_refused(deployment.post("/tts/synthesize", json={"text": LONG_TEXT}))
        assert_refused(deployment.post("/stt/transcribe", files=recording()))
        assert_refused(deployment.post("/tts/synthesize", json={"text": LONG_TEXT * 3000}))  # the request itself
        load.jobs["stt"].append(deployment.post("/stt/transcribe", **form).json()["job_id"])
        load.jobs["tts"].append(queued(deployment, LONG_TEXT))
        wait_until(lambda: waits(deployment) >= waited + 2, 30, "the worker found no room")
        assert_alive(deployment)
        assert billed(deployment) == before
    assert deployment.post("/tts/synthesize", json={"text": LONG_TEXT}).status_code == 200
    assert load.wait_until_ended(60) == {"succeeded": 2}
    load.assert_exact()
