"""What the front end does to recognition in noise: the recogniser alone, and the pipeline.

    python -m benchmarks.pipeline_noise             # nine short clips; ten minutes on two cores
    python -m benchmarks.pipeline_noise --all       # every English clip of up to 12 s

Clips are those of SPEECH_DATA, or `../shared/speech`, mixed with white noise, pink noise, and babble of eight other
recordings. The SNR is that of the clip's speech (the louder 60% of its frames) over the noise; half a second of noise
alone lies on either side. `raw` is the embedded recogniser on the windows of the voice activity detector; `pipeline` is
`ml.stt.transcribe`. WER is over all words, after lower-casing and dropping punctuation.
"""

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jiwer
import numpy as np

import ml.stt
from ml.types import TranscriptionOptions
from tests.ml.stt_support import REAL, normalise, pcm_of, read_manifest, real_clips, write_audio

RAW = TranscriptionOptions(disable=("high_pass", "noise_suppression", "punctuate", "truecase", "itn"))
PIPELINE = TranscriptionOptions(itn=False)  # the references are in words
LEVELS_DB = (20, 10, 5, 0)
PADDING = 8_000  # samples of noise alone on either side


class Noises:
    """Noise of a given length, (n,) float64 with unit power."""

    def __init__(self, clips):
        self._rng = np.random.default_rng(0)
        others = [
            clip for clip in read_manifest(REAL / "clips.jsonl") if clip.duration_seconds > 8 and clip not in clips
        ]
        self._talkers = [normalised(pcm_of(clip).astype(float)) for clip in others[:8]]

    def white(self, n):
        return normalised(self._rng.standard_normal(n))

    def pink(self, n):
        spectrum = np.fft.rfft(self._rng.standard_normal(n))
        return normalised(np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), n))

    def babble(self, n):
        shifts = [self._rng.integers(len(talker)) for talker in self._talkers]
        return normalised(sum(np.resize(np.roll(t, -s), n) for t, s in zip(self._talkers, shifts, strict=True)))


def normalised(samples):
    return samples / np.sqrt(np.mean(np.square(samples)))


def speech_power(samples):
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    powers = np.sort(np.mean(np.square(frames), axis=1))
    return powers[-max(1, len(powers) * 6 // 10) :].mean()


def mix(samples, noise, level_db):
    """(n,) int16 → (n + 2 * PADDING,) float32 in [-1, 1]; without noise where that is None."""
    speech = samples.astype(float)
    padded = np.pad(speech, PADDING)
    if noise is not None:
        padded += noise(len(padded)) * np.sqrt(speech_power(speech) / 10 ** (level_db / 10))
    return (padded / max(32768.0, np.abs(padded).max())).astype(np.float32)


def measure(clips, folder, name, noise, level_db):
    paths = []
    for number, clip in enumerate(clips):
        mixed = mix(pcm_of(clip), noise, level_db)
        paths.append(write_audio(folder / f"{number}.flac", mixed, 16_000, codec="flac"))
    references = [clip.text for clip in clips]
    with ThreadPoolExecutor(2) as executor:
        raw, piped = (
            list(executor.map(lambda path, o=options: ml.stt.transcribe(path, o), paths)) for options in (RAW, PIPELINE)
        )
    rates = [jiwer.wer(references, [normalise(r.text) for r in results]) for results in (raw, piped)]
    cleaned = sum("noise_suppression" in result.stages for result in piped)
    label = name if noise is None else f"{name} {level_db} dB"
    print(f"| {label:12} | {rates[0]:.3f} | {rates[1]:.3f} | {cleaned}/{len(clips)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--levels", type=int, nargs="*", default=LEVELS_DB)
    arguments = parser.parse_args()
    longest, step = (12.0, 1) if arguments.all else (7.2, 2)
    clips = [c for c in real_clips() if 1.9 < c.duration_seconds < longest and "stereo" not in c.path.name][::step]
    noises = Noises(clips)
    print(f"{len(clips)} clips, {sum(clip.duration_seconds for clip in clips):.0f} s\n")
    print("| noise        | raw   | pipeline | cleaned |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        measure(clips, Path(folder), "clean", None, None)
        for level_db in arguments.levels:
            for name in ("white", "pink", "babble"):
                measure(clips, Path(folder), name, getattr(noises, name), level_db)


if __name__ == "__main__":
    main()
