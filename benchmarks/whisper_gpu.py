"""What batching gives on a GPU: clients that share a Whisper through the pool and the batcher, against one alone.

    python benchmarks/whisper_gpu.py [--size base] [--clients 16] [--seconds 8] [--clip-seconds 5] [--tokens 25]

Prints JSON: clips a second for one client and for many, on each library that has the device, without and with word
times, beside openai-whisper's own `transcribe` called in a loop; and whether the GPU says what the CPU says. Weights
are drawn at random in the shape of the size asked for, and made to end each text after `--tokens` tokens.

Needs no server, no Django and no network, but torch, numpy, tiktoken, tqdm, numba and openai-whisper; for CTranslate2
also ctranslate2 (with the CUDA libraries that it was built for), tokenizers, faster-whisper, av and huggingface_hub.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

if __package__ in (None, ""):  # run as a script: not this folder, whose whisper.py would hide the library
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from ml import devices, engines
from ml.batching import Batcher
from ml.residency import ModelPool, ModelSpec
from ml.stt.engines.base import Window
from ml.types import Caller
from tests.ml import tiny_whisper

SIZES = {"tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12)}
PROMPT_TOKENS = 4  # start of transcript, language, task, no time stamps
CLIPS, COMPARED = 32, 8
NO_CHECKS = {  # random weights fail every check; one search, as in the loop
    "second_search": False,
    "compression_ratio_threshold": 100.0,
    "log_prob_threshold": -100.0,
}
MODEL = "stt/random"


def random_weights(size: str, tokens: int):
    """A Whisper whose decoder finds the end of text likeliest once `tokens` have been written."""
    from whisper.model import ModelDimensions
    from whisper.tokenizer import get_tokenizer

    width, heads, layers = SIZES[size]
    model = tiny_whisper.random_whisper(
        ModelDimensions(80, 1500, width, heads, layers, 51865, 448, width, heads, layers)
    )
    end = model.decoder.token_embedding.weight.data[get_tokenizer(True, language="en", task="transcribe").eot]
    model.decoder.positional_embedding.data[PROMPT_TOKENS - 1 + tokens :] = 100.0 * end / end.norm()
    return model


def recognise(engine, windows, cancel):
    return engine.recognise(windows, cancel=cancel)


def clips_a_second(batcher: Batcher, windows, clients: int, seconds: float) -> dict:
    """Each client submits a clip, waits for its result and submits the next; the first second is not counted."""
    begin = time.perf_counter() + 1.0
    taken: list[list[float]] = [[] for _ in range(clients)]

    def work(client: int) -> None:
        place = client
        while (started := time.perf_counter()) < begin + seconds:
            caller = Caller(f"client-{client}")
            future = batcher.submit(MODEL, windows[place % len(windows)], call=recognise, options="en", caller=caller)
            future.result(120)
            if started >= begin:
                taken[client].append(time.perf_counter() - started)
            place += clients

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begin
    all_ = sorted(second for client in taken for second in client)
    return {
        "clips_a_second": round(len(all_) / elapsed, 2),
        "latency_ms_median": round(1000 * statistics.median(all_), 1),
        "latency_ms_p95": round(1000 * all_[int(0.95 * (len(all_) - 1))], 1),
    }


def through_batcher(folder, windows, arguments, **settings) -> dict:
    common = {"device": arguments.device, "threads": arguments.threads, "fitted_windows": arguments.fitted}
    manifest = replace(folder.manifest, settings={**NO_CHECKS, **common, **settings})
    spec = ModelSpec(
        MODEL, "stt", "random", "1", "whisper", functools.partial(engines.load, replace(folder, manifest=manifest))
    )
    pool = ModelPool()
    pool.register(spec)
    batcher = Batcher(pool)
    with pool.acquire(MODEL) as engine:
        found = {"max_batch": engine.capabilities.max_batch, "device": engine.capabilities.device}
        single = [engine.recognise([window])[0].text for window in windows[:COMPARED]]
        together = [each.text for each in engine.recognise(windows[:COMPARED])]
        found["batch_equals_single"] = f"{sum(map(str.__eq__, single, together))} of {len(single)}"
    for clients in (1, arguments.clients):
        found[f"{clients}_clients"] = clips_a_second(batcher, windows, clients, arguments.seconds)
    found["batch_sizes"] = dict(sorted(batcher.stats()[0].batch_sizes.items()))
    one, many = (found[f"{clients}_clients"]["clips_a_second"] for clients in (1, arguments.clients))
    found["gain"] = round(many / one, 2)
    batcher.close()
    pool.close()
    return found


def whisper_loop(model, clips, arguments, *, word_times: bool) -> dict:
    """openai-whisper as its README calls it, with one temperature and no time stamps."""
    import whisper

    run = functools.partial(
        whisper.transcribe,
        model,
        language="en",
        temperature=0.0,
        without_timestamps=True,
        word_timestamps=word_times,
        condition_on_previous_text=False,
        compression_ratio_threshold=None,
        logprob_threshold=None,
        no_speech_threshold=None,
        fp16=arguments.device != devices.CPU,
    )
    run(clips[0])
    count, started = 0, time.perf_counter()
    while time.perf_counter() < started + arguments.seconds:
        run(clips[count % len(clips)])
        count += 1
    return {"clips_a_second": round(count / (time.perf_counter() - started), 2)}


def agreement(folder, windows, device: str) -> dict:
    """The first clips on the CPU in float32, and on the device in float32 and float16."""
    texts, outputs = {}, {}
    for name, where, kind in (
        ("cpu", "cpu", "float32"),
        ("float32", device, "float32"),
        ("float16", device, "float16"),
    ):
        settings = {**NO_CHECKS, "device": where, "compute_type": kind, "word_times": False}
        engine = engines.load(replace(folder, manifest=replace(folder.manifest, settings=settings)))
        texts[name] = [each.text for each in engine.recognise(windows[:COMPARED])]
        mel = engine._backend.features(windows[0].samples.astype(np.float32) / 32768)
        encoded = engine._backend.encode(np.ascontiguousarray(mel[None, :, : mel.shape[1] // 2 * 2]))
        outputs[name] = as_array(encoded)
        engine.close()
    found = {}
    for name in ("float32", "float16"):
        found[name] = {
            "texts_equal": f"{sum(map(str.__eq__, texts[name], texts['cpu']))} of {len(windows)}",
            "encoder_largest_difference": float(np.abs(outputs[name] - outputs["cpu"]).max()),
            "encoder_largest_value": float(np.abs(outputs["cpu"]).max()),
        }
    return found


def as_array(encoded) -> np.ndarray:
    if isinstance(encoded, torch.Tensor):
        return encoded.float().cpu().numpy()
    import ctranslate2

    host = encoded.to_device(ctranslate2.Device.cpu) if encoded.device != "cpu" else encoded
    return np.asarray(host.to(ctranslate2.DataType.float32))


def measure(report: dict, name: str, folder, windows, arguments) -> None:
    for word_times in (False, True):
        key = "with_word_times" if word_times else "text_only"
        report.setdefault(name, {})[key] = through_batcher(folder, windows, arguments, word_times=word_times)
        print(f"{name}, {key}: {json.dumps(report[name][key])}", file=sys.stderr, flush=True)
    if arguments.device != devices.CPU:
        report[name]["agrees_with_cpu"] = agreement(folder, windows[:COMPARED], arguments.device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--clip-seconds", type=float, default=5.0)
    parser.add_argument("--tokens", type=int, default=25)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="of one call on the CPU")
    parser.add_argument("--fitted", action="store_true", help="encode what was said, not 30 seconds")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 2000, round(16_000 * arguments.clip_seconds)).astype(np.int16) for _ in range(CLIPS)]
    windows = [Window(clip, language="en") for clip in clips]
    floats = [clip.astype(np.float32) / 32768 for clip in clips]
    report: dict = {"torch": torch.__version__, **vars(arguments)}
    if arguments.device != devices.CPU:
        report["gpu"] = torch.cuda.get_device_name()
    model = random_weights(arguments.size, arguments.tokens)
    with tempfile.TemporaryDirectory() as temporary:
        folder = tiny_whisper.save_openai(model, Path(temporary) / "openai")
        measure(report, "openai", folder, windows, arguments)
        on_device = model.to(arguments.device)
        report["openai_whisper_loop"] = {
            "text_only": whisper_loop(on_device, floats, arguments, word_times=False),
            "with_word_times": whisper_loop(on_device, floats, arguments, word_times=True),
        }
        for key in ("text_only", "with_word_times"):
            mine = report["openai"][key][f"{arguments.clients}_clients"]["clips_a_second"]
            loop = report["openai_whisper_loop"][key]["clips_a_second"]
            report["openai"][key]["gain_over_loop"] = round(mine / loop, 2)
        print(f"so far: {json.dumps(report, default=str)}", file=sys.stderr, flush=True)
        try:
            folder = tiny_whisper.save_ctranslate2(model.cpu(), Path(temporary) / "ctranslate2", quantization="float16")
            measure(report, "ctranslate2", folder, windows, arguments)
        except Exception as error:  # not installed, or built for another CUDA
            report["ctranslate2"] = {"left_out": f"{type(error).__name__}: {error}"}
    print(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
