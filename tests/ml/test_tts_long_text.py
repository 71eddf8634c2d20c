"""Memory does not grow with the text. TTS_LONG_CHARACTERS=100000 tries a book's chapter."""

import os
import tempfile
import tracemalloc

import ml.tts
from ml.audio import encode_to_file, loudness
from ml.types import SynthesisOptions

CHARACTERS = int(os.environ.get("TTS_LONG_CHARACTERS", "2000"))
SENTENCE = "The girl at the booth sold fifty bonds on the 3rd of May, for $5.20. "


def peak_bytes(characters):
    text = (SENTENCE * (characters // len(SENTENCE) + 1))[:characters]
    options = SynthesisOptions(language="en-US", timestamps=True, normalize=True, trim_silence=True, speed=4.0)
    tracemalloc.start()
    try:
        with tempfile.TemporaryFile() as file:
            chunks = loudness.levelled(ml.tts.synthesize(text, options), 22050, -16)
            encode_to_file(chunks, "mp3", file, sample_rate=22050)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_long_text_takes_no_more_memory_than_a_short_one():
    peak_bytes(500)  # what is loaded once
    short, long = peak_bytes(700), peak_bytes(CHARACTERS)
    assert long - short < (2 << 20) + 4 * CHARACTERS  # the text itself, and no sound
