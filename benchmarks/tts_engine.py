"""How fast the espeak engine speaks and how much each encoder adds.

    python benchmarks/tts_engine.py

Prints time to the first chunk, the whole time and the real-time factor for short and long texts, the time that each
format takes to encode, and the throughput with 16 threads. Run it on an otherwise idle machine.
"""

import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ml.tts
from ml.audio import FORMATS, choose_sample_rate, encode
from ml.tts.engines import espeak
from ml.types import SynthesisOptions

SENTENCE = "The quick brown fox jumps over the lazy dog, and then it sleeps all day long in the warm sunny yard. "
TEXTS = {100: SENTENCE[:100], 2_000: (SENTENCE * 20)[:2_000]}
REPEATS = 50


def measure(text):
    """(seconds to the first chunk, seconds in all, seconds of audio)."""
    start = time.perf_counter()
    chunks = ml.tts.synthesize(text, SynthesisOptions())
    audio = next(chunks).duration_seconds
    first = time.perf_counter() - start
    audio += sum(chunk.duration_seconds for chunk in chunks)
    return first, time.perf_counter() - start, audio


def percentile(values, percent):
    return statistics.quantiles(values, n=100)[percent - 1] * 1_000


def bench_engine():
    for length, text in TEXTS.items():
        measured = [measure(text) for _ in range(REPEATS)]
        firsts, totals, audio = zip(*measured, strict=True)
        print(
            f"{length:>5} characters: first p50 {percentile(firsts, 50):.1f} ms, p95 {percentile(firsts, 95):.1f} ms;"
            f" all p50 {percentile(totals, 50):.1f} ms for {audio[0]:.1f} s of audio,"
            f" RTF {statistics.median(totals) / audio[0]:.5f}"
        )


def bench_call():
    """The cost of one trip to a worker process and of its fork: speaking as little as possible."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        next(ml.tts.synthesize("a", SynthesisOptions()))
        times.append(time.perf_counter() - start)
    print(f"   one letter (process, fork and pipe): p50 {percentile(times, 50):.1f} ms")
    start = time.perf_counter()
    for _ in range(200):
        ml.tts.synthesize(TEXTS[100], SynthesisOptions())
    print(f"   verifying a request: {(time.perf_counter() - start) / 200 * 1e6:.0f} µs")


def bench_encoders():
    for length, text in TEXTS.items():
        for format in FORMATS:
            rate = choose_sample_rate(format, None, espeak.sample_rate())
            chunks = list(ml.tts.synthesize(text, SynthesisOptions(sample_rate=rate)))
            times = []
            for _ in range(5):
                start = time.perf_counter()
                size = sum(map(len, encode(chunks, format, sample_rate=rate, streaming=True)))
                times.append(time.perf_counter() - start)
            print(f"{length:>5} characters as {format:<4}: {min(times) * 1e3:8.2f} ms, {size:>9,} bytes, {rate} Hz")


def bench_concurrency(threads=16, requests=400):
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        measured = list(pool.map(lambda _: measure(TEXTS[100]), range(requests)))
        wall = time.perf_counter() - start
    audio = sum(seconds for _, _, seconds in measured)
    print(
        f"{threads} threads, {os.cpu_count()} cores: {requests / wall:.0f} requests/s of 100 characters,"
        f" {audio / wall:.0f} s of audio a second, p50 {percentile([total for _, total, _ in measured], 50):.0f} ms,"
        f" p95 {percentile([total for _, total, _ in measured], 95):.0f} ms"
    )


if __name__ == "__main__":
    begin = time.perf_counter()
    ml.tts.voices()
    measure(TEXTS[100])
    print(f"cold start, with the list of voices: {(time.perf_counter() - begin) * 1e3:.0f} ms")
    bench_engine()
    bench_call()
    bench_encoders()
    bench_concurrency()
