"""The command `speech`: results on stdout, everything else on stderr, exit codes, pipes, terminals."""

from __future__ import annotations

import functools
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from speech_client.cli import main
from speech_client.cli.output import Bar

from stt.models import SttJob
from tests.api.support import decode, wav
from tests.clients.support import numbers, short_recording
from tests.conftest import ROOT, Tenant
from tests.ml.stt_support import wait_for

Run = Callable[..., "Outcome"]


class Outcome:
    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.content, self.out, self.err = code, out, out.decode(errors="replace"), err.decode()

    @property
    def json(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def environment(server: str, api_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEECH_URL", server)
    monkeypatch.setenv("SPEECH_API_KEY", api_key)
    monkeypatch.setenv("SPEECH_CONFIG", str(tmp_path / "config.toml"))


@pytest.fixture
def run(environment: None, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs a command in a pipe: in this process, unless it is to read `stdin`."""

    def run(*arguments: object, stdin: bytes | None = None) -> Outcome:
        if stdin is not None:
            with process(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
                out, err = command.communicate(stdin, timeout=60)
            return Outcome(command.returncode, out, err)
        capfdbinary.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as wrong:  # argparse's
            code = int(wrong.code or 0)
        return Outcome(code, *capfdbinary.readouterr())

    return run


def process(*arguments: object, **options: object) -> subprocess.Popen:
    """A command as people start it: also where these tests run in the background, which ignores Ctrl-C."""
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    command = [sys.executable, "-m", "speech_client", *map(str, arguments)]
    return subprocess.Popen(command, env=env, preexec_fn=heed, **options)  # type: ignore[call-overload]  # noqa: PLW1509


def test_says(run: Run, tmp_path: Path) -> None:
    said = run("say", "Good", "morning.", "-o", tmp_path / "morning.ogg", "-v", "espeak:en-gb", "--json")
    assert (said.code, said.err) == (0, "")
    assert decode((tmp_path / "morning.ogg").read_bytes()).codec == "opus"
    assert said.json[0]["format"] == "opus"
    piped = run("say", stdin=b"What comes on stdin.")
    assert decode(piped.content).codec == "mp3float"
    assert decode(run("say", "-", "-o", "-", "-f", "flac", stdin="Grüße.".encode()).content).codec == "flac"


def at_a_terminal(*arguments: object) -> Outcome:
    """A command whose output a terminal shows."""
    ours, theirs = pty.openpty()
    try:
        with process(*arguments, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE) as command:
            _, told = command.communicate(timeout=60)
        return Outcome(command.returncode, b"", told)
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.usefixtures("environment")
def test_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = tmp_path / "heard.wav"
    monkeypatch.setenv("SPEECH_PLAYER", f"sh -c 'cat > {heard}'")
    assert at_a_terminal("say", "Play this.").code == 0
    assert decode(heard.read_bytes()).seconds > 0.3
    monkeypatch.setenv("SPEECH_PLAYER", "sh -c 'cat > /dev/null; exit 3'")
    broken = at_a_terminal("say", "Play this.")
    assert (broken.code, broken.err) == (1, "speech: sh has failed (3)\n")
    monkeypatch.delenv("SPEECH_PLAYER")
    monkeypatch.setenv("PATH", str(tmp_path))
    mute = at_a_terminal("say", "Play this.")
    assert mute.code == 2
    assert "there is no player here" in mute.err


def test_leaves_no_half_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept.mp3").write_bytes(b"what was there")
    refused = run("say", "x", "-v", "robot", "-o", tmp_path / "kept.mp3")
    assert (refused.code, refused.out) == (2, "")
    assert "There is no voice 'robot'." in refused.err
    assert "voice_not_found, request " in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mp3"]
    assert (tmp_path / "kept.mp3").read_bytes() == b"what was there"


def test_transcribes(run: Run, tmp_path: Path, organization: Tenant) -> None:
    (tmp_path / "a.wav").write_bytes(short_recording())
    heard = run("transcribe", tmp_path / "a.wav", "--language", "en")
    text = SttJob.objects.filter(organization=organization.organization).latest("created_at").transcription.text
    assert (heard.code, heard.out, heard.err) == (0, f"{text}\n", "")
    (tmp_path / "no.wav").write_bytes(b"no audio")
    several = run(
        "transcribe", tmp_path / "a.wav", tmp_path / "no.wav", tmp_path / "gone.wav", "-d", tmp_path, "-f", "srt"
    )
    assert several.code == 2
    assert " --> " in (tmp_path / "a.wav.srt").read_text()
    lines = several.err.splitlines()
    assert len(lines) == 2
    assert {line.split(": ")[1] for line in lines} == {str(tmp_path / "no.wav"), str(tmp_path / "gone.wav")}
    assert SttJob.objects.filter(organization=organization.organization, status="failed").count() == 1


def test_jobs_from_beginning_to_end(run: Run) -> None:
    begun = run("transcribe", "-", "--async", stdin=short_recording())
    job_id = begun.out.strip()
    waited = run("jobs", "wait", job_id, "--json")
    assert (waited.code, waited.err) == (0, "")
    assert (waited.json[0]["status"], waited.json[0]["task"]) == ("succeeded", "stt")
    assert run("jobs", "show", job_id, "--format", "vtt").out.startswith("WEBVTT")
    assert f"job_id\t{job_id}" in run("jobs", "show", job_id).out
    assert run("jobs", "list", "--task", "stt", "-n", "1").out.startswith(f"{job_id}\tstt\tsucceeded\t")
    assert run("jobs", "list", "--json").json[0]["job_id"] == job_id
    assert run("jobs", "cancel", job_id).code == 0
    gone = run("jobs", "show", job_id)
    assert (gone.code, gone.out) == (2, "")
    assert "not_found" in gone.err


def test_streams(run: Run, tmp_path: Path) -> None:
    sound = numbers(1.2)
    events = run("stream", "--json", "--language", "en-US", stdin=sound.tobytes())
    kinds = [event["type"] for event in events.json]
    assert (events.code, kinds[0], kinds[-1]) == (0, "speech_started", "closed")
    finals = [event["text"] for event in events.json if event["type"] == "final"]
    (tmp_path / "sound.wav").write_bytes(wav(sound / 32768))
    assert run("stream", tmp_path / "sound.wav", "--fast").out.splitlines() == finals
    wrong = run("stream", ROOT / "README.md")
    assert wrong.code == 2
    assert "speech transcribe" in wrong.err


def test_lists_what_there_is(run: Run, organization: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "espeak:en-gb\ten-GB\t" in run("voices", "-l", "en").out
    assert "stt\tpocketsphinx-en-us\t" in run("models").out
    refused = run("usage")
    assert refused.code == 3
    assert "access token" in refused.err
    monkeypatch.setenv("SPEECH_API_KEY", organization.user("viewer").headers["Authorization"].removeprefix("Bearer "))
    assert run("usage").out.splitlines()[-1].startswith("total\t")
    assert "pocketsphinx" in run("models").out


def test_exit_codes(run: Run, server: str, api_key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run().code == run("sing").code == run("say", "x", "-o", "x.doc").code == 2
    assert run("voices", "--url", "http://127.0.0.1:9").code == 5
    monkeypatch.setenv("SPEECH_API_KEY", "sp_nonsense")
    assert run("voices").code == 3
    monkeypatch.delenv("SPEECH_API_KEY")
    monkeypatch.delenv("SPEECH_URL")
    (tmp_path / "config.toml").write_text(f'url = "{server}"\napi_key = "{api_key}"\n')
    assert run("voices").code == 0
    (tmp_path / "config.toml").write_text("kee = 1")
    assert run("voices").code == 2


@pytest.mark.usefixtures("environment")
def test_whoever_reads_may_leave() -> None:
    saying = process(
        "say", "One sentence after the other. " * 400, "-f", "wav", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert saying.stdout.read(4) == b"RIFF"
    saying.stdout.close()
    assert saying.stderr.read() == b""
    assert saying.wait(timeout=60) == 141


@pytest.mark.usefixtures("environment")
def test_shows_progress_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "short.wav").write_bytes(short_recording())
    ours, theirs = pty.openpty()
    with process("transcribe", tmp_path / "short.wav", stdout=subprocess.PIPE, stderr=theirs) as transcribing:
        os.close(theirs)
        text = transcribing.stdout.read().decode()
        shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert transcribing.returncode == 0
    assert text.strip()
    assert "short.wav " in shown
    assert "·" * Bar.WIDTH in shown
    assert shown.endswith("\r\033[K")


@pytest.mark.usefixtures("environment")
def test_whoever_interrupts_cancels(tmp_path: Path, organization: Tenant) -> None:
    names = ["long-a.wav", "long-b.wav"]
    for name in names:
        (tmp_path / name).write_bytes(wav(np.tile(numbers(), 40) / 32768))
    transcribing = process("transcribe", *(tmp_path / name for name in names), stderr=subprocess.PIPE)
    jobs = SttJob.objects.filter(organization=organization.organization, audio__filename__in=names)
    wait_for(lambda: jobs.count() == 2 and jobs.filter(status="processing").exists(), 60)
    time.sleep(0.5)  # until it waits for the first
    transcribing.send_signal(signal.SIGINT)
    assert (transcribing.communicate(timeout=60)[1], transcribing.returncode) == (b"", 130)
    wait_for(lambda: jobs.filter(status="cancelled").count() == 2, 60)
