"""Whisper through the HTTP API at 16 clients, beside faster-whisper called in a loop, in one run.

    python benchmarks/whisper_http.py [--size base] [--clients 16] [--clip FILE]

Random int8 weights in the shape of the size asked for; each clip of about five seconds writes about 40 tokens on both
sides. Padded: windows of 30 seconds, as released weights need. Fitted: windows rounded up to 5 seconds. Needs
requirements-torch.txt and an idle machine; the figures of one run belong together.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks import platform_overhead, whisper  # noqa: E402
from ml import artifacts  # noqa: E402
from ml.audio.decode import decode  # noqa: E402

TOKENS_PER_SECOND = 5.0
QUIET = {
    "log_prob_threshold": -100,
    "compression_ratio_threshold": 100,
    "no_speech_threshold": 1.0,
    "second_search": False,
}
"""Random weights fail every check, and never end: each clip would be searched twice on our side alone."""


def install(data_dir: str, size: str, *, name: str, fitted: bool) -> None:
    """Builds the model's folder and lets `manage.py models` import it."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = whisper.build(Path(temporary) / name, size, "int8")
        settings = {**QUIET, "tokens_per_second": TOKENS_PER_SECOND, "fitted_windows": fitted, "word_times": False}
        manifest = replace(folder.manifest, name=name, settings=settings, languages=("en",))
        artifacts.write(folder.path, manifest)
        for command in (["import", str(folder.path)], ["activate", name]):
            subprocess.run(
                [sys.executable, "manage.py", "models", *command],
                cwd=ROOT,
                env={**os.environ, "DATA_DIR": data_dir, "ENV_FILE": os.devnull},
                check=True,
                stdout=subprocess.DEVNULL,
            )


def through_http(server: platform_overhead.Server, key: str, clip: Path, model: str, clients: int) -> float:
    """Seconds a clip, over two rounds of one clip a client."""
    body, headers = platform_overhead.multipart(clip, model=model)
    headers["x-api-key"] = key
    failures: list[bytes] = []

    def request() -> None:
        for _ in range(2):
            status, answer = server.call("POST", "/api/v1/stt/transcribe", body, headers)
            if status != 200:
                failures.append(answer)

    request()  # loads the model
    threads = [threading.Thread(target=request) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} requests failed: {failures[0][:300]!r}")
    return (time.perf_counter() - started) / (2 * clients)


def in_a_loop(size: str, clip: Path) -> float:
    """Seconds a clip of faster-whisper alone."""
    import numpy as np

    with decode(clip) as audio:
        samples = audio.samples.astype(np.float32) / 32768
    with tempfile.TemporaryDirectory() as temporary:
        folder = whisper.build(Path(temporary) / "loop", size, "int8")
        tokens = 16 + round(TOKENS_PER_SECOND * len(samples) / 16_000)  # the engine's limit too
        arguments = argparse.Namespace(device="cpu", threads=0, tokens=tokens)
        run = whisper.faster_whisper_loop(folder, arguments, 1)
        run([samples])
        taken = []
        for _ in range(8):
            started = time.perf_counter()
            run([samples])
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=whisper.SIZES, default="base")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--clip", type=Path, default=ROOT / "tests" / "audio" / "weather.flac")
    arguments = parser.parse_args()
    loop = in_a_loop(arguments.size, arguments.clip)
    print(f"faster-whisper in a loop       {loop:.3f} s a clip", flush=True)
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = platform_overhead.Server(data_dir)
        try:
            key = server.key()
            for fitted in (False, True):
                name = "fitted" if fitted else "padded"
                install(data_dir, arguments.size, name=name, fitted=fitted)
                cost = through_http(server, key, arguments.clip, name, arguments.clients)
                share = f"{cost:.3f} s a clip = {loop / cost:.2f} x the loop"
                print(f"{name}, {arguments.clients} clients over HTTP   {share}", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
