"""High-pass filter, echo cancellation, noise suppression: on samples, and in the pipeline."""

import threading

import jiwer
import numpy as np
import pytest

import ml.stt
from ml import errors
from ml.audio.decode import decode
from ml.stt import vad
from ml.stt.frontend import echo, noise
from ml.stt.frontend.high_pass import filter_samples, has_rumble, high_pass
from ml.stt.frontend.pcm import BLOCK_SAMPLES, map_blocks
from ml.stt.frontend.snr import utterance_snr_db
from ml.types import TranscriptionOptions
from tests.ml.stt_support import normalise, owned_clips, pcm_of, tone, write_audio, write_pcm

needs_echo = pytest.mark.skipif(not echo.available(), reason="the livekit package is not installed")
needs_noise = pytest.mark.skipif(not noise.available(), reason="the pyrnnoise package is not installed")


def mapped(samples):
    return map_blocks([samples.astype(np.int16)], None)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples.astype(float))) + 1e-9)


def speech(clip=0):
    return pcm_of(owned_clips()[clip])


# ── High-pass ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hertz", "low_db", "high_db"), [(50, -40, -15), (60, -40, -10), (200, -0.1, 0.1), (1000, -0.1, 0.1)]
)
def test_high_pass_takes_hum_and_leaves_the_voice(hertz, low_db, high_db):
    hum = (tone(hertz, 2, 16_000) * 20_000).astype(np.int16)
    assert low_db <= level_db(filter_samples(hum)[8_000:-8_000]) - level_db(hum) <= high_db


def test_high_pass_takes_an_offset_and_moves_nothing():
    samples = speech()
    filtered = filter_samples(np.clip(samples.astype(np.int32) + 3_000, -32768, 32767).astype(np.int16))
    assert abs(filtered[4_000:-4_000].mean()) < 1
    plain = filter_samples(samples).astype(float)
    lags = [np.dot(plain[100:-100], np.roll(samples, lag)[100:-100].astype(float)) for lag in range(-5, 6)]
    assert np.argmax(lags) == 5


def test_high_pass_in_blocks_equals_at_once():
    samples = np.random.default_rng(0).integers(-9_000, 9_000, BLOCK_SAMPLES + 70_000).astype(np.int16)
    filtered = high_pass(mapped(samples)).samples
    assert len(filtered) == len(samples)
    assert np.abs(filtered.astype(int) - filter_samples(samples)).max() <= 1


def test_only_what_holds_rumble_is_filtered(tmp_path):
    assert not has_rumble(mapped(speech()))
    hum = speech().astype(float) + 1_500 * np.sin(2 * np.pi * 50 * np.arange(len(speech())) / 16_000)
    assert has_rumble(mapped(hum))
    result = ml.stt.transcribe(write_pcm(tmp_path / "hum.flac", hum.clip(-32768, 32767).astype(np.int16)))
    assert result.stages[:3] == ("decode", "high_pass", "vad")
    assert jiwer.wer(owned_clips()[0].text, normalise(result.text)) < 0.5


def test_a_cancelled_filter_stops():
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        high_pass(mapped(speech()), cancel=cancel)


# ── Echo ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def room(samples, delay):
    """What a microphone hears of a loudspeaker: later, softer, with reverberation."""
    rng = np.random.default_rng(0)
    response = np.zeros(delay + 2_400)
    response[delay] = 0.5
    response[delay:] += 0.05 * rng.standard_normal(2_400) * np.exp(-np.arange(2_400) / 300)
    size = len(samples) + len(response)
    heard = np.fft.irfft(np.fft.rfft(samples.astype(float), size) * np.fft.rfft(response, size), size)
    return heard[: len(samples)]


@needs_echo
@pytest.mark.parametrize("delay", [0, 800, 12_000])
def test_estimates_the_delay_of_an_echo(delay):
    far = np.tile(speech(0), 2)
    assert echo.estimate_delay(room(far, delay).astype(np.int16), far) == delay


def test_finds_no_delay_where_there_is_no_echo():
    assert (
        echo.estimate_delay(speech(0), np.random.default_rng(0).integers(-5_000, 5_000, 70_000).astype(np.int16)) == 0
    )
    assert echo.estimate_delay(speech(0), np.zeros(16_000, np.int16)) == 0


@pytest.fixture(scope="module")
def call():
    """(near, far, echo), (n,) float each: the far end speaks for ten seconds, then the near end answers."""
    far_speech = np.tile(speech(3), 2).astype(float)
    near_speech = speech(0).astype(float)
    far = np.concatenate([far_speech, np.zeros(len(near_speech) + 8_000)])
    near = np.concatenate([np.zeros(len(far_speech) + 8_000), near_speech])
    return near, far, room(far, 1_600)


@needs_echo
def test_echo_is_attenuated_and_the_near_end_kept(call):
    near, far, echoed = call
    cleaned = echo.cancel_echo(mapped(near + echoed), mapped(far)).samples
    assert len(cleaned) == len(near)
    begin = len(near) - len(speech(0))
    settled = slice(32_000, begin - 8_000)
    assert level_db(echoed[settled]) - level_db(cleaned[settled]) > 15
    assert level_db(cleaned[begin:]) == pytest.approx(level_db(near[begin:]), abs=2)


@needs_echo
def test_pipeline_hears_only_the_near_end(tmp_path, call):
    near, far, echoed = call
    mixed = write_pcm(tmp_path / "mixed.flac", (near + echoed).astype(np.int16))
    reference = write_pcm(tmp_path / "far.flac", far.astype(np.int16))
    both = ml.stt.transcribe(mixed)
    alone = ml.stt.transcribe(mixed, TranscriptionOptions(reference_audio=reference))
    assert "echo_cancellation" not in both.stages
    assert alone.stages[:3] == ("decode", "echo_cancellation", "vad")
    wanted = owned_clips()[0].text
    assert "president" in normalise(both.text)
    assert "president" not in normalise(alone.text)
    assert jiwer.wer(wanted, normalise(alone.text)) < 0.3


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (TranscriptionOptions(reference_audio="/nonexistent.wav"), "reference_audio"),
        (TranscriptionOptions(enable=("echo_cancellation",)), "enable"),
        (TranscriptionOptions(enable=("loudness",)), "enable"),
        (TranscriptionOptions(disable=("decode",)), "disable"),
        (TranscriptionOptions(enable=("itn",), disable=("itn",)), "disable"),
    ],
)
def test_refuses_switches_before_touching_the_file(options, param):
    with pytest.raises(errors.InvalidRequest) as caught:
        ml.stt.transcribe("/nonexistent/file.wav", options)
    assert caught.value.param == param


# ── Noise ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def noisy(level, clip=0):
    """(n,) int16: a clip in white noise so many dB under it (None: without), with a second more on either side."""
    samples = np.pad(speech(clip).astype(float), 16_000)
    if level is not None:
        power = np.mean(np.square(speech(clip)[4_800:-4_800].astype(float)))
        samples += np.random.default_rng(0).standard_normal(len(samples)) * np.sqrt(power / 10 ** (level / 10))
    return samples.clip(-32768, 32767).astype(np.int16)


def measured(samples):
    activity = vad.measure_activity(mapped(samples))
    return activity, vad.find_windows(activity)


@pytest.mark.parametrize("level", [0, 10, 20, 30])
def test_estimates_the_snr_of_an_utterance(level):
    activity, windows = measured(noisy(level))
    assert utterance_snr_db(activity, windows[0]) == pytest.approx(level, abs=3.5)


@needs_noise
def test_suppression_raises_the_snr():
    before = noisy(5)
    after = noise.suppress_samples(before)
    assert len(after) == len(before)
    activity, windows = measured(before)
    cleaned, _ = measured(after)
    assert utterance_snr_db(cleaned, windows[0]) > utterance_snr_db(activity, windows[0]) + 10
    lags = [
        np.dot(after[200:-200].astype(float), np.roll(before, lag)[200:-200].astype(float)) for lag in range(-40, 41)
    ]
    assert abs(int(np.argmax(lags)) - 40) <= 2


@needs_noise
def test_suppression_touches_only_the_spans_that_it_is_given():
    samples = noisy(5)
    cleaned = noise.suppress(mapped(samples), [vad.SpeechSpan(2.0, 3.0)]).samples
    assert np.array_equal(cleaned[:32_000], samples[:32_000])
    assert np.array_equal(cleaned[48_000:], samples[48_000:])
    assert not np.array_equal(cleaned[32_000:48_000], samples[32_000:48_000])


@needs_noise
def test_pipeline_suppresses_noise_but_leaves_clean_speech(tmp_path):
    loud, clean = write_pcm(tmp_path / "loud.flac", noisy(5)), write_pcm(tmp_path / "clean.flac", noisy(None))
    assert "noise_suppression" not in ml.stt.transcribe(clean).stages
    result = ml.stt.transcribe(loud)
    assert result.stages[:3] == ("decode", "vad", "noise_suppression")
    assert set(result.timings) == set(result.stages)
    assert all(seconds >= 0 for seconds in result.timings.values())


@needs_noise
def test_stages_are_switched_by_name(tmp_path):
    path = owned_clips()[1].path
    off = ("high_pass", "noise_suppression", "punctuate", "truecase", "itn", "rescore", "language")
    bare = ml.stt.transcribe(path, TranscriptionOptions(disable=off))
    assert bare.stages == ("decode", "vad", "recognise", "score")
    assert bare.text == normalise(bare.text)
    forced = ml.stt.transcribe(
        path, TranscriptionOptions(enable=("noise_suppression",), redact=True, profanity_filter=True)
    )
    assert forced.stages == (
        "decode", "vad", "noise_suppression", "recognise", "punctuate", "truecase", "itn",
        "profanity_filter", "redact", "score",
    )  # fmt: skip


def test_cleaning_keeps_length_of_any_audio(tmp_path):
    for length in (1, 159, 161, 16_001):
        path = write_audio(tmp_path / f"{length}.wav", tone(300, 2, 16_000)[:length], 16_000, codec="pcm_s16le")
        with decode(path) as audio:
            assert len(high_pass(audio).samples) == length
            if echo.available():
                assert len(echo.cancel_echo(audio, audio).samples) == length
        if noise.available():
            assert len(noise.suppress_samples(np.ones(length, np.int16))) == length
