"""How near the adapted embedded voice comes to real speakers, how well it is understood, and how fast it speaks.

    python benchmarks/voice_adaptation.py ../shared/speech --speakers 12

Each speaker's recordings are joined to a sample, a voice is learned from it as the platform does, and two texts that
nothing was fitted to are spoken, plainly and adapted. Distances are `ml.tts.cloning.profile.Distance`; the word error
rates are the embedded recogniser's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import wave
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ml import evaluation, stt, tts
from ml.audio.decode import decode
from ml.errors import SampleUnsuitable
from ml.tts import cloning
from ml.tts.cloning import speakers
from ml.tts.cloning.profile import RATE, Distance, SpeakerProfile, distance, measure
from ml.tts.own import OwnVoice
from ml.types import Caller, PcmSamples, SynthesisOptions, TranscriptionOptions

PLAIN = "espeak:en-us"
UNHEARD = (
    "The boy was there when the sun rose. A rod is used to catch pink salmon. The source of the huge river is the "
    "clear spring. Kick the ball straight and follow through. Help the woman get back to her feet."
)
SIMPLE = (
    "one two three four five six seven eight nine ten", "go forward ten meters", "the weather is very nice today",
    "please open the door and close the window", "my father and my mother are going to the city",
    "we will meet again on monday morning", "he said that he did not know what to do",
)  # fmt: skip
"""What the embedded recogniser, with its small vocabulary, has a chance to understand."""
_SAMPLE_SECONDS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, help="the folder of real recordings")
    parser.add_argument("--speakers", type=int, default=12)
    parser.add_argument("--words", action="store_true", help="also measure word error rates (slow)")
    arguments = parser.parse_args()
    before_all, after_all = [], []
    print("speaker              pitch (st)    tract (%)     colour (dB)   cepstrum (dB)  whole")
    for name, files in list(_speakers(arguments.recordings))[: arguments.speakers]:
        voice = _learned(name, files)
        if voice is None:
            continue
        before, after = _distances(voice)
        before_all.append(astuple(before))
        after_all.append(astuple(after))
        print(_row(name, before, after), f"  WER {_wer((voice.own,)):.2f}" if arguments.words else "", flush=True)
    print(_row("median", *(Distance(*map(median, zip(*rows, strict=True))) for rows in (before_all, after_all))))
    if arguments.words:
        print(f"word error rate of the plain voice: {_wer(()):.2f}")
    _speeds(voice.own if voice else None)


def _speakers(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    of: dict[str, list[Path]] = defaultdict(list)
    clips = folder / "clips"
    of["LJ"] = sorted(clips.glob("TTS-LJ*.wav"))
    for name, pattern in (("reader 1", "speechbrain-spk1_*"), ("reader 2", "speechbrain-spk2_*"), ("JFK", "*jfk*")):
        of[name] = sorted(clips.glob(pattern))
    an4: dict[str, list[Path]] = defaultdict(list)
    for line in (folder / "an4_train.jsonl").read_text().splitlines():
        row = json.loads(line)
        an4[row["speaker"]].append(folder / row["audio"])
    women, men = (sorted(name for name in an4 if name.startswith(letter)) for letter in "fm")
    for pair in zip(women, men, strict=False):
        of |= {f"AN4 {name}": an4[name] for name in pair}
    yield from of.items()


def _learned(name: str, files: list[Path]) -> cloning.Learned | None:
    parts, seconds = [], 0.0
    for file in files:
        with decode(file) as audio:
            parts.append(np.array(audio.samples))
            seconds += audio.duration_seconds
        if seconds > _SAMPLE_SECONDS:
            break
    with tempfile.TemporaryDirectory() as folder:
        try:
            sample = cloning.examine(_written(Path(folder), np.concatenate(parts)))
        except SampleUnsuitable as error:
            print(f"{name:20} refused: {error.reason}")
            return None
    return cloning.learn(sample, voice_id="own", name=name, language="en-US", caller=Caller("benchmark", "batch"))


def _distances(voice: cloning.Learned) -> tuple[Distance, Distance]:
    plain, adapted = (_profile(_said(UNHEARD, own)) for own in ((), (voice.own,)))
    return distance(plain, voice.profile), distance(adapted, voice.profile)


def _profile(samples: PcmSamples) -> SpeakerProfile:
    found = measure(speakers.to_float(samples))
    if found is None:
        raise SystemExit("nothing was said")
    return found


def _said(text: str, own: tuple[OwnVoice, ...]) -> PcmSamples:
    options = SynthesisOptions(voice="own" if own else PLAIN, own_voices=own, sample_rate=RATE)
    return np.concatenate([chunk.samples for chunk in tts.synthesize(text, options)])


def _wer(own: tuple[OwnVoice, ...]) -> float:
    errors = words = 0
    with tempfile.TemporaryDirectory() as folder:
        for text in SIMPLE:
            path = _written(Path(folder), _said(text, own))
            heard = stt.transcribe(path, TranscriptionOptions(language_hint="en", itn=False))
            expected, written = (evaluation.normalise(each, "en") for each in (text, heard.text))
            found, length = evaluation.word_errors(expected, written), len(expected.split())
            errors, words = errors + round(found.rate * length), words + length
    return errors / words


def _speeds(own: OwnVoice | None) -> None:
    """Real-time factor of a whole text, and milliseconds until the first audio of a stream."""
    for label, voices in (("plain", ()), ("adapted", (own,) if own else ())):
        options = SynthesisOptions(voice="own" if voices else PLAIN, own_voices=voices)
        took, first = [], []
        for _ in range(7):
            started = time.perf_counter()
            chunks = tts.synthesize(UNHEARD, options, streaming=True)
            seconds = next(chunks).duration_seconds
            first.append(1e3 * (time.perf_counter() - started))
            seconds += sum(chunk.duration_seconds for chunk in chunks)
            took.append((time.perf_counter() - started) / seconds)
        print(f"{label:8} real-time factor {median(took):.4f}, first audio {median(first):.0f} ms")


def _written(folder: Path, samples: PcmSamples) -> Path:
    path = folder / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def _row(name: str, before: Distance, after: Distance) -> str:
    pairs = [(before.pitch, after.pitch), (before.vocal_tract, after.vocal_tract), (before.colour, after.colour),
             (before.cepstrum, after.cepstrum), (before.whole, after.whole)]  # fmt: skip
    return f"{name:20} " + "  ".join(f"{one:5.1f} → {other:<4.1f}" for one, other in pairs)


if __name__ == "__main__":
    main()
