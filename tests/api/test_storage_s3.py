"""Audio in an S3-compatible store: the whole platform in a process of its own, against a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.support import decode, silence
from tests.platform_process import Platform, environment, manage, running
from tests.s3_store import Store


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.server.stop()


@pytest.fixture(scope="module")
def platform(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running(tmp_path_factory.mktemp("s3") / "data", **store.settings) as made:
        yield made


@pytest.fixture
def client(platform: Platform) -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False, base_url=f"{platform.url}/api/v1") as made:
        assert platform.log_in(made).status_code == 200
        yield made


def test_life_of_speech(store: Store, platform: Platform, client: httpx.Client) -> None:
    organization = client.get("/auth/me").json()["organization"]["id"]
    job = client.post("/tts/synthesize", json={"text": "Kept in a bucket."}).json()
    assert job["status"] == "succeeded", job
    (key,) = store.keys()
    assert key.startswith(f"{organization}/tts/")
    assert not (platform.data_dir / "media").exists()

    whole = httpx.get(job["audio_url"], trust_env=False)
    assert decode(whole.content).seconds == pytest.approx(job["duration_seconds"], abs=0.01)
    assert whole.content == store.client.get_object(Bucket=store.bucket, Key=key)["Body"].read()
    part = httpx.get(job["audio_url"], headers={"Range": "bytes=100-199"}, trust_env=False)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.content)}"
    end = httpx.get(job["audio_url"], headers={"Range": "bytes=-10"}, trust_env=False)
    assert (end.status_code, end.content) == (206, whole.content[-10:])

    assert client.delete(f"/tts/jobs/{job['job_id']}").status_code == 204
    assert store.keys() == []
    gone = httpx.get(job["audio_url"], trust_env=False)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "audio_deleted")


def test_life_of_a_recording(store: Store, client: httpx.Client) -> None:
    content = silence(1)
    job = client.post("/stt/transcribe", files={"audio_file": ("quiet.wav", content)}).json()
    assert (job["status"], job["text"]) == ("succeeded", "")
    (key,) = store.keys()
    assert "/stt/" in key
    assert httpx.get(job["audio_url"], trust_env=False).content == content
    assert client.delete(f"/stt/jobs/{job['job_id']}").status_code == 204
    assert store.keys() == []

    refused = client.post("/stt/transcribe", files={"audio_file": ("text.wav", b"this is a text")})
    assert refused.status_code == 422, refused.text
    assert store.keys() == []


def test_stream_is_kept(store: Store, client: httpx.Client) -> None:
    answer = client.post("/tts/synthesize", json={"text": "Streamed.", "stream": True, "format": "pcm"})
    assert answer.status_code == 200
    job = client.get(f"/tts/jobs/{answer.headers['X-Job-ID']}").json()
    assert httpx.get(job["audio_url"], trust_env=False).content == answer.content
    client.delete(f"/tts/jobs/{job['job_id']}")


def test_store_that_is_down(store: Store, platform: Platform, client: httpx.Client) -> None:
    before = client.get("/analytics/usage").json()
    kept = client.post("/tts/synthesize", json={"text": "Before."}).json()
    with store.away():
        answers = [
            client.post("/tts/synthesize", json={"text": "During."}),
            client.post("/stt/transcribe", files={"audio_file": ("a.wav", silence(0.5))}),
            httpx.get(kept["audio_url"], trust_env=False, timeout=60),
        ]
        ready = httpx.get(f"{platform.url}/health/ready", trust_env=False, timeout=60)
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable"), answer.text
        assert int(answer.headers["Retry-After"]) > 0
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    assert ready.json()["checks"]["database"] == "ok"

    failed = client.get("/tts/jobs?status=failed").json()["results"]
    assert [(job["text"], job["error"]["code"], job["audio_url"]) for job in failed] == [
        ("During.", "storage_unavailable", None)
    ]
    after = client.get("/analytics/usage").json()
    assert after["total_tts_characters"] - before["total_tts_characters"] == len("Before.")
    assert after["total_stt_seconds"] == before["total_stt_seconds"]


def test_end_of_an_organization_leaves_no_object(store: Store, platform: Platform) -> None:
    """Also none that no row names, as a killed worker leaves one."""
    code = (
        "import io; from accounts.models import Organization; from common import storage;"
        "from retention import services;"
        "o = Organization.objects.create(name='Gone', slug='gone'); key = storage.new_key(o.id, 'tts', '.wav');"
        "storage.save(key, io.BytesIO(b'stray')); services.delete_organization(organization=o)"
    )
    before = store.keys()
    env = environment(platform.data_dir, **store.settings)
    done = manage("shell", "-v", "0", "-c", code, env=env)
    assert done.returncode == 0, done.stderr
    assert store.keys() == before
