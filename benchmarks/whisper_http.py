"""Whisper through the HTTP API at 16 clients, beside faster-whisper called in a loop, in one run.

    python benchmarks/whisper_http.py [--size base] [--clients 16] [--clip FILE] [--device cpu|cuda]

On the CPU: random int8 weights in the shape of the size asked for; each clip of about five seconds writes about 40
tokens on both sides. Padded: windows of 30 seconds, as released weights need. Fitted: windows rounded up to 5 seconds.
Needs requirements-torch.txt and an idle machine; the figures of one run belong together.

On a GPU: a checkpoint for torch in float16, beside openai-whisper's own `transcribe` in a loop on the same GPU.
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

from benchmarks import platform_overhead, whisper, whisper_gpu  # noqa: E402
from ml import artifacts  # noqa: E402
from ml.audio.decode import decode  # noqa: E402
from tests.ml import tiny_whisper  # noqa: E402

TOKENS_PER_SECOND = 5.0
GPU_TOKENS = 25
QUIET = {
    "log_prob_threshold": -100,
    "compression_ratio_threshold": 100,
    "no_speech_threshold": 1.0,
    "second_search": False,
}
"""Random weights fail every check, and never end: each clip would be searched twice on our side alone."""


def install(data_dir: str, size: str, *, name: str, fitted: bool, device: str) -> None:
    """Builds the model's folder and lets `manage.py models` import it."""
    with tempfile.TemporaryDirectory() as temporary:
        settings = {**QUIET, "fitted_windows": fitted, "word_times": False, "device": device}
        if device == "cpu":
            folder = whisper.build(Path(temporary) / name, size, "int8")
            settings["tokens_per_second"] = TOKENS_PER_SECOND
        else:
            folder = tiny_whisper.save_openai(whisper_gpu.random_weights(size, GPU_TOKENS), Path(temporary) / name)
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


def through_http(
    server: platform_overhead.Server, key: str, clip: Path, model: str, clients: int, rounds: int = 2
) -> float:
    """Seconds a clip, over some rounds of one clip a client."""
    body, headers = platform_overhead.multipart(clip, model=model)
    headers["x-api-key"] = key
    failures: list[bytes] = []

    def request() -> None:
        for _ in range(rounds):
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
    return (time.perf_counter() - started) / (rounds * clients)


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


def in_a_loop_on_a_gpu(size: str, clip: Path, device: str) -> float:
    """Seconds a clip of openai-whisper alone."""
    with decode(clip) as audio:
        samples = audio.samples.astype("float32") / 32768
    arguments = argparse.Namespace(device=device, seconds=8.0)
    model = whisper_gpu.random_weights(size, GPU_TOKENS).to(device)
    return 1 / whisper_gpu.whisper_loop(model, [samples], arguments, word_times=False)["clips_a_second"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=whisper.SIZES, default="base")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--clip", type=Path, default=ROOT / "tests" / "audio" / "weather.flac")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    on_gpu = arguments.device != "cpu"
    if on_gpu:
        loop = in_a_loop_on_a_gpu(arguments.size, arguments.clip, arguments.device)
    else:
        loop = in_a_loop(arguments.size, arguments.clip)
    print(f"{'openai' if on_gpu else 'faster'}-whisper in a loop       {loop:.3f} s a clip", flush=True)
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = platform_overhead.Server(data_dir)
        try:
            key = server.key()
            for fitted in (False,) if on_gpu else (False, True):
                name = "fitted" if fitted else "padded"
                install(data_dir, arguments.size, name=name, fitted=fitted, device=arguments.device)
                for clients in (1, arguments.clients) if on_gpu else (arguments.clients,):
                    cost = through_http(server, key, arguments.clip, name, clients, 20 if on_gpu else 2)
                    share = f"{cost:.3f} s a clip = {loop / cost:.2f} x the loop"
                    print(f"{name}, {clients} clients over HTTP   {share}", flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
