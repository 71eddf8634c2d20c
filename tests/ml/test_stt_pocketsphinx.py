import os
import re
import threading
import time

import numpy as np
import pytest

from ml import errors
from ml.stt.engines.base import Recognizer, Window
from ml.stt.engines.pocketsphinx import Decoder, PocketSphinx
from ml.stt.engines.pocketsphinx_live import LIVE_SEARCH
from tests.ml.stt_support import kill_busy_worker, owned_clips, pcm_of


@pytest.fixture(scope="module")
def engine():
    engine = PocketSphinx(processes=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def windows():
    return [Window(pcm_of(clip), language="en") for clip in owned_clips()]


def test_is_a_recognizer(engine):
    assert isinstance(engine, Recognizer)


def test_result_does_not_depend_on_what_was_heard_before(engine, windows):
    a, b = windows[0], windows[3]
    first, between, again = engine.recognise([a, b, a])
    assert first == again
    fresh = PocketSphinx(processes=1)
    try:
        assert fresh.recognise([b]) == [between]
    finally:
        fresh.close()


def test_live_result_does_not_depend_on_what_was_heard_before(windows):
    """A decoder is used for one speaker after the other."""

    def heard(decoder, window):
        decoder.hear(window.samples.tobytes())
        return decoder.end(2)

    used, fresh = Decoder(LIVE_SEARCH), Decoder(LIVE_SEARCH)
    first, _, again = (heard(used, windows[place]) for place in (3, 0, 3))
    assert first == again == heard(fresh, windows[3])


def test_words_are_clean_and_in_order(engine, windows):
    for window, hypothesis in zip(windows, engine.recognise(windows), strict=True):
        assert hypothesis.text == " ".join(word.text for word in hypothesis.words)
        assert re.fullmatch(r"[a-z' ]+", hypothesis.text)
        edges = [edge for word in hypothesis.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= len(window.samples) / 16_000
        assert all(0 <= word.confidence <= 1 for word in hypothesis.words)
        assert 0 < hypothesis.confidence <= 1


def test_word_times_match_the_audio(engine):
    """A word that is cut out by its times is where the sound is: silence in front moves all by as much."""
    samples = pcm_of(owned_clips()[1])
    plain, moved = engine.recognise([Window(samples), Window(np.concatenate([np.zeros(16_000, np.int16), samples]))])
    assert [word.text for word in plain.words] == [word.text for word in moved.words]
    for before, after in zip(plain.words, moved.words, strict=True):
        assert after.start - before.start == pytest.approx(1.0, abs=0.15)


def test_nothing_and_almost_nothing(engine):
    for length in (0, 1, 160, 800):
        (hypothesis,) = engine.recognise([Window(np.zeros(length, np.int16))])
        assert (hypothesis.text, hypothesis.words) == ("", ())


def test_refuses_another_language(engine, windows):
    with pytest.raises(errors.InvalidRequest):
        engine.recognise([Window(windows[0].samples, language="de")])


def test_killed_process_costs_nothing(engine, windows):
    expected, heard = engine.recognise(windows), []
    (killed,) = engine.pool.pids()
    assert kill_busy_worker(engine.pool, lambda: heard.extend(engine.recognise(windows))) is None
    assert heard == expected
    assert killed not in engine.pool.pids()


def test_cancelling_ends_the_computing(engine, windows):
    engine.recognise(windows[:1])
    (pid,) = engine.pool.pids()
    cancel = threading.Event()
    threading.Timer(0.2, cancel.set).start()
    started = time.monotonic()
    with pytest.raises(errors.Cancelled):
        engine.recognise([Window(np.tile(windows[0].samples, 4))], cancel=cancel)
    assert time.monotonic() - started < 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
