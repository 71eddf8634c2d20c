"""What users see when something breaks, where `tests/faults` and `tests/deploy` do not tell it: `make run`'s processes.

    python benchmarks/faults.py                       about a minute
    python benchmarks/faults.py --only engines,server,model

engines   each process of the engines is killed in turn, while clients synthesise and transcribe
server    the server is killed with work under way, and started again on the same data
model     a model's file is cut in half: before its first use, and while it serves; then it is made whole

Prints the answers that clients got, by status and code. Lost workers, cut networks, full disks, restarts of PostgreSQL
and of stores: `pytest tests/faults`; Redis and nginx: `pytest tests/deploy`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "platform")]  # not this folder: its whisper.py is no library

import httpx  # noqa: E402
import psutil  # noqa: E402

from benchmarks.processes import engines_of  # noqa: E402
from tests.platform_process import Platform, environment, manage, running  # noqa: E402

CLIP = ROOT / "tests" / "audio" / "weather.flac"
TEXT = "The committee will meet on Thursday to discuss the new budget and the plans for the coming year. "
KILLS, KILL_SECONDS, WARM_SECONDS, AFTER_SECONDS = 8, 1.0, 3.0, 5.0


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


class Clients:
    """Two who synthesise and two who transcribe, until told to stop."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._stop = platform, threading.Event()
        self.answers: Counter[str] = Counter()
        self.last_failure = 0.0  # monotonic
        with httpx.Client(timeout=60, trust_env=False) as client:
            platform.log_in(client)
            self.headers = {"Authorization": client.headers["Authorization"]}
        actions = (self._synthesise, self._transcribe) * 2
        self._threads = [threading.Thread(target=self._repeat, args=(action,)) for action in actions]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def _repeat(self, action: Callable[[httpx.Client], httpx.Response]) -> None:
        with httpx.Client(timeout=120, trust_env=False, headers=self.headers) as client:
            while not self._stop.wait(0.1):
                try:
                    told = brief(action(client))
                except httpx.TransportError as error:
                    told = type(error).__name__
                self.answers[f"{action.__name__.strip('_')} {told}"] += 1
                if not told.startswith("200"):
                    self.last_failure = time.monotonic()

    def _synthesise(self, client: httpx.Client) -> httpx.Response:
        return client.post(f"{self._platform.url}/api/v1/tts/synthesize", json={"text": TEXT * 10})

    def _transcribe(self, client: httpx.Client) -> httpx.Response:
        return transcribe(client, self._platform)


def transcribe(client: httpx.Client, platform: Platform, **fields: str) -> httpx.Response:
    files = {"audio_file": (CLIP.name, CLIP.read_bytes())}
    return client.post(f"{platform.url}/api/v1/stt/transcribe", files=files, data=fields)


def brief(answer: httpx.Response) -> str:
    return "200" if answer.status_code == 200 else f"{answer.status_code} {answer.json()['error']['code']}"


def engines() -> None:
    with folder() as scratch, running(scratch / "data") as platform, Clients(platform) as clients:
        time.sleep(WARM_SECONDS)
        killed = 0
        for number in range(KILLS):
            found = sorted(engines_of(platform.process.pid), key=psutil.Process.create_time)
            if found:
                found[number % len(found)].kill()
                killed += 1
            time.sleep(KILL_SECONDS)
        last = time.monotonic()
        time.sleep(AFTER_SECONDS)
        clients.__exit__()
        print(f"{killed} processes of engines killed: {dict(clients.answers)}")
        print(f"the last failure {max(0.0, clients.last_failure - last):.1f} s after the last kill")


def server() -> None:
    with folder() as scratch, running(scratch / "data") as first, Clients(first) as clients:
        time.sleep(WARM_SECONDS)
        queue_url = f"{first.url}/api/v1/tts/synthesize"
        job = httpx.post(queue_url, json={"text": TEXT, "async": True}, headers=clients.headers, trust_env=False)
        port = int(first.url.rsplit(":", 1)[1])
        first.stop(signal.SIGKILL)
        began = time.monotonic()
        with running(scratch / "data", port=port) as second:
            ready = time.monotonic() - began
            time.sleep(AFTER_SECONDS)
            clients.__exit__()
            print(f"server killed, ready again after {ready:.1f} s: {dict(clients.answers)}")
            print(f"the last failure {clients.last_failure - began:.1f} s after the kill")
            print(f"a queued job: {_ended(second, job.json()['job_id'], clients.headers)}")


def _ended(platform: Platform, job_id: str, headers: dict[str, str]) -> str:
    for _ in range(120):
        job = httpx.get(f"{platform.url}/api/v1/tts/jobs/{job_id}", headers=headers, trust_env=False).json()
        if job["status"] in ("succeeded", "failed", "cancelled"):
            break
        time.sleep(0.5)
    return job["status"]


def model() -> None:
    from tests.models.support import build_whisper

    with (
        folder() as scratch,
        running(scratch / "data") as platform,
        httpx.Client(timeout=120, trust_env=False) as client,
    ):
        platform.log_in(client)
        done = manage("models", "import", str(build_whisper(scratch / "tiny")), env=environment(platform.data_dir))
        if done.returncode:
            sys.exit(done.stderr)
        (file,) = platform.data_dir.rglob("model.bin")
        whole, name = file.read_bytes(), "tiny-whisper-ct2"

        def reload() -> str:
            outcome = client.post(f"{platform.url}/api/v1/models/reload", json={"model": name}).json()
            return f"failed: {outcome['failed'][0]['error']}" if outcome["failed"] else "reloaded"

        def replace(content: bytes) -> None:
            file.unlink()
            file.write_bytes(content)

        replace(whole[: len(whole) // 2])
        for state in ("corrupt before its first use", "asked again"):
            answer = transcribe(client, platform, model=name)
            print(f"{state}: {brief(answer)}: {answer.json()['error']['message']}")
        print(f"another model meanwhile: {brief(transcribe(client, platform, model='pocketsphinx-en-us'))}")
        replace(whole)
        print(f"made whole, {reload()}: {brief(transcribe(client, platform, model=name))}")
        replace(whole[: len(whole) // 2])
        print(f"corrupt while it serves, {reload()}: {brief(transcribe(client, platform, model=name))}")


PARTS = {"engines": engines, "server": server, "model": model}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    for part in parser.parse_args().only.split(","):
        print(f"── {part}", flush=True)
        PARTS[part]()


if __name__ == "__main__":
    main()
