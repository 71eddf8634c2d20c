"""Run by test_memory: transcribes in many threads while a model folder is reloaded; prints memory at rest before and
after, in bytes."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

CLIP = Path(__file__).resolve().parent.parent / "audio" / "weather.flac"
THREADS, RELOADS, REQUESTS_BETWEEN = 8, 10, 8


def main(folder: Path) -> None:
    from ml import artifacts, devices, loading, stt
    from ml.types import TranscriptionOptions

    installed = artifacts.read(folder)
    name = installed.manifest.name
    stt.install(installed)
    options = TranscriptionOptions(model=name)
    stop, counted = threading.Event(), threading.Semaphore(0)

    def transcribe() -> None:
        assert stt.transcribe(CLIP, options).text
        counted.release()

    def client() -> None:
        while not stop.is_set():  # a thread a request: each may get another of the allocator's arenas
            request = threading.Thread(target=transcribe)
            request.start()
            request.join()

    def at_rest() -> int:
        time.sleep(0.5)
        loading.return_memory()
        return devices.resident_bytes()

    for _ in range(3):
        transcribe()
        counted.acquire()
    before = at_rest()
    clients = [threading.Thread(target=client) for _ in range(THREADS)]
    for thread in clients:
        thread.start()
    for _ in range(RELOADS):
        for _ in range(REQUESTS_BETWEEN):
            counted.acquire()
        stt.reload(name)
    stop.set()
    for thread in clients:
        thread.join()
    sys.stdout.write(f"{before} {at_rest()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
