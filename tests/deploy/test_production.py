"""nginx before two servers and two workers, on one PostgreSQL, Redis and S3 store, with the settings of production.

Tests run in their order: the last ones end servers.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
import redis
from websockets.sync.client import connect

from tests.api.support import decode
from tests.conftest import error_of
from tests.deploy.production import BUCKET, HOST, PASSWORD, Production, production
from tests.faults.deployment import public_folder, wait_until
from tests.platform_process import environment, manage

MISSING = [program for program in ("nginx", "redis-server") if shutil.which(program) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def platform() -> Iterator[Production]:
    with public_folder() as folder, production(folder) as made:
        yield made


@pytest.fixture(scope="module")
def client(platform: Production) -> Iterator[httpx.Client]:
    """Somebody far away, logged in as the first owner."""
    with platform.client() as made:
        body = {"email": "owner@acme.dev", "password": PASSWORD}
        answer = made.post("/api/v1/auth/login", json=body)
        assert answer.status_code == 200, answer.text
        made.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield made


@pytest.fixture(scope="module")
def slow_client(platform: Production) -> Iterator[tuple[socket.socket, float]]:
    """Sends half a header, and then nothing; since when."""
    plain = socket.create_connection(("localhost", platform.port))
    with platform.certificates.wrap_socket(plain, server_hostname="localhost") as connection:
        connection.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: loc")
        yield connection, time.monotonic()


@pytest.mark.usefixtures("slow_client")
def test_speech_and_its_signed_link(platform: Production, client: httpx.Client) -> None:
    job = client.post("/api/v1/tts/synthesize", json={"text": "Good morning."}, headers={"X-Request-ID": "mine-1"})
    assert (job.status_code, job.headers["X-Request-ID"]) == (200, "mine-1"), job.text
    link = job.json()["audio_url"]
    assert link.startswith(f"{platform.url}/api/v1/media/"), "https, and the port that the client knows"
    with platform.client() as stranger:
        whole = stranger.get(link)
        part = stranger.get(link, headers={"Range": "bytes=10-19"})
    assert decode(whole.content).seconds == pytest.approx(job.json()["duration_seconds"], abs=0.01)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert platform.store.client.list_objects_v2(Bucket=BUCKET)["KeyCount"] >= 1


def counters(platform: Production) -> int:
    """How many Redis holds."""
    with redis.Redis(port=platform.redis.port) as asking:
        return asking.dbsize()


def test_both_servers_answer_and_count_in_redis(platform: Production, client: httpx.Client) -> None:
    def is_one_counter() -> bool:
        remaining = [int(client.get("/api/v1/tts/jobs").headers["RateLimit-Remaining"]) for _ in range(8)]
        return remaining == list(range(remaining[0], remaining[0] - 8, -1))

    assert any(is_one_counter() for _ in range(3)), "once a minute it begins anew"
    assert counters(platform) > 0
    lines = [json.loads(line) for line in (platform.folder / "nginx" / "access.log").read_text().splitlines()]
    assert {line["upstream"] for line in lines if line["path"] == "/api/v1/tts/jobs"} == {
        f"127.0.0.1:{server.port}" for server in platform.servers
    }


def test_redis_may_go_away(platform: Production, client: httpx.Client) -> None:
    """Each server counts by itself meanwhile, and they count together again afterwards."""
    platform.redis.stop()
    answers = [client.get("/api/v1/tts/jobs") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert all(int(answer.headers["RateLimit-Remaining"]) > 0 for answer in answers)
    platform.redis.start()

    def counted() -> int:
        assert client.get("/api/v1/tts/jobs").status_code == 200
        return counters(platform)

    wait_until(counted, 60, "Redis counts again", every=0.2)


def test_addresses_come_through(platform: Production, client: httpx.Client) -> None:
    """Of the client, not of nginx; what a client says of itself does not count."""
    with platform.client() as stranger:
        wrong = {"email": "owner@acme.dev", "password": "wrong"}
        answer = stranger.post("/api/v1/auth/login", json=wrong, headers={"X-Forwarded-For": "203.0.113.9"})
    error_of(answer, 401)
    addresses = {row[0] for row in platform.postgres.rows("SELECT host(address) FROM audit_auditentry")}
    assert addresses <= {"127.0.0.1", "::1", None}
    assert addresses != {None}


def test_probes_need_no_host_name_and_the_world_sees_none(platform: Production) -> None:
    """A kubelet asks a pod by its address, over plain HTTP."""
    process = f"http://127.0.0.1:{platform.servers[0].port}"
    assert httpx.get(f"{process}/health", trust_env=False).json() == {"status": "ok"}
    assert httpx.get(f"{process}/health/ready", trust_env=False).json()["status"] == "ready"
    assert httpx.get(f"{process}/api/v1/version", trust_env=False).status_code in (301, 400)
    with platform.client() as outside:
        assert outside.get("/health").status_code == 200
        assert [outside.get(path).status_code for path in ("/health/ready", "/metrics")] == [404, 404]
        assert outside.get("/dashboard/login", headers={"Host": HOST}).status_code == 200
        assert outside.get("/dashboard/login", headers={"Host": "evil.example"}).status_code == 400


def test_a_socket_speaks(platform: Production, client: httpx.Client) -> None:
    url = f"{platform.url.replace('https', 'wss')}/api/v1/tts/stream"
    headers = {"Authorization": client.headers["Authorization"]}
    with connect(url, additional_headers=headers, ssl=platform.certificates, compression=None, proxy=None) as speaking:
        for message in ({"type": "start", "format": "wav"}, {"type": "speak", "text": "Hello."}, {"type": "stop"}):
            speaking.send(json.dumps(message))
        messages = list(speaking)
    sound = b"".join(message for message in messages if isinstance(message, bytes))
    assert decode(sound).seconds > 0.2
    assert json.loads(messages[-1])["type"] == "closed"


def large_recording(size: int) -> bytes:
    """A few seconds of nobody, as large as a long film's sound: four channels at 192 kHz."""
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(4)
        file.setsampwidth(4)
        file.setframerate(192_000)
        file.writeframes(bytes(size // 16 * 16))
    return made.getvalue()


def test_a_large_upload_and_its_events(platform: Production, client: httpx.Client) -> None:
    """More than nginx takes elsewhere; a worker transcribes it, and the client hears of it while the stream is open."""
    recording = large_recording(36 * 2**20)
    with client.stream("GET", "/api/v1/jobs/events?task=stt", timeout=60) as events:
        lines = events.iter_lines()
        assert next(lines).startswith(("id:", "event:", "retry:", ":"))
        form = {"files": {"audio_file": ("film.wav", recording)}, "data": {"async": "true"}}
        queued = client.post("/api/v1/stt/transcribe", **form)
        assert queued.status_code == 202, queued.text
        names = (line.removeprefix("event: ") for line in lines if line.startswith("event: "))
        ended = next(name for name in names if name in ("job.succeeded", "job.failed"))
    job = client.get(f"/api/v1/stt/jobs/{queued.json()['job_id']}").json()
    assert (ended, job["status"]) == ("job.succeeded", "succeeded"), job
    assert job["duration_seconds"] == pytest.approx(len(recording) / (192_000 * 16), rel=0.05)
    assert "buffered to a temporary file" not in platform.nginx_log(), "it went through, not onto nginx's disk"


def test_without_tls_nginx_is_right_too(platform: Production) -> None:
    """Behind something else that ends TLS."""
    folder = platform.folder / "nginx"
    plain = folder / "plain"
    shutil.copytree(folder, plain, ignore=lambda _, names: [name for name in names if not name.endswith(".conf")])
    shutil.copy(folder / "http.conf", plain / "site.conf")
    command = ["nginx", "-t", "-e", str(plain / "error.log"), "-c", str(plain / "nginx.conf")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_too_large_is_refused_at_the_door(platform: Production, client: httpx.Client) -> None:
    connection = http.client.HTTPSConnection("localhost", platform.port, context=platform.certificates, timeout=30)
    connection.putrequest("POST", "/api/v1/tts/synthesize")
    for name, value in {"Content-Type": "application/json", "Content-Length": str(17 * 2**20)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert (answer.status, body["error"]["code"]) == (413, "request_too_large")
    assert body["error"]["request_id"] == answer.headers["X-Request-ID"]


def test_a_backup_takes_what_the_store_holds(platform: Production) -> None:
    """While everything serves; that a backup can be restored: test_backup.py."""
    folder = platform.folder / "backups"
    done = manage("backup", str(folder), env=environment(platform.folder / "backup", **platform.variables))
    assert done.returncode == 0, done.stderr
    held = platform.store.client.list_objects_v2(Bucket=BUCKET)["Contents"]
    (manifest,) = folder.glob("*/manifest.json")
    saved = json.loads(manifest.read_text())["audio"]
    assert saved == {item["Key"]: item["Size"] for item in held if not item["Key"].startswith("health/")}
    assert all((folder / "audio" / key).stat().st_size == size for key, size in saved.items())


def test_workers_show_that_they_live(platform: Production) -> None:
    for number in range(len(platform.workers)):
        assert time.time() - (platform.folder / f"alive{number}").stat().st_mtime < 30


def test_a_slow_client_is_shown_out(slow_client: tuple[socket.socket, float]) -> None:
    """nginx waits for a header so long; a reset is an end too."""
    connection, since = slow_client
    connection.settimeout(60)
    received = b""
    with suppress(ConnectionError, ssl.SSLError):
        received = connection.recv(100)
    assert received == b""
    assert time.monotonic() - since < 60


def test_a_killed_server_is_not_noticed(platform: Production, client: httpx.Client) -> None:
    statuses: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with platform.client() as asking:
            asking.headers["Authorization"] = client.headers["Authorization"]
            while not stop.is_set():
                statuses.append(asking.get("/api/v1/auth/me").status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: len(statuses) > 3, 30, "requests are answered")
    platform.servers[0].stop(signal.SIGKILL)
    before = len(statuses)
    wait_until(lambda: len(statuses) > before + 10, 60, "requests are answered by the other")
    stop.set()
    asking.join(30)
    assert set(statuses) == {200}
    job = client.post("/api/v1/tts/synthesize", json={"text": "Still here."})
    assert job.status_code == 200, job.text


def test_without_servers_the_answer_is_clear(platform: Production, client: httpx.Client) -> None:
    assert platform.servers[1].stop() == 0
    answer = client.get("/api/v1/auth/me")
    error_of(answer, 503, "server_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert [worker.stop() for worker in platform.workers] == [0, 0]
    logs = list(platform.folder.glob("*.log"))
    assert len(logs) >= len(platform.servers) + len(platform.workers)
    for log in logs:
        assert "Traceback" not in log.read_text(), log.read_text()
