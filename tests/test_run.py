"""`make run` on a fresh machine: `manage.py serve` with a data folder of its own, killed, restarted and stopped."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection

from tests.api.support import decode, owned_clips
from tests.live.support import connect, receive, rest
from tests.ml.stt_support import pcm_of
from tests.platform_process import Platform, environment, free_port, manage, running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as made:
        yield made


def test_life_of_a_server(tmp_path: Path, client: httpx.Client) -> None:
    data_dir = tmp_path / "data"

    # A first start makes everything, and says how to get in.
    with running(data_dir, first=True) as first:
        greeting = first.output.read_text()
        assert f":{first.url.rsplit(':', 1)[1]}/api/v1/docs" in greeting
        assert "owner@acme.dev / ChangeMe123!" in greeting
        assert "default password" in greeting
        login = first.log_in(client)
        assert (login.status_code, login.json()["organization"]["name"]) == (200, "Acme Corp")
        models = client.get(f"{first.url}/api/v1/models/status").json()
        assert (len(models["models"]), models["healthy"]) == (2, True)
        job = client.post(f"{first.url}/api/v1/tts/synthesize", json={"text": "Remember me."}).json()
        assert job["status"] == "succeeded", job
        # As hard as it gets: no clean-up of any kind.
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL

    # It starts again cleanly, in seconds, with everything there.
    started = time.monotonic()
    with running(data_dir) as second:
        assert time.monotonic() - started < 30  # on a busy machine; 5 on an idle one
        kept = client.get(f"{second.url}/api/v1/tts/jobs/{job['job_id']}")  # the old token is still good
        assert kept.status_code == 200, kept.text
        assert kept.json()["text"] == "Remember me."
        assert decode(client.get(kept.json()["audio_url"]).content).seconds > 0.3
        assert client.get(f"{second.url}/api/v1/tts/jobs").json()["count"] == 1

        # Another checkout runs beside it and shares nothing.
        with running(tmp_path / "other", first=True) as other, httpx.Client(timeout=60, trust_env=False) as stranger:
            assert other.log_in(stranger).status_code == 200
            listener = _speaking(other, stranger)
            assert stranger.get(f"{other.url}/api/v1/tts/jobs").json()["count"] == 0
            stranger.headers["Authorization"] = client.headers["Authorization"]
            assert stranger.get(f"{other.url}/api/v1/auth/me").status_code == 401
            assert other.database_processes()
            assert other.stop(signal.SIGTERM) == 0
            _assert_told_to_the_end(listener)
            _assert_stopped(other)
        assert client.get(f"{second.url}/health/ready").status_code == 200

        # Ctrl-C stops everything.
        assert second.database_processes()
        second.stop(signal.SIGINT)
        _assert_stopped(second)
    output = second.output.read_text()
    assert "Traceback" not in output, output


def _speaking(platform: Platform, client: httpx.Client) -> ClientConnection:
    """A live session in the middle of a sentence."""
    url, headers = f"{platform.url}/api/v1/stt/stream", {"Authorization": client.headers["Authorization"]}
    socket = connect(url, headers, legacy=True)
    socket.send(json.dumps({"type": "start"}))
    assert receive(socket)["type"] == "ready"
    pcm = pcm_of(owned_clips()["president.mp3"])
    socket.send(pcm[: len(pcm) // 2].tobytes())
    assert receive(socket)["type"] == "speech_started"
    return socket


def _assert_told_to_the_end(socket: ClientConnection) -> None:
    """What was said until the server stopped."""
    messages, code = rest(socket)
    final, usage, closed = [message for message in messages if message["type"] != "partial"]
    assert (final["type"], usage["type"], closed, code) == (
        "final",
        "usage",
        {"type": "closed", "reason": "draining"},
        1012,
    )
    assert final["text"]
    assert usage["audio_seconds"] > 1


def _assert_stopped(platform: object) -> None:
    deadline = time.monotonic() + 15
    while (left := platform.database_processes()) and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.1)
    assert not left


def test_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = manage("serve", env=environment(tmp_path / "data", PORT=str(port)))
    assert result.returncode != 0
    (sentence,) = result.stderr.strip().splitlines()
    assert str(port) in sentence
    assert "Address already in use" in sentence
    assert not (tmp_path / "data" / "postgres").exists()


def test_seed_is_idempotent_and_warns_about_the_password(tmp_path: Path) -> None:
    env = environment(tmp_path / "data")
    assert manage("migrate", env=env).returncode == 0
    results = [manage("seed", env=env) for _ in range(2)]
    for result in results:
        assert result.returncode == 0, result.stderr
        assert "default password" in result.stderr
    script = (
        "from accounts.models import *; from models_registry.models import *;"
        "print(Organization.objects.count(), User.objects.count(), Membership.objects.get().role,"
        " ModelVersion.objects.count(), User.objects.get().password)"
    )
    counted = manage("shell", "-v", "0", "-c", script, env=env)
    *counts, password = counted.stdout.split()
    assert counts == ["1", "1", "owner", "2"], counted
    assert password.startswith("argon2$argon2id$v=19$m=102400,t=2,p=8$")  # costly to guess, unlike those of the tests
    changed = "from accounts.models import *; u = User.objects.get(); u.set_password('another one'); u.save()"
    assert manage("shell", "-v", "0", "-c", changed, env=env).returncode == 0
    again = manage("seed", env=env)
    assert "default password" not in again.stderr


def test_seed_can_be_chosen(tmp_path: Path) -> None:
    own = {"SEED_ORGANIZATION": "My Company", "SEED_EMAIL": "me@my.example", "SEED_PASSWORD": "quite another one"}
    with running(tmp_path / "data", first=True, **own) as platform, httpx.Client(timeout=60, trust_env=False) as client:
        body = {"email": "me@my.example", "password": "quite another one"}
        answer = client.post(f"{platform.url}/api/v1/auth/login", json=body)
        assert answer.json()["organization"]["slug"] == "my-company"
        assert "default password" not in platform.output.read_text()
        assert "quite another one" not in platform.output.read_text()


PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_",  # pragma: allowlist secret
    "ALLOWED_HOSTS": "speech.example.com",
    "DATABASE_URL": "postgresql://speech:secret@db.example.com:5432/speech",  # pragma: allowlist secret
}


def test_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    result = manage("check", "--deploy", "--fail-level", "INFO", env=environment(tmp_path / "data", **PRODUCTION))
    assert result.returncode == 0, result.stderr
    assert "no issues" in result.stdout


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({**PRODUCTION, "SECRET_KEY": ""}, "SECRET_KEY"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT"),
        ({"RATE_LIMIT_ACTOR_PER_MINUTE": "many"}, "RATE_LIMIT_ACTOR_PER_MINUTE"),
        ({"STT_MAX_UPLOAD_MB": "0"}, "STT_MAX_UPLOAD_MB"),
        ({"HTTPS": "perhaps"}, "HTTPS"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"PORT": "eighty"}, "PORT"),
    ],
)
def test_wrong_setting_is_one_clear_sentence(tmp_path: Path, variables: dict[str, str], names: str) -> None:
    env = environment(tmp_path / "data", **{"PORT": str(free_port()), **variables})
    result = manage("serve", env=env)
    assert result.returncode != 0
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert names in result.stderr
