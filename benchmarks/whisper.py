"""What Whisper costs: padded against fitted windows, batches, beams, and faster-whisper called in a loop, in one run.

    python benchmarks/whisper.py [--size base] [--seconds 4.5] [--device cpu] [--tokens 25] [--threads 0]

The weights are drawn at random in the shape of the size asked for, so the time is that of real ones for as many tokens;
word times and second searches are off for both sides (random weights fail every check), and every clip writes exactly
`--tokens` tokens. Needs requirements-torch.txt.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder: its whisper.py would hide the library

from ml import engines  # noqa: E402
from ml.stt.engines.base import Window  # noqa: E402
from ml.stt.engines.whisper_backend import Search  # noqa: E402
from tests.ml import tiny_whisper  # noqa: E402

SIZES = {"tiny": (384, 6, 4), "base": (512, 8, 6), "small": (768, 12, 12)}
REPEATS = 3
PROMPT_TOKENS = 4  # start of transcript, language, task, no time stamps


def build(folder: Path, size: str, quantization: str):
    from whisper.model import ModelDimensions

    width, heads, layers = SIZES[size]
    dims = ModelDimensions(80, 1500, width, heads, layers, 51865, 448, width, heads, layers)
    return tiny_whisper.save_ctranslate2(tiny_whisper.random_whisper(dims), folder, quantization=quantization)


def seconds_a_clip(run, clips: int) -> float:
    run()  # warm
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) / clips


def loaded(folder, arguments, **settings):
    common = {"device": arguments.device, "threads": arguments.threads, "word_times": False, "max_batch": 16}
    manifest = replace(folder.manifest, settings={**common, **settings})
    engine = engines.load(replace(folder, manifest=manifest))
    engine._searches = lambda batch: [
        Search(arguments.tokens, beam_size=settings.get("beam_size", 1))
    ]  # one search of a fixed length, as the other side does
    return engine


def faster_whisper_loop(folder, arguments, beam: int):
    """`WhisperModel.transcribe` for each clip, with one temperature and no time stamps."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(folder.path),
        device=arguments.device,
        compute_type="int8" if arguments.device == "cpu" else "float16",
        cpu_threads=arguments.threads or 0,
    )

    def run(clips):
        for clip in clips:
            segments, _ = model.transcribe(
                clip,
                language="en",
                beam_size=beam,
                temperature=0.0,
                without_timestamps=True,
                compression_ratio_threshold=None,
                log_prob_threshold=None,
                no_speech_threshold=None,
                max_new_tokens=2 * arguments.tokens - PROMPT_TOKENS,  # CTranslate2 writes half of the whole length
            )
            list(segments)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--seconds", type=float, default=4.5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=25)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    clips = [(generator.normal(0, 2000, round(16_000 * arguments.seconds))).astype(np.int16) for _ in range(16)]
    windows = [Window(clip, language="en") for clip in clips]
    floats = [clip.astype(np.float32) / 32768 for clip in clips]
    with tempfile.TemporaryDirectory() as temporary:
        folder = build(Path(temporary), arguments.size, "int8" if arguments.device == "cpu" else "float16")
        print(f"{arguments.size}, {arguments.device}, {arguments.seconds:g} s clips, {arguments.tokens} tokens")
        print(f"{'seconds a clip':34}" + "".join(f"{f'batch {batch}':>10}" for batch in arguments.batches))
        for beam in arguments.beams:
            reference = faster_whisper_loop(folder, arguments, beam)
            cost = seconds_a_clip(lambda run=reference: run(floats[:4]), 4)
            print(f"{f'beam {beam}  faster-whisper in a loop':34}{cost:10.3f}", flush=True)
            for fitted in (False, True):
                engine = loaded(folder, arguments, beam_size=beam, fitted_windows=fitted)
                cells = []
                for batch in arguments.batches:
                    work = windows[:batch]
                    cells.append(seconds_a_clip(lambda e=engine, w=work: e.recognise(w), batch))
                name = "fitted to 5 s" if fitted else "padded to 30 s"
                print(f"{f'beam {beam}  {name}':34}" + "".join(f"{cell:10.3f}" for cell in cells), flush=True)
                engine.close()


if __name__ == "__main__":
    main()
