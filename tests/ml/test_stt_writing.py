"""Segments that are told while a recording is being heard are those of the whole transcript."""

import contextlib
import random

import pytest

from ml import errors
from ml.stt import pipeline, registry
from ml.stt.engines.base import EngineCapabilities, Hypothesis
from ml.stt.recognition import Heard, recognise
from ml.stt.vad import SpeechSpan
from ml.stt.writing import Writer
from ml.types import Caller, Segment, TranscriptionOptions, Word
from tests.ml.stt_support import normalise, owned_clips, pcm_of, write_audio

PHRASES = (
    "what time is it", "it was twenty three degrees", "at five p m", "the", "and then", "mister smith met alice",
    "call five five five one two three four", "is this your car", "because", "in london", "she said that", "no",
    "write to anna at example dot com", "who came", "damn", "u s a", "i", "",
)  # fmt: skip
ABLE = EngineCapabilities(languages=frozenset({"en"}), word_times=True)
MODEL = registry.ModelInfo("parrot", "parrot", "en-US", ABLE)


class Clock:
    """What a writer needs of the run it belongs to."""

    def stage(self, name):
        return contextlib.nullcontext()

    def show(self, stage, **output):
        pass


def spoken(rng, count):
    """Windows and what is said in them, with short and long pauses between."""
    windows, hypotheses, now = [], [], 0.0
    for _ in range(count):
        now += rng.choice((0.0, 0.1, 0.5, 2.0))
        texts = rng.choice(PHRASES).split()
        words, at = [], 0.0
        for text in texts:
            at += rng.choice((0.0, 0.2, 0.4))
            words.append(Word(text, at, at + 0.3, 0.9))
            at += 0.3
        windows.append(SpeechSpan(now, now + at + 0.1))
        hypotheses.append(Hypothesis(" ".join(texts), tuple(words), 0.9))
        now = windows[-1].end
    return windows, hypotheses


def heard(*hypotheses):
    return Heard(hypotheses, MODEL, "en-US", 1.0)


@pytest.mark.parametrize(
    "options",
    [
        TranscriptionOptions(),
        TranscriptionOptions(redact=True, profanity_filter=True),
        TranscriptionOptions(punctuate=False),
        TranscriptionOptions(itn=False, disable=("truecase",)),
    ],
    ids=["default", "masked", "unpunctuated", "uncased"],
)
def test_piece_by_piece_is_as_at_once(options):
    rng = random.Random(5)
    for count in [0, 1, 2, *(rng.randrange(3, 60) for _ in range(30))]:
        windows, hypotheses = spoken(rng, count)
        whole = Writer(windows, frozenset(), options, Clock())
        whole.hear(0, heard(*hypotheses))
        expected = whole.finish(heard())
        told = []
        pieces = Writer(windows, frozenset(), options, Clock(), told.append)
        for number, hypothesis in enumerate(hypotheses):
            pieces.hear(number, heard(hypothesis))
        assert pieces.finish(heard()) == expected
        assert tuple(told) == expected


def test_a_segment_is_told_when_the_next_is_heard():
    windows, hypotheses = spoken(random.Random(1), 200)
    told = []
    writer = Writer(windows, frozenset(), TranscriptionOptions(), Clock(), told.append)
    said = 0
    for number, hypothesis in enumerate(hypotheses):
        writer.hear(number, heard(hypothesis))
        said += bool(hypothesis.text)
        assert len(told) == max(0, said - 1)
        assert len(writer._sentence) < 40  # what is looked at again does not grow with the recording


# ── On real speech ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """Two clips with a second of silence between."""
    import numpy as np

    pause = np.zeros(16_000, np.float32)
    parts = [part for clip in owned_clips()[:2] for part in (pcm_of(clip).astype(np.float32) / 32768, pause)]
    path = tmp_path_factory.mktemp("writing") / "two.wav"
    write_audio(path, np.concatenate(parts), 16_000, codec="pcm_s16le")
    return path


def test_pipeline_tells_segments_while_it_hears(sentences):
    told, shares = [], []

    def tell(segment: Segment):
        told.append(segment)
        shares.append(progress[-1])

    progress = [0.0]
    streamed = pipeline.transcribe(
        sentences,
        TranscriptionOptions(word_timestamps=True),
        progress=lambda share, stage: progress.append(share),
        on_segment=tell,
    )
    assert tuple(told) == streamed.segments
    assert len(told) >= 2
    assert shares[0] < 1.0
    assert streamed.text == " ".join(segment.text for segment in told)
    assert streamed.stages == tuple(streamed.timings)
    assert all(seconds >= 0 for seconds in streamed.timings.values())
    plain = pipeline.transcribe(sentences, TranscriptionOptions(word_timestamps=True))
    assert normalise(plain.text) == normalise(streamed.text)
    assert (plain.text, plain.segments, plain.stages) == (streamed.text, streamed.segments, streamed.stages)


# ── Another model takes over ────────────────────────────────────────────────────────────────────────────────────────


class Parrot:
    """Says its name in every window, and breaks in one of them."""

    def __init__(self, name, confidence=0.9, breaks_at=None):
        self.name, self.confidence, self.breaks_at = name, confidence, breaks_at
        self.capabilities = ABLE
        self.calls = 0

    def recognise(self, windows, *, cancel=None):
        self.calls += len(windows)
        if self.breaks_at is not None and self.calls > self.breaks_at:
            raise errors.EngineFailed("broken")
        return [Hypothesis(self.name, (), self.confidence) for _ in windows]

    def close(self):
        pass


@pytest.fixture
def parrots():
    """Registers recognisers, each to be preferred to the next: `parrots(first, second)` gives their resolution."""
    names = []

    def make(*engines, fallback_confidence=0.0):
        infos = []
        for engine in engines:
            info = registry.ModelInfo(engine.name, "parrot", "en-US", ABLE, 20, fallback_confidence=fallback_confidence)
            registry.register(info, lambda engine=engine: engine)
            names.append(engine.name)
            infos.append(info)
        return registry.Resolution(infos[0], "en-US", 1.0, tuple(infos))

    yield make
    for name in names:
        registry.unregister(name)


def told_by(resolution):
    from ml.stt.engines.base import Window

    windows = [Window(pcm_of(owned_clips()[0])[:8000]) for _ in range(3)]
    told = []
    caller = Caller("writing")
    heard = recognise(
        windows, resolution, caller=caller, on_heard=lambda number, part: told.append((number, part.hypotheses[0].text))
    )
    return told, heard


def test_a_model_that_breaks_before_anything_was_told_is_replaced(parrots):
    told, heard = told_by(parrots(Parrot("polly", breaks_at=0), Parrot("coco")))
    assert told == [(0, "coco"), (1, "coco"), (2, "coco")]
    assert heard.model.name == "coco"


def test_a_model_that_breaks_later_is_not(parrots):
    with pytest.raises(errors.EngineFailed):
        told_by(parrots(Parrot("polly", breaks_at=1), Parrot("coco")))


def test_a_model_that_may_be_unsure_is_waited_for(parrots):
    told, heard = told_by(parrots(Parrot("polly", confidence=0.1), Parrot("coco"), fallback_confidence=0.5))
    assert told == [(0, "coco"), (1, "coco"), (2, "coco")]
    assert heard.fallback_reason == "polly was unsure (confidence 0.10, under 0.5)."
