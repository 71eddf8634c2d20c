"""Does the speech say what it should? Sentences through a voice and a recogniser; and the memory of a long text.

    python -m benchmarks.tts_roundtrip                         # the default voice, the best installed recogniser
    python -m benchmarks.tts_roundtrip --voice espeak:en-us+f2 --sentences 50 --characters 100000

Prints the word error rate over all sentences (as `ml.evaluation` counts it), each sentence that came back wrong with
`--verbose`, and how much memory the process takes while a long text is spoken, levelled and encoded.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import wave
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ml.stt
import ml.tts
from ml import evaluation
from ml.audio import EncodedInfo, encode_to_file, loudness
from ml.evaluation import NO_ERRORS, Errors
from ml.types import SynthesisOptions, TranscriptionOptions

SENTENCES = """
The birch canoe slid on the smooth planks.
Glue the sheet to the dark blue background.
It is easy to tell the depth of a well.
These days a chicken leg is a rare dish.
Rice is often served in round bowls.
The juice of lemons makes fine punch.
The box was thrown beside the parked truck.
The hogs were fed chopped corn and garbage.
Four hours of steady work faced us.
A large size in stockings is hard to sell.
The boy was there when the sun rose.
A rod is used to catch pink salmon.
The source of the huge river is the clear spring.
Kick the ball straight and follow through.
Help the woman get back to her feet.
A pot of tea helps to pass the evening.
Smoky fires lack flame and heat.
The soft cushion broke the man's fall.
The salt breeze came across from the sea.
The girl at the booth sold fifty bonds.
The small pup gnawed a hole in the sock.
The fish twisted and turned on the bent hook.
Press the pants and sew a button on the vest.
The swan dive was far short of perfect.
The beauty of the view stunned the young boy.
Two blue fish swam in the tank.
Her purse was full of useless trash.
The colt reared and threw the tall rider.
It snowed, rained, and hailed the same morning.
Read verse out loud for pleasure.
Hoist the load to your left shoulder.
Take the winding path to reach the lake.
Note closely the size of the gas tank.
Wipe the grease off his dirty face.
Mend the coat before you go out.
The wrist was badly strained and hung limp.
The stray cat gave birth to kittens.
The young girl gave no clear response.
The meal was cooked before the bell rang.
What joy there is in living.
A king ruled the state in the early days.
The ship was torn apart on the sharp reef.
Sickness kept him home the third week.
The wide road shimmered in the hot sun.
The lazy cow lay in the cool grass.
Lift the square stone over the fence.
The rope will bind the seven books at once.
Hop over the fence and plunge in.
The friendly gang left the drug store.
Mesh wire keeps chicks inside.
""".strip().splitlines()
"""The first five of the Harvard lists (IEEE 1969), which are balanced phonetically."""


def heard(sentence: str, voice: str | None, folder: Path) -> tuple[str, str]:
    """What a recogniser writes for a sentence, and its name."""
    path = folder / "sentence.wav"
    chunks = ml.tts.synthesize(sentence, SynthesisOptions(voice=voice, language=None if voice else "en-US"))
    with wave.open(str(path), "wb") as file:
        for number, chunk in enumerate(chunks):
            if not number:
                file.setparams((1, 2, chunk.sample_rate, 0, "NONE", ""))
            file.writeframes(chunk.samples.tobytes())
    transcript = ml.stt.transcribe(path, TranscriptionOptions(language_hint="en"))
    return transcript.text, transcript.model_used


def round_trip(count: int, voice: str | None, verbose: bool) -> Errors:
    total, model = NO_ERRORS, ""
    with tempfile.TemporaryDirectory() as folder:
        for sentence in SENTENCES[:count]:
            text, model = heard(sentence, voice, Path(folder))
            found = evaluation.word_errors(evaluation.normalise(sentence, "en"), evaluation.normalise(text, "en"))
            total += found
            if verbose and found.wrong:
                print(f"  {found.wrong}/{found.total}  {sentence}  →  {text}")
    print(f"{count} sentences, {total.total} words, voice {voice or 'default'}, {model}: WER {total.rate:.3f}")
    return total


def long_text(characters: int) -> int:
    """How many kilobytes the process grew by while it spoke, levelled and encoded so long a text."""
    text = " ".join(SENTENCES)
    text = (text * (characters // len(text) + 1))[:characters]
    spoken(text[:2000])  # what is loaded once
    before, began = peak_kilobytes(), time.perf_counter()
    info = spoken(text)
    grown, seconds = peak_kilobytes() - before, time.perf_counter() - began
    audio = f"{info.duration_seconds:.0f} s of audio in {seconds:.1f} s"
    print(f"{characters:,} characters: {audio}, {grown / 1024:.1f} MB more")
    return grown


def spoken(text: str) -> EncodedInfo:
    chunks = ml.tts.synthesize(text, SynthesisOptions(language="en-US", timestamps=True))
    with tempfile.TemporaryFile() as file:
        return encode_to_file(loudness.levelled(chunks, 22050, -16), "mp3", file, sample_rate=22050)


def peak_kilobytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--voice")
    arguments.add_argument("--sentences", type=int, default=len(SENTENCES))
    arguments.add_argument("--characters", type=int, default=100_000)
    arguments.add_argument("--verbose", action="store_true")
    chosen = arguments.parse_args()
    round_trip(chosen.sentences, chosen.voice, chosen.verbose)
    long_text(chosen.characters)


if __name__ == "__main__":
    main()
