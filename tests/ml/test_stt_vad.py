import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.audio.decode import decode
from ml.stt.vad import (
    FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    SpeechActivity,
    SpeechDetector,
    VadOptions,
    find_windows,
    frame_powers,
    measure_activity,
    speech_seconds,
)
from tests.ml.stt_support import REAL, needs_recordings, owned_clips, pcm_of, silence, write_pcm


def activity_of(probabilities, powers=None):
    p = np.asarray(probabilities, np.float32)
    powers = np.full(len(p), 0.01, np.float32) if powers is None else np.asarray(powers, np.float32)
    return SpeechActivity(p, powers, len(p) / FRAMES_PER_SECOND)


def frames(seconds, probability):
    return [probability] * round(seconds * FRAMES_PER_SECOND)


@pytest.mark.parametrize("chunk", [1, 160, 511, 512, 4_000])
def test_stream_in_any_chunks_equals_the_whole(chunk):
    samples = pcm_of(owned_clips()[0])[: 3_000 if chunk == 1 else 40_001]
    whole = SpeechDetector()
    expected = np.concatenate([whole.push(samples), whole.flush()])
    stream = SpeechDetector()
    parts = [stream.push(samples[start : start + chunk]) for start in range(0, len(samples), chunk)]
    heard = np.concatenate([*parts, stream.flush()])
    assert len(heard) == -(-len(samples) // FRAME_SAMPLES)
    np.testing.assert_allclose(heard, expected, atol=1e-4)


def test_agrees_with_the_reference_implementation():
    from faster_whisper.vad import get_vad_model

    samples = pcm_of(owned_clips()[0])
    samples = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES]
    np.testing.assert_allclose(
        SpeechDetector().push(samples), get_vad_model()(samples.astype(np.float32) / 32768).reshape(-1), atol=1e-4
    )


def test_finds_speech_between_silences(tmp_path):
    speech = pcm_of(owned_clips()[0])
    path = write_pcm(tmp_path / "a.flac", np.concatenate([silence(3), speech, silence(4), speech, silence(2)]))
    with decode(path) as audio:
        activity = measure_activity(audio)
    length = len(speech) / 16_000
    first, second = find_windows(activity)
    for window, start in ((first, 3), (second, 3 + length + 4)):
        assert start <= window.start < start + 0.6
        assert start + length - 0.7 < window.end <= start + length + 0.3
    assert 1.4 * length < speech_seconds(activity) < 2 * length


def test_frame_powers_of_a_partial_frame():
    samples = np.full(FRAME_SAMPLES + 10, 16_384, np.int16)
    np.testing.assert_allclose(frame_powers(samples), [0.25, 0.25])


def test_short_pauses_stay_inside_a_window():
    probabilities = frames(2, 0.0) + frames(1, 0.9) + frames(0.3, 0.0) + frames(1, 0.9) + frames(2, 0.0)
    assert len(find_windows(activity_of(probabilities))) == 1
    probabilities = frames(2, 0.0) + frames(1, 0.9) + frames(0.8, 0.0) + frames(1, 0.9) + frames(2, 0.0)
    assert len(find_windows(activity_of(probabilities))) == 2


def test_weak_syllables_do_not_end_speech_and_clicks_do_not_start_it():
    weak = frames(1, 0.0) + frames(1, 0.9) + frames(1, 0.4) + frames(1, 0.9) + frames(1, 0.0)
    assert len(find_windows(activity_of(weak), VadOptions(min_pause_seconds=0.1))) == 1
    assert find_windows(activity_of([*frames(1, 0.4), 0.9, *frames(1, 0.0)])) == ()


def test_long_speech_is_cut_where_it_is_quietest():
    probabilities = np.array(frames(40, 0.95))
    dip = round(15 * FRAMES_PER_SECOND)
    probabilities[dip - 4 : dip + 5] = 0.6
    windows = find_windows(activity_of(probabilities), VadOptions(max_window_seconds=20))
    assert windows[0].end == pytest.approx(15, abs=0.1)
    assert windows[0].end == windows[1].start


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=400), st.floats(1, 10))
def test_windows_are_ordered_apart_and_bounded(probabilities, limit):
    activity = activity_of(probabilities)
    windows = find_windows(activity, VadOptions(max_window_seconds=limit, min_speech_seconds=0))
    edges = [edge for window in windows for edge in (window.start, window.end)]
    assert edges == sorted(edges)
    assert all(0 < window.duration_seconds <= limit for window in windows)
    assert not windows or 0 <= windows[0].start < windows[-1].end <= activity.duration_seconds
    for index in np.flatnonzero(np.array(probabilities) >= 0.5):  # no sure frame of speech is lost
        middle = (index + 0.5) / FRAMES_PER_SECOND
        assert any(window.start <= middle <= window.end for window in windows)


@needs_recordings
def test_every_recording_of_speech_has_a_window():
    for path in sorted((REAL / "clips").iterdir()):
        with decode(path) as audio:
            assert find_windows(measure_activity(audio)), path.name
