"""What does a trial cost those who are served meanwhile? A canary and a shadow under load.

    python benchmarks/rollouts.py                        400 requests a phase, 8 clients
    python benchmarks/rollouts.py --requests 100 --clients 4 --share 0.25

Two versions of one model (the tests' tiny Whisper, so that the server's work shows and not the model's), the second
on trial: no trial, a canary that answers `--share` of the requests, a shadow that hears as many. For each the answers,
requests a second, median and 95th percentile, and what the comparison counted; for the shadow also how long its queue
took to run dry. Ends with 1 where a request failed.

Starts `manage.py serve` with a data folder of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "platform")]  # not this folder: its whisper.py is no library

import httpx  # noqa: E402

from tests.models.support import build_whisper  # noqa: E402
from tests.platform_process import Platform, environment, manage, running  # noqa: E402

CLIP = ROOT / "tests" / "audio" / "weather.flac"
LIMITS = {"RATE_LIMIT_ACTOR_PER_MINUTE": "1000000", "RATE_LIMIT_ORGANIZATION_PER_MINUTE": "1000000"}
SETTLE_SECONDS = 3.0
"""In which every process learns of a trial and has loaded its candidate."""
LONGEST_WAIT_SECONDS = 120.0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=400, help="a phase")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--share", type=float, default=0.5)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        with running(data, **LIMITS) as platform:
            name = _install_two_versions(Path(scratch), environment(data))
            sys.exit(measure(platform, name, arguments))


def _install_two_versions(scratch: Path, env: dict[str, str]) -> str:
    first = build_whisper(scratch / "first")
    second = scratch / "second"
    shutil.copytree(first, second)
    manifest = json.loads((second / "model.json").read_text())
    (second / "model.json").write_text(json.dumps(manifest | {"version": "candidate"}))
    for folder, flags in ((first, []), (second, ["--no-activate"])):
        done = manage("models", "import", str(folder), *flags, env=env, timeout_seconds=300)
        if done.returncode:
            sys.exit(done.stderr)
    return str(manifest["name"])


def measure(platform: Platform, name: str, arguments: argparse.Namespace) -> int:
    failed = 0
    with httpx.Client(base_url=f"{platform.url}/api/v1", timeout=120, trust_env=False) as admin:
        platform.log_in(admin)
        failed += _phase("no trial", admin, name, arguments)
        for mode in ("canary", "shadow"):
            rollout = _begin(admin, name, mode, arguments.share)
            failed += _phase(mode, admin, name, arguments)
            started = time.perf_counter()
            heard = _comparison_at_rest(admin, rollout)
            after = time.perf_counter() - started
            active, candidate = heard["active"], heard["candidate"]
            print(f"          counted {active['requests']} and {candidate['requests']} of the candidate's, "
                  f"{candidate['failures']} failures, candidate's median x {heard['slowdown'] or 0:.2f}, "
                  f"texts differ in {100 * (heard['wer_against_active'] or 0):.1f} % of the words, "
                  f"complete {after:.1f} s after the last answer")  # fmt: skip
            admin.post(f"/models/rollouts/{rollout}/rollback", json={}).raise_for_status()
    return 1 if failed else 0


def _begin(admin: httpx.Client, name: str, mode: str, share: float) -> str:
    body = {
        "model": f"{name}@candidate", "mode": mode, "share": share, "scope": "organization", "max_slowdown": 1000.0,
        "force": True, "reason": "a measurement",
    }  # fmt: skip
    answer = admin.post("/models/rollouts", json=body)
    if answer.status_code >= 400:
        sys.exit(answer.text)
    time.sleep(SETTLE_SECONDS)
    return str(answer.json()["id"])


def _phase(label: str, admin: httpx.Client, name: str, arguments: argparse.Namespace) -> int:
    """Sends the requests of one phase; the number that failed."""
    sound = CLIP.read_bytes()

    def transcribe(_: int) -> tuple[int, float]:
        started = time.perf_counter()
        files = {"audio_file": (CLIP.name, sound)}
        status = admin.post("/stt/transcribe", files=files, data={"model": name}).status_code
        return status, time.perf_counter() - started

    with ThreadPoolExecutor(arguments.clients) as threads:
        list(threads.map(transcribe, range(2 * arguments.clients)))
        started = time.perf_counter()
        done = list(threads.map(transcribe, range(arguments.requests)))
        elapsed = time.perf_counter() - started
    ordered = sorted(1000 * seconds for _, seconds in done)
    median, p95 = ordered[len(ordered) // 2], ordered[int(0.95 * len(ordered))]
    answers = Counter(status for status, _ in done)
    rate = len(done) / elapsed
    print(f"{label:9} answers {dict(answers)}, {rate:.1f} a second, median {median:.0f} ms, p95 {p95:.0f} ms")
    return len(done) - answers[200]


def _comparison_at_rest(admin: httpx.Client, rollout: str) -> dict[str, Any]:
    """Once it counts no more: a shadow hears later what was answered."""
    ask: Callable[[], dict[str, Any]] = lambda: admin.get(f"/models/rollouts/{rollout}").json()["comparison"]  # noqa: E731
    before, deadline = ask(), time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(1.0)
        now = ask()
        if now["candidate"]["requests"] == before["candidate"]["requests"]:
            return now
        before = now
    return before


if __name__ == "__main__":
    main()
