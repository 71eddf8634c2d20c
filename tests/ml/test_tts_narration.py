"""Text that is written while it is spoken sounds as it would if it had been there from the start."""

import threading

import numpy as np
import pytest

import ml.tts
from ml import errors
from ml.tts.listening import AHEAD_SECONDS, Listener
from ml.types import Caller, SynthesisOptions

WRITTEN = "Well, this is Dr. Smith, who has a long story to tell. It costs 3.14 dollars, and no more! Is that so?"


def narrated(text, size, **options):
    """The chunks of a text that comes in fragments of `size` letters."""
    narrator = ml.tts.Narrator(SynthesisOptions(**options), caller=Caller())
    chunks = []
    for at in range(0, len(text), size):
        narrator.text.push(text[at : at + size])
        while (piece := narrator.text.take()) is not None:
            chunks.append(narrator.speak(piece))
    chunks += [narrator.speak(piece) for piece in narrator.text.take_all()]
    return [*chunks, narrator.end_utterance()]


@pytest.mark.parametrize(
    "options", [{}, {"sample_rate": 16_000}, {"voice": "espeak:de+f2", "speed": 1.5, "volume": 0.5}]
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_sounds_like_the_whole_text(options, size):
    chunks = narrated(WRITTEN, size, **options)
    whole = list(ml.tts.synthesize(WRITTEN, SynthesisOptions(**options), streaming=True))
    assert [chunk.text for chunk in chunks if chunk.text] == [chunk.text for chunk in whole if chunk.text]
    made, wanted = (np.concatenate([chunk.samples for chunk in all_]).astype(int) for all_ in (chunks, whole))
    assert len(wanted) <= len(made)  # what was not known to be the last sentence ends with a pause
    assert np.abs(made[: len(wanted) - 200] - wanted[:-200]).max() <= 2  # soxr rounds with dither
    assert {chunk.sample_rate for chunk in chunks} == {options.get("sample_rate", 22_050)}


def test_what_has_no_sound_makes_none():
    narrator = ml.tts.Narrator(SynthesisOptions(), caller=Caller())
    assert [len(narrator.speak(piece).samples) for piece in ("...", " ", "\n")] == [0, 0, 0]
    assert len(narrator.speak("Hello.").samples) > 5_000


@pytest.mark.parametrize(
    ("options", "param"),
    [({"voice": "espeak:nobody"}, "voice"), ({"speed": 9.0}, "speed"), ({"sample_rate": 1}, "sample_rate"),
     ({"language": "xx"}, "language"), ({"model": "none"}, "model")],
)  # fmt: skip
def test_refuses_options_at_once(options, param):
    with pytest.raises(errors.InvalidRequest) as refused:
        ml.tts.Narrator(SynthesisOptions(**options), caller=Caller())
    assert refused.value.param == param


def test_cancelling_stops_it():
    narrator = ml.tts.Narrator(SynthesisOptions(), caller=Caller())
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        narrator.speak("Never said.", cancel)


def test_whoever_would_have_to_wait_goes_first():
    listener = Listener(Caller("acme"))
    assert listener.turn() == Caller("acme", "realtime")
    listener.gets(AHEAD_SECONDS - 1)
    assert listener.turn().priority == "realtime"
    listener.gets(2.0)
    assert listener.turn() == Caller("acme")
    assert AHEAD_SECONDS < listener.ahead_seconds <= AHEAD_SECONDS + 1
    listener.forget()
    assert (listener.ahead_seconds, listener.turn().priority) == (0.0, "realtime")
