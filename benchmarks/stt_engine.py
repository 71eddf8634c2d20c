"""Accuracy and speed of recognition on real recordings.

    python -m benchmarks.stt_engine              # WER and RTF, engine alone and through `ml.stt.transcribe`
    python -m benchmarks.stt_engine --settings   # the search settings of the embedded recogniser, one by one
    python -m benchmarks.stt_engine --noise      # confidence of words in noise and in speech

The recordings are read from SPEECH_DATA, or `../shared/speech`; those in English with a reference count. WER is over
all words of all clips, after lower-casing and dropping punctuation. RTF is computing time / duration of the audio.
"""

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor

import jiwer
import numpy as np

import ml.stt
from ml.audio.decode import decode
from ml.stt.engines.base import Window
from ml.stt.engines.pocketsphinx import Decoder
from ml.stt.registry import engine
from ml.stt.vad import find_windows, measure_activity
from tests.ml.stt_support import normalise, real_clips

MODEL = "pocketsphinx-en-us"
SETTINGS = {
    "the model's own": {},
    "lw=5": {"lw": 5.0},
    "lw=8": {"lw": 8.0},
    "wider beams": {"beam": 1e-60, "wbeam": 1e-40, "pbeam": 1e-60},
    "narrower beams": {"beam": 1e-40, "wbeam": 1e-25, "pbeam": 1e-40},
    "wip=0.4": {"wip": 0.4},
    "silprob=0.05": {"silprob": 0.05},
    "topn=8": {"topn": 8},
    "fwdflatlw=10": {"fwdflatlw": 10.0},
}


def measure(clips):
    """The engine alone on each whole recording, then the pipeline on the files; one at a time, then two."""
    recognizer = engine(MODEL)
    audio = [decode(clip.path) for clip in clips]
    seconds = sum(a.duration_seconds for a in audio)
    warm = [Window(a.samples[:32_000]) for a in audio[:4]]
    with ThreadPoolExecutor(2) as executor:  # starts both processes
        list(executor.map(lambda window: recognizer.recognise([window]), warm))
    references = [clip.text for clip in clips]

    whole, whole_seconds = timed(lambda: [recognizer.recognise([Window(a.samples)])[0].text for a in audio])
    report("engine, whole recordings", references, whole, whole_seconds, seconds)

    windows = [
        [Window(a.samples[round(s.start * 16_000) : round(s.end * 16_000)]) for s in find_windows(measure_activity(a))]
        for a in audio
    ]
    cut, cut_seconds = timed(lambda: [" ".join(h.text for h in recognizer.recognise(w)) for w in windows])
    report("engine, windows of the VAD", references, cut, cut_seconds, seconds)

    piped, piped_seconds = timed(lambda: [ml.stt.transcribe(clip.path) for clip in clips])
    report("ml.stt.transcribe, one at a time", references, [r.text for r in piped], piped_seconds, seconds)
    own = sum(r.timings["recognise"] for r in piped)
    print(f"    all stages / recognising: {sum(sum(r.timings.values()) for r in piped) / own:.3f}")

    with ThreadPoolExecutor(2) as executor:
        both, both_seconds = timed(lambda: list(executor.map(lambda c: ml.stt.transcribe(c.path).text, clips)))
    report("ml.stt.transcribe, two at once", references, both, both_seconds, seconds)

    single = [clip for clip, w in zip(clips, windows, strict=True) if len(w) == 1]
    samples = [w[0] for w in windows if len(w) == 1]
    _, bare = timed(lambda: [recognizer.recognise([w]) for w in samples])
    _, full = timed(lambda: [ml.stt.transcribe(clip.path) for clip in single])
    print(f"transcribe / engine on the {len(single)} clips of one window: {full / bare:.3f}")


def timed(work):
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def report(name, references, texts, seconds, audio_seconds):
    wer = jiwer.wer(references, [normalise(text) for text in texts])
    print(f"{name:36} WER {wer:.3f}  RTF {seconds / audio_seconds:.3f}  ({audio_seconds:.0f} s of audio)", flush=True)


def measure_settings(clips):
    """Each setting on whole recordings, in this process."""
    import pocketsphinx

    audio = [decode(clip.path).samples.tobytes() for clip in clips]
    for name, settings in SETTINGS.items():
        decoder = Decoder()
        decoder._decoder = pocketsphinx.Decoder(loglevel="FATAL", **settings)
        texts, seconds = timed(lambda d=decoder: [" ".join(word[0] for word in d.decode(pcm)) for pcm in audio])
        report(name, [clip.text for clip in clips], texts, seconds, sum(map(len, audio)) / 32_000)


def measure_noise(clips):
    """What voice activity detection lets through, and the lowest confidence of speech."""
    rng = np.random.default_rng(0)
    recognizer = engine(MODEL)
    samples = 16_000 * 20
    white = rng.standard_normal(samples)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), samples)
    for name, noise in (("white", white), ("pink", pink), ("tone", np.sin(np.arange(samples) * 0.17))):
        pcm = (noise / np.abs(noise).max() * 16_000).astype(np.int16)
        hypothesis = recognizer.recognise([Window(pcm)])[0]
        print(f"{name:8} without VAD: {len(hypothesis.words)} words, confidence {hypothesis.confidence:.3f}")
    segments = sorted(s.confidence for clip in clips for s in ml.stt.transcribe(clip.path).segments)
    print(f"speech: lowest confidences {segments[:5]}, median {segments[len(segments) // 2]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", action="store_true")
    parser.add_argument("--noise", action="store_true")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    clips = real_clips()
    (measure_settings if arguments.settings else measure_noise if arguments.noise else measure)(clips)


if __name__ == "__main__":
    main()
