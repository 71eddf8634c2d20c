"""What the pool and the batcher cost, and what they bring.

    python -m benchmarks.runtime               # all of it, about a minute
    python -m benchmarks.runtime --only latency|throughput|fairness|reload

The engines are real: espeak-ng, PocketSphinx, and a small network in NumPy whose weights are read once a call, which is
what makes batching pay.
"""

import argparse
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

import ml.stt
import ml.tts
from ml import devices, runtime
from ml.audio.decode import decode
from ml.batching import Batcher, result_of
from ml.residency import ModelPool, ModelSpec
from ml.stt import recognition
from ml.stt.engines.base import EngineCapabilities, Window
from ml.tts import registry as voices
from ml.tts.engines.base import SpeechRequest
from ml.tts.script import Run, Style, Utterance
from ml.types import Caller, SynthesisOptions, TranscriptionOptions
from tests.ml.stt_support import owned_clips

SENTENCE = "The quick brown fox jumps over the lazy dog."
LATENCIES = "{:34} {:>9.3f} {:>9.3f} {:>9.3f}  ms (median, 90%, 99%)"


class Network:
    """Four dense layers of float32; one call reads them once, whatever the batch. (n,) float32 → (n,) float32."""

    SIZE = 1536

    def __init__(self, *, max_batch=1, layers=4, megabytes=0):
        rng = np.random.default_rng(0)
        self._layers = [rng.standard_normal((self.SIZE, self.SIZE), np.float32) / 40 for _ in range(layers)]
        self._ballast = np.ones(megabytes << 17)  # memory that a reload has to give back
        self.capabilities = EngineCapabilities(frozenset(), max_batch=max_batch)

    def compute(self, items):
        state = np.stack(items)
        for layer in self._layers:
            state = np.maximum(state @ layer, 0)
        return list(state)

    def close(self):
        self._layers, self._ballast = [], None


def compute(engine, items, cancel):
    return engine.compute(items)


def made(engine, **options):
    pool = ModelPool()
    pool.register(ModelSpec("x/network", "x", "network", "1", "numpy", engine))
    return pool, Batcher(pool, **options)


def timed(work, times):
    """Milliseconds of each of `times` calls."""
    work()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - started))
    return found


def report(name, milliseconds):
    print(LATENCIES.format(name, statistics.median(milliseconds), *np.percentile(milliseconds, [90, 99])), flush=True)


def compare(name, direct, through, times, window=0.0):
    """Alternating in blocks, so that a busy moment of the machine falls on both."""
    bare, full = [], []
    for _ in range(5):
        bare += timed(direct, times // 5)
        full += timed(through, times // 5)
    report(f"{name}, engine alone", bare)
    report(f"{name}, through the runtime", full)
    added = statistics.median(full) - statistics.median(bare)
    print(
        f"    added: {added:.3f} ms" + (f", of which the wait window is {window:.0f} ms" if window else ""), flush=True
    )


def measure_latency():
    print("One uncontended request")
    item = np.zeros(Network.SIZE, np.float32)
    for max_batch, window in ((1, 0.0), (16, 5.0)):
        engine = Network(max_batch=max_batch, layers=1)
        pool, batcher = made(lambda engine=engine: engine)
        through = partial(lambda b: result_of(b.submit("x/network", item, call=compute)), batcher)
        compare(f"network, batches of {max_batch}", partial(engine.compute, [item]), through, 1000, window)
        batcher.close()
        pool.close()
    voice = ml.tts.resolve(SynthesisOptions())
    utterance = Utterance((Run(SENTENCE, Style(voice.id)),))
    with runtime.pool.acquire("tts/espeak-ng") as engine:
        compare(
            "espeak-ng, a sentence",
            lambda: engine.speak(SpeechRequest(utterance)),
            lambda: voices.speak(SpeechRequest(utterance), voice=voice, caller=Caller("a")),
            300,
        )
    shortest = min(owned_clips(), key=lambda clip: clip.duration_seconds)
    with decode(shortest.path) as audio:
        window = Window(audio.samples[:16_000], language="en")
    resolution = ml.stt.resolve(TranscriptionOptions(language_hint="en", model="pocketsphinx-en-us"))
    engine = ml.stt.registry.engine("pocketsphinx-en-us")
    compare(
        "pocketsphinx, a second",
        lambda: engine.recognise([window]),
        lambda: recognition.recognise([window], resolution, caller=Caller("a")),
        60,
    )


def measure_throughput():
    print("Items a second of the network, by clients that each wait for their answer")
    item = np.ones(Network.SIZE, np.float32)
    for clients in (1, 4, 16, 64):
        rates, sizes = [], 0.0
        for max_batch in (1, 32):
            pool, batcher = made(partial(Network, max_batch=max_batch), window_seconds=0.002)
            ask = partial(lambda b, _: b.submit("x/network", item, call=compute).result(60), batcher)
            ask(None)
            count = 400 if clients == 1 else 1600
            with ThreadPoolExecutor(clients) as threads:
                started = time.perf_counter()
                list(threads.map(ask, range(count)))
                rates.append(count / (time.perf_counter() - started))
            (told,) = batcher.stats()
            sizes = told.succeeded / told.batches
            batcher.close()
            pool.close()
        print(
            f"{clients:3} clients: {rates[0]:6.0f} one by one, {rates[1]:6.0f} batched ({rates[1] / rates[0]:.1f} x, "
            f"{sizes:.1f} a batch)",
            flush=True,
        )


def measure_fairness():
    print("A tenant with one client, beside one with ten times as many")
    item = np.ones(Network.SIZE, np.float32)
    for greedy in (0, 10, 40):
        pool, batcher = made(partial(Network, layers=8))
        done = threading.Event()

        def load(batcher=batcher, done=done):
            while not done.is_set():
                batcher.submit("x/network", item, call=compute, caller=Caller("greedy")).result(60)

        with ThreadPoolExecutor(greedy + 1) as threads:
            for _ in range(greedy):
                threads.submit(load)
            ask = partial(
                lambda b: b.submit("x/network", item, call=compute, caller=Caller("modest")).result(60), batcher
            )
            report(f"beside {greedy} clients", timed(ask, 200))
            done.set()
        batcher.close()
        pool.close()


def measure_reload():
    """1,000 requests at 16 clients through five reloads of 200 MB, twice: memory is level once glibc has its arenas."""
    print("Hot reload under load")
    pool, batcher = made(partial(Network, megabytes=200))
    item = np.ones(Network.SIZE, np.float32)
    for round_ in range(2):
        pool.warm("x/network")
        before, peak = devices.resident_bytes(), 0
        left, failed = iter(range(1000)), 0

        def client(left=left):
            failures = 0
            for _ in left:
                try:
                    batcher.submit("x/network", item, call=compute).result(60)
                except Exception:
                    failures += 1
            return failures

        with ThreadPoolExecutor(16) as threads:
            clients = [threads.submit(client) for _ in range(16)]
            swaps = []
            for version in range(5):
                started = time.perf_counter()
                load = partial(Network, megabytes=200)
                pool.replace(ModelSpec("x/network", "x", "network", f"{round_}.{version}", "numpy", load))
                swaps.append(time.perf_counter() - started)
                peak = max(peak, devices.resident_bytes())
            failed = sum(each.result() for each in clients)
        while len(pool.memory_bytes()) > 1 or sum(pool.memory_bytes().values()) > 300e6:
            time.sleep(0.01)
        print(
            f"round {round_ + 1}: {failed} of 1000 failed; resident {before / 1e6:.0f} MB before, {peak / 1e6:.0f} MB "
            f"at the most, {devices.resident_bytes() / 1e6:.0f} MB after; a swap took {statistics.median(swaps):.2f} s",
            flush=True,
        )
    batcher.close()
    pool.close()


MEASUREMENTS = {
    "latency": measure_latency,
    "throughput": measure_throughput,
    "fairness": measure_fairness,
    "reload": measure_reload,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MEASUREMENTS)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name, measure in MEASUREMENTS.items():
        if arguments.only in (None, name):
            measure()


if __name__ == "__main__":
    main()
