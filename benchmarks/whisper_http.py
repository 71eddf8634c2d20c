"""Whisper through the HTTP API at 16 clients, beside faster-whisper and openai-whisper in a loop, in one run.

    python benchmarks/whisper_http.py [--size base] [--clients 16] [--rounds 2] [--clip FILE] [--device cpu|cuda]

Prints, for each of them, requests a second, p50 and p95 of the clients' waits, and processor seconds for a second of
audio. The libraries are called as their READMEs do, by one thread that serves as many clients in the order in which
they ask. Random weights in the shape of the size asked for; each clip of about five seconds writes about 40 tokens on
every side. Needs requirements-torch.txt and an idle machine; the figures of one run belong together.

On the CPU: int8 for us and for faster-whisper, float32 for openai-whisper, which has no other. Padded: windows of
30 seconds, as released weights need. Fitted: windows rounded up to 5 seconds.
On a GPU: a checkpoint for torch in float16 on both sides, beside openai-whisper alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks import platform_overhead, processes, whisper, whisper_gpu  # noqa: E402
from ml import artifacts  # noqa: E402
from ml.audio.decode import SAMPLE_RATE, decode  # noqa: E402
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


@dataclass(frozen=True)
class Figures:
    """Of some rounds of one clip a client."""

    waits: list[float]  # seconds
    elapsed: float
    processors: float  # seconds

    @property
    def rate(self) -> float:
        return len(self.waits) / self.elapsed

    def row(self, name: str, clients: int, clip_seconds: float, loop: float) -> str:
        waits = " | ".join(f"{platform_overhead.percentile(self.waits, share):.2f}" for share in (0.5, 0.95))
        cost = self.processors / (len(self.waits) * clip_seconds)
        return f"| {name} | {clients} | {self.rate:.2f} | {waits} | {cost:.3f} | {self.rate / loop:.2f} |"


def measure(call: Callable[[], None], clients: int, rounds: int, used: Callable[[], float]) -> Figures:
    """used: processor seconds until now."""
    call()  # loads the model
    waits: list[float] = []

    def client() -> None:
        for _ in range(rounds):
            asked = time.perf_counter()
            call()
            waits.append(time.perf_counter() - asked)

    before, started = used(), time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(client) for _ in range(clients)]:
            done.result()
    return Figures(waits, time.perf_counter() - started, used() - before)


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


def through_http(server: platform_overhead.Server, key: str, clip: Path, model: str) -> Callable[[], None]:
    body, headers = platform_overhead.multipart(clip, model=model)
    headers["x-api-key"] = key

    def call() -> None:
        status, answer = server.call("POST", "/api/v1/stt/transcribe", body, headers)
        if status != 200:
            raise SystemExit(f"a request failed: {status} {answer[:300]!r}")

    return call


def tokens(clip_seconds: float) -> int:
    """That each clip writes: where our engine stops."""
    return 16 + round(TOKENS_PER_SECOND * clip_seconds)


def faster_whisper(size: str, samples) -> Callable[[], None]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = whisper.build(Path(temporary) / "loop", size, "int8")
        arguments = argparse.Namespace(device="cpu", threads=0, tokens=tokens(len(samples) / SAMPLE_RATE))
        run = whisper.faster_whisper_loop(folder, arguments, 1)
    return lambda: run([samples])


def openai_whisper(size: str, samples, device: str) -> Callable[[], None]:
    """With one temperature and no time stamps, as the others."""
    import whisper as library

    written = tokens(len(samples) / SAMPLE_RATE) if device == "cpu" else GPU_TOKENS
    model = whisper_gpu.random_weights(size, written).to(device)

    def call() -> None:
        library.transcribe(
            model, samples, language="en", temperature=0.0, without_timestamps=True, sample_len=written,
            condition_on_previous_text=False, compression_ratio_threshold=None, logprob_threshold=None,
            no_speech_threshold=None, fp16=device != "cpu",
        )  # fmt: skip

    return call


def in_a_loop(call: Callable[[], None], clients: int, rounds: int) -> Figures:
    """One thread serves the clients, first come, first served."""
    with ThreadPoolExecutor(1) as loop:
        return measure(lambda: loop.submit(call).result(), clients, rounds, time.process_time)


def libraries(arguments: argparse.Namespace, samples) -> dict[str, Callable[[], Callable[[], None]]]:
    made = {"openai-whisper in a loop": lambda: openai_whisper(arguments.size, samples, arguments.device)}
    if arguments.device == "cpu":
        made = {"faster-whisper in a loop": lambda: faster_whisper(arguments.size, samples), **made}
    return made


def platform(arguments: argparse.Namespace, clip_seconds: float, loop: float) -> None:
    """loop: requests a second of what the others are compared with."""
    on_gpu = arguments.device != "cpu"
    with tempfile.TemporaryDirectory() as data_dir:
        os.chmod(data_dir, 0o755)
        server = platform_overhead.Server(data_dir)

        def used() -> float:
            return sum(processes.of_platform(server.process.pid, data_dir).seconds.values())

        try:
            key = server.key()
            for name in ("padded",) if on_gpu else ("padded", "fitted"):
                install(data_dir, arguments.size, name=name, fitted=name == "fitted", device=arguments.device)
                call = through_http(server, key, arguments.clip, name)
                for clients in (1, arguments.clients):
                    figures = measure(call, clients, arguments.rounds, used)
                    print(figures.row(f"over HTTP, {name}", clients, clip_seconds, loop), flush=True)
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=whisper.SIZES, default="base")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, help="clips a client; default: 2, 20 on a GPU")
    parser.add_argument("--clip", type=Path, default=ROOT / "tests" / "audio" / "weather.flac")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.device == "cpu" else 20)
    with decode(arguments.clip) as audio:
        samples = audio.samples.astype("float32") / 32768
    seconds = len(samples) / SAMPLE_RATE
    print(f"{arguments.size}, {seconds:.1f} s clips, {arguments.device}, {processes.this_machine()}\n")
    print("| | clients | requests/s | p50 s | p95 s | processor s / audio s | of the first |")
    print("|---|---|---|---|---|---|---|", flush=True)
    loop = 0.0
    for name, make in libraries(arguments, samples).items():
        figures = in_a_loop(make(), arguments.clients, arguments.rounds)
        loop = loop or figures.rate
        print(figures.row(name, arguments.clients, seconds, loop), flush=True)
    platform(arguments, seconds, loop)


if __name__ == "__main__":
    main()
