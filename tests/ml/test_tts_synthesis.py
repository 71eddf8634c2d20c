"""`ml.tts` through its public interface, on the real engine."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ml.tts
from ml import errors
from ml.tts.engines import espeak
from ml.tts.engines.turns import Turns
from ml.types import SynthesisOptions

PANGRAM = "The quick brown fox jumps over the lazy dog. And then it sleeps, all day long."


def speak(text, **options):
    """All samples, shape (samples,), int16."""
    return np.concatenate([chunk.samples for chunk in ml.tts.synthesize(text, SynthesisOptions(**options))])


def seconds(text, **options):
    return len(speak(text, **options)) / ml.tts.output_sample_rate(SynthesisOptions(**options))


def fundamental(samples, rate=22050):
    """Hertz: the median over voiced frames of the highest autocorrelation peak between 40 and 600 Hz."""
    frame, found = 2048, []
    for start in range(0, len(samples) - frame, frame // 4):
        window = samples[start : start + frame].astype(float)
        if (window**2).mean() < 1e5:
            continue
        spectrum = np.fft.rfft((window - window.mean()) * np.hanning(frame), 4 * frame)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)
        low, high = rate // 600, rate // 40
        lag = low + int(correlation[low:high].argmax())
        if correlation[lag] > 0.4 * correlation[0]:
            found.append(rate / lag)
    return float(np.median(found))


def test_yields_a_chunk_for_each_sentence():
    chunks = list(ml.tts.synthesize("Hello there. How are you, Mr. Smith? It is 3.14.", SynthesisOptions()))
    assert [chunk.text for chunk in chunks] == ["Hello there.", "How are you, Mr. Smith?", "It is 3.14."]
    assert {chunk.sample_rate for chunk in chunks} == {22050}
    assert all(chunk.samples.dtype == np.int16 and chunk.samples.any() for chunk in chunks)


def streamed(text, **options):
    return list(ml.tts.synthesize(text, SynthesisOptions(**options), streaming=True))


@pytest.mark.parametrize("voice", ["espeak:en-us", "espeak:de", "espeak:hi+f2"])
@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_a_streamed_sentence_begins_with_a_clause_that_sounds_as_it_does_within(voice, speed):
    text = "The quick brown fox jumps over the lazy dog, and then it sleeps; all day long, in the warm and sunny yard."
    first, *others = streamed(text, voice=voice, speed=speed)
    assert first.text == "The quick brown fox jumps over the lazy dog,"
    whole = speak(text, voice=voice, speed=speed)
    clause = np.trim_zeros(first.samples[: -round(0.05 * 22050)], "b")  # its last pause may be longer
    same = min(len(clause), int(0.9 * len(first.samples)))
    assert np.abs(whole[:same].astype(int) - first.samples[:same]).max() <= 1
    seconds_apart = (sum(len(chunk.samples) for chunk in (first, *others)) - len(whole)) / 22050
    assert abs(seconds_apart) < 0.05


def test_streamed_and_whole_speech_say_the_same():
    text = "Well, this is the first sentence of a longer text, which has clauses. And this is, well, the second one."
    chunks = streamed(text)
    assert len(chunks) > 2
    assert " ".join(chunk.text for chunk in chunks) == text
    assert [chunk.text for chunk in ml.tts.synthesize(text, SynthesisOptions())] == [
        text[: text.index(" And")], text[text.index("And") :],
    ]  # fmt: skip


def test_hundred_concurrent_requests_get_their_own_speech():
    voices = ("espeak:en-us", "espeak:fr-fr+f2", "espeak:hi", "espeak:en-us+whisper", "espeak:cmn+klatt4")
    jobs = [(f"Request {number} of many, says {number * 7}. Goodbye!", voices[number % 5]) for number in range(100)]
    alone = [speak(text, voice=voice).tobytes() for text, voice in jobs]
    with ThreadPoolExecutor(100) as threads:
        together = list(threads.map(lambda job: speak(job[0], voice=job[1]).tobytes(), jobs))
    assert together == alone
    assert len(set(alone)) == 100


def test_survives_the_death_of_its_workers():
    before = speak(PANGRAM).tobytes()
    chunks = ml.tts.synthesize(PANGRAM, SynthesisOptions())
    next(chunks)
    killed = espeak._pool().pids()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: speak(PANGRAM).tobytes(), range(20)))
    assert set(results) == {before}
    assert not set(killed) & set(espeak._pool().pids())


def test_verifies_before_the_first_chunk_is_asked_for():
    with pytest.raises(errors.InvalidRequest):
        ml.tts.synthesize("", SynthesisOptions())


@pytest.mark.parametrize("text", ["", "   \n", "...", "!?", "\x00", "\ud800", "\u200b\ufeff", "\u0301" * 9, "\x01\x02"])
def test_refuses_text_without_anything_to_speak(text):
    with pytest.raises(errors.InvalidRequest) as refused:
        ml.tts.synthesize(text, SynthesisOptions())
    assert refused.value.param == "text"


@pytest.mark.parametrize(
    ("options", "error", "param"),
    [
        ({"speed": 0.2}, errors.InvalidRequest, "speed"),
        ({"speed": 4.1}, errors.InvalidRequest, "speed"),
        ({"speed": float("nan")}, errors.InvalidRequest, "speed"),
        ({"pitch": -12.5}, errors.InvalidRequest, "pitch"),
        ({"volume": 2.1}, errors.InvalidRequest, "volume"),
        ({"volume": -0.1}, errors.InvalidRequest, "volume"),
        ({"sample_rate": 7999}, errors.InvalidRequest, "sample_rate"),
        ({"sample_rate": 96000}, errors.InvalidRequest, "sample_rate"),
        ({"voice": "espeak:xx"}, errors.UnknownVoice, "voice"),
        ({"voice": "espeak:en-us+nobody"}, errors.UnknownVoice, "voice"),
        ({"voice": "espeak:en-us+f2+f3"}, errors.UnknownVoice, "voice"),
        ({"voice": "../../etc/passwd"}, errors.UnknownVoice, "voice"),
        ({"model": "gpt"}, errors.UnknownModel, "model"),
        ({"language": "xx-YY"}, errors.LanguageNotSupported, "language"),
        ({"language": ""}, errors.LanguageNotSupported, "language"),
        ({"voice": "espeak:fr-fr", "language": "en-US"}, errors.LanguageNotSupported, "language"),
    ],
)
def test_refuses_options_by_name(options, error, param):
    with pytest.raises(error) as refused:
        ml.tts.synthesize("Hello.", SynthesisOptions(**options))
    assert refused.value.param == param


def test_refuses_a_text_that_is_too_long():
    with pytest.raises(errors.InvalidRequest, match="characters"):
        ml.tts.synthesize("a" * (ml.tts.MAX_CHARACTERS + 1), SynthesisOptions())


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        (None, "espeak:en-us"), ("en", "espeak:en-us"), ("en_US", "espeak:en-us"), ("EN-gb", "espeak:en-gb"),
        ("en-IN", "espeak:en-gb"), ("en-XX", "espeak:en-us"), ("zh", "espeak:cmn"), ("zh-CN", "espeak:cmn"),
        ("zh-HK", "espeak:yue"), ("cmn", "espeak:cmn"), ("pt", "espeak:pt"), ("pt-BR", "espeak:pt-br"),
        ("es-MX", "espeak:es-419"), ("es-ES", "espeak:es"), ("no", "espeak:nb"), ("hi-IN", "espeak:hi"),
        ("de-AT", "espeak:de"), ("fr-CA", "espeak:fr-fr"), ("fr-CH", "espeak:fr-ch"), ("sr-Latn-RS", "espeak:sr"),
    ],
)  # fmt: skip
def test_picks_the_voice_of_the_language(language, voice):
    assert ml.tts.resolve(SynthesisOptions(language=language)).id == voice


def test_lists_voices_with_unique_ids_and_proper_tags():
    voices = ml.tts.voices()
    assert len(voices) >= 130
    assert len({voice.id for voice in voices}) == len(voices)
    tags = {voice.id: voice.language for voice in voices}
    assert tags["espeak:pt-br"] == "pt-BR"
    assert tags["espeak:cmn"] == "zh-CN"
    assert tags["espeak:en-gb-x-rp"] == "en-GB-x-rp"
    assert all(ml.tts.resolve(SynthesisOptions(voice=voice.id)) == voice for voice in voices)
    assert all(ml.tts.resolve(SynthesisOptions(language=voice.language)) for voice in voices)


def test_every_voice_speaks():
    def audible(voice):
        return np.abs(speak("hello 12", voice=voice).astype(int)).max() > 1000

    ids = [voice.id for voice in ml.tts.voices()]
    ids += [f"espeak:en-us+{variant.id}" for variant in ml.tts.variants()]
    with ThreadPoolExecutor(4) as threads:
        silent = [voice for voice, heard in zip(ids, threads.map(audible, ids), strict=True) if not heard]
    assert silent == []


def test_a_variant_changes_the_voice():
    male, female = speak(PANGRAM, voice="espeak:en-us"), speak(PANGRAM, voice="espeak:en-us+f2")
    assert fundamental(female) > 1.5 * fundamental(male)
    assert ml.tts.resolve(SynthesisOptions(voice="espeak:en-us+f2")).gender == "female"


@pytest.mark.parametrize("speed", [0.25, 0.4, 0.5, 0.75, 1.3, 2.0, 2.5, 3.0, 4.0])
def test_speed_scales_the_duration(speed):
    assert seconds(PANGRAM, speed=speed) * speed == pytest.approx(seconds(PANGRAM), rel=0.05)


@pytest.mark.parametrize("semitones", [-12, -7, -3, 4, 8, 12])
def test_pitch_moves_the_fundamental_by_semitones(semitones):
    voice = "espeak:en-us+f2"
    moved = fundamental(speak(PANGRAM, voice=voice, pitch=semitones)) / fundamental(speak(PANGRAM, voice=voice))
    assert 12 * np.log2(moved) == pytest.approx(semitones, abs=0.7)
    assert seconds(PANGRAM, voice=voice, pitch=semitones) == pytest.approx(seconds(PANGRAM, voice=voice), rel=0.05)


def test_volume_is_a_gain_that_saturates():
    normal, half, double = (speak(PANGRAM, volume=volume).astype(int) for volume in (1.0, 0.5, 2.0))
    assert np.abs(half - normal / 2).max() <= 1
    assert np.array_equal(double, np.clip(normal * 2, -32768, 32767))
    assert not speak(PANGRAM, volume=0.0).any()


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100, 48000])
def test_resamples_to_the_rate_asked_for(rate):
    chunks = list(ml.tts.synthesize(PANGRAM, SynthesisOptions(sample_rate=rate)))
    assert {chunk.sample_rate for chunk in chunks} == {rate}
    assert sum(chunk.duration_seconds for chunk in chunks) == pytest.approx(seconds(PANGRAM), abs=0.005)


def test_resampling_leaves_no_click_between_chunks():
    import soxr

    streamed = speak(PANGRAM, sample_rate=16000)
    whole = soxr.resample(speak(PANGRAM), 22050, 16000)
    length = min(len(streamed), len(whole))
    assert np.abs(streamed[:length].astype(int) - whole[:length]).max() <= 2


def test_cancelling_stops_the_speech():
    cancel = threading.Event()
    chunks = ml.tts.synthesize(PANGRAM, SynthesisOptions(), cancel=cancel)
    next(chunks)
    cancel.set()
    with pytest.raises(errors.Cancelled):
        next(chunks)
    assert len(speak("Still here."))


def test_cancelling_ends_the_wait_for_a_turn():
    turns, cancel = Turns(1), threading.Event()

    def wait():
        with turns.turn(cancel):
            return True

    with ThreadPoolExecutor(2) as threads:
        with turns.turn(None):
            waiting = threads.submit(wait)
            cancel.set()
            with pytest.raises(errors.Cancelled):
                waiting.result(timeout=5)
        cancel.clear()
        assert threads.submit(wait).result(timeout=5)


def test_a_long_text_starts_soon_and_an_abandoned_one_holds_nothing():
    long = ml.tts.synthesize("This sentence is spoken over and over again. " * 2000, SynthesisOptions())
    assert next(long).duration_seconds < 5
    with ThreadPoolExecutor(4) as threads:  # more than there are processes
        assert all(threads.map(lambda _: len(speak("A short one.")), range(8)))


def test_long_texts_do_not_keep_a_short_one_waiting():
    stop, made = threading.Event(), []

    def read_aloud():
        for chunk in ml.tts.synthesize("This sentence is spoken over and over again. " * 2000, SynthesisOptions()):
            made.append(chunk)
            if stop.is_set():
                return

    with ThreadPoolExecutor(6) as threads:
        readers = [threads.submit(read_aloud) for _ in range(6)]
        while not made:
            assert not any(reader.done() for reader in readers)
        before = len(made)
        speak("A short one.")
        waited = len(made) - before
        stop.set()
    assert waited <= 12  # each of the six had a turn, and those under way


@pytest.mark.parametrize("text", ["<b>bold</b> & more", "[[h@l'oU]] there", "<audio src='/etc/passwd'/> spoken"])
def test_plain_text_is_spoken_literally(text):
    assert seconds(text) > seconds("bold more")


def test_commands_in_the_text_do_not_reach_the_engine():
    assert np.array_equal(speak("go \x0199P\x0180S on"), speak("go 99P80S on"))
    assert np.array_equal(speak("\ufeffhel\u200blo\x00 there"), speak("hello there"))
