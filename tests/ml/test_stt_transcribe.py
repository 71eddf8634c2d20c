import json
import subprocess
import sys
import threading
import time

import jiwer
import numpy as np
import pytest

import ml.stt
from ml import errors
from ml.types import TranscriptionOptions
from tests.ml.stt_support import (
    ROOT,
    needs_recordings,
    normalise,
    owned_clips,
    pcm_of,
    real_clips,
    silence,
    tone,
    write_audio,
    write_pcm,
)

STAGES = ("decode", "vad", "recognise", "punctuate", "truecase", "itn", "score")
"""Of clean English speech, with nothing installed."""

WORDS = TranscriptionOptions(word_timestamps=True)


@pytest.fixture(scope="module")
def minute():
    """(n,) int16: a minute of speech."""
    speech = np.concatenate([pcm_of(clip) for clip in owned_clips()])
    return np.tile(speech, -(-960_000 // len(speech)))[:960_000]


def test_owned_clips():
    results = {clip: ml.stt.transcribe(clip.path, WORDS) for clip in owned_clips()}
    assert jiwer.wer([clip.text for clip in results], [normalise(result.text) for result in results.values()]) < 0.15
    for clip, result in results.items():
        assert result.duration_seconds == pytest.approx(clip.duration_seconds, abs=0.05)
        assert result.stages == STAGES
        assert set(result.timings) == set(result.stages)
        assert (result.language, result.language_confidence) == ("en-US", 0.0)
        assert result.model_used == "pocketsphinx-en-us"
        assert 0.2 < result.confidence <= 1
        assert result.quality.score > 0.5
        assert 0.6 < result.quality.speech_ratio <= 1
        assert_consistent(result)


def assert_consistent(result):
    assert result.text == " ".join(segment.text for segment in result.segments)
    edges = [edge for segment in result.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert not edges or (edges[0] >= 0 and edges[-1] <= result.duration_seconds)
    for segment in result.segments:
        assert segment.text == " ".join(word.text for word in segment.words)
        assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


@needs_recordings
def test_real_recordings():
    """Read speech of several speakers, codecs and rates; the whole set is in the benchmark."""
    names = ("TTS-LJ001-0003.wav", "pocketsphinx-005.wav", "speechbrain-spk1_snt5.wav", "speechbrain-spk2_snt1.wav")
    clips = [clip for clip in real_clips() if clip.path.name in names]
    results = [ml.stt.transcribe(clip.path, WORDS) for clip in clips]
    assert jiwer.wer([clip.text for clip in clips], [normalise(result.text) for result in results]) < 0.35
    for result in results:
        assert_consistent(result)


def test_segments_without_words_unless_asked():
    path = owned_clips()[1].path
    plain, worded = ml.stt.transcribe(path), ml.stt.transcribe(path, WORDS)
    assert all(segment.words == () for segment in plain.segments)
    assert all(segment.words for segment in worded.segments)
    assert (plain.text, plain.confidence) == (worded.text, worded.confidence)


NOISES = {
    "digital silence": lambda rng, n: np.zeros(n),
    "white noise": lambda rng, n: 0.3 * rng.standard_normal(n).clip(-3, 3) / 3,
    "quiet white noise": lambda rng, n: 0.003 * rng.standard_normal(n),
    "pink noise": lambda rng, n: pink(rng, n, 0.3),
    "loud pink noise": lambda rng, n: pink(rng, n, 0.99),
    "tone": lambda rng, n: tone(440, n / 16_000, 16_000),
    "square buzz": lambda rng, n: 0.3 * np.sign(tone(150, n / 16_000, 16_000)),
    "clicks": lambda rng, n: 1.0 * (np.arange(n) % 4_000 < 3),
    "music": lambda rng, n: music(rng, n, 0.5),
    "quiet music": lambda rng, n: music(rng, n, 0.05),
}


def pink(rng, n, peak):
    spectrum = np.fft.rfft(rng.standard_normal(n))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), n)
    return peak * noise / np.abs(noise).max()


def music(rng, n, peak):
    """Plucked chords of a major scale, two a second."""
    mix = np.zeros(n)
    for start in range(0, n, 8_000):
        t = np.arange(min(8_000, n - start)) / 16_000
        for hertz in 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 3) / 12):
            mix[start : start + len(t)] += np.exp(-3 * t) * sum(
                np.sin(2 * np.pi * h * hertz * t) / h for h in range(1, 6)
            )
    return peak * mix / np.abs(mix).max()


@pytest.mark.parametrize("kind", NOISES)
def test_what_is_not_speech_gives_no_words(tmp_path, kind):
    samples = NOISES[kind](np.random.default_rng(0), 16_000 * 12)
    path = write_audio(tmp_path / "noise.wav", samples.astype(np.float32), 16_000, codec="pcm_s16le")
    result = ml.stt.transcribe(path)
    assert (result.text, result.segments, result.confidence) == ("", (), 0.0)
    assert result.duration_seconds == 12


@pytest.mark.parametrize(
    ("options", "error", "param"),
    [
        (TranscriptionOptions(model="whisper-huge"), errors.UnknownModel, "model"),
        (TranscriptionOptions(language_hint="de"), errors.LanguageNotSupported, "language_hint"),
        (TranscriptionOptions(language_hint="zh-Hans-CN"), errors.LanguageNotSupported, "language_hint"),
        (TranscriptionOptions(language_hint="english please"), errors.InvalidRequest, "language_hint"),
        (TranscriptionOptions(language_hint=""), errors.InvalidRequest, "language_hint"),
        (TranscriptionOptions(task="translate"), errors.InvalidRequest, "task"),
        (TranscriptionOptions(task="sing"), errors.InvalidRequest, "task"),
        (TranscriptionOptions(diarize=True), errors.InvalidRequest, "diarize"),
    ],
)
def test_refuses_options_before_touching_the_file(options, error, param):
    with pytest.raises(error) as caught:
        ml.stt.transcribe("/nonexistent/file.wav", options)
    assert type(caught.value) is error
    assert caught.value.param == param


def test_unsupported_language_says_what_to_do():
    with pytest.raises(errors.LanguageNotSupported, match=r"'de'.*manage\.py models pull"):
        ml.stt.resolve(TranscriptionOptions(language_hint="de"))


@pytest.mark.parametrize("hint", ["en", "en-US", "en-GB", "EN", "en_AU"])
def test_english_of_any_region_is_served(hint):
    resolution = ml.stt.resolve(TranscriptionOptions(language_hint=hint))
    assert resolution.model.engine == "pocketsphinx"
    assert (resolution.language, resolution.language_confidence) == (hint.replace("_", "-"), 1.0)


def test_lists_models():
    assert "pocketsphinx-en-us" in [model.name for model in ml.stt.models()]


def test_progress_rises_to_one():
    seen = []
    ml.stt.transcribe(owned_clips()[0].path, progress=lambda share, stage: seen.append((share, stage)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {stage for _, stage in seen} >= {"vad", "recognise"}


def test_too_long_and_undecodable_pass_through(tmp_path):
    with pytest.raises(errors.AudioTooLong):
        ml.stt.transcribe(owned_clips()[0].path, max_duration_seconds=2)
    junk = tmp_path / "junk.mp3"
    junk.write_bytes(b"no sound here" * 100)
    with pytest.raises(errors.AudioUndecodable):
        ml.stt.transcribe(junk)


def test_quality_follows_noise_and_clipping(tmp_path):
    speech = pcm_of(owned_clips()[0]).astype(np.float32) / 32768
    speech = np.concatenate([np.zeros(16_000, np.float32), speech, np.zeros(16_000, np.float32)])
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    power = np.mean(speech[16_000:-16_000] ** 2)
    measured = {}
    for db in (10, 20, 30):
        noisy = speech + noise * np.sqrt(power / 10 ** (db / 10))
        path = write_audio(tmp_path / f"{db}.wav", noisy, 16_000, codec="pcm_s16le")
        measured[db] = ml.stt.transcribe(path).quality
        assert measured[db].snr_db == pytest.approx(db, abs=3)
    assert measured[10].score < measured[20].score < measured[30].score
    loud = ml.stt.transcribe(write_audio(tmp_path / "loud.wav", speech * 20, 16_000, codec="pcm_s16le")).quality
    assert loud.clipping_ratio > 0.05
    assert loud.score == 0


def test_other_threads_run_on_meanwhile(tmp_path, minute):
    path = write_pcm(tmp_path / "minute.flac", minute)
    ml.stt.transcribe(owned_clips()[0].path)  # imports hold the GIL too, once
    done = threading.Event()
    gaps = []

    def tick():
        last = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        result = ml.stt.transcribe(path)
    finally:
        done.set()
        ticker.join()
    assert len(result.text.split()) > 100
    assert max(gaps) < 0.1


def test_cancelling_stops_within_a_second(tmp_path, minute):
    path = write_pcm(tmp_path / "minute.flac", minute)
    cancel = threading.Event()
    asked = []

    def on_progress(share, stage):
        if stage == "recognise" and not asked:
            asked.append(time.monotonic())
            threading.Timer(0.3, cancel.set).start()

    with pytest.raises(errors.Cancelled):
        ml.stt.transcribe(path, cancel=cancel, progress=on_progress)
    assert time.monotonic() - asked[0] < 1.3


def test_windows_come_back_in_order(tmp_path):
    """Windows of very different lengths, decoded side by side."""
    clips = [pcm_of(clip) for clip in owned_clips()]
    numbers = clips[1]
    parts = [clips[0], numbers, clips[3], numbers]
    pcm = np.concatenate([np.concatenate([part, silence(1)]) for part in parts])
    result = ml.stt.transcribe(write_pcm(tmp_path / "a.flac", pcm), WORDS)
    assert_consistent(result)
    assert [s.text.split()[0] for s in result.segments] == ["The", "One", "The", "One"]


LONG_RUN = """
import json, re, sys
from pathlib import Path
import ml.stt
from ml.types import TranscriptionOptions
# Not getrusage: its peak is inherited from the process that started this one.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
ml.stt.transcribe(sys.argv[1])
before = peak()
result = ml.stt.transcribe(sys.argv[2], TranscriptionOptions(word_timestamps=True))
words = [(w.text, w.start, w.end) for s in result.segments for w in s.words]
print(json.dumps({"growth": peak() - before, "duration": result.duration_seconds, "words": words}))
"""


def test_more_than_an_hour_in_bounded_memory(tmp_path):
    clip = owned_clips()[1]
    speech = pcm_of(clip)
    pcm = silence(65 * 60)
    starts = [10 * 16_000, 30 * 60 * 16_000 + 77, len(pcm) - len(speech)]
    for start in starts:
        pcm[start : start + len(speech)] = speech
    path = write_pcm(tmp_path / "long.flac", pcm)
    run = subprocess.run(
        [sys.executable, "-c", LONG_RUN, str(clip.path), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(run.stdout)
    assert measured["growth"] < 150e6
    assert measured["duration"] == pytest.approx(65 * 60)
    words = measured["words"]
    assert [normalise(word) for word, _, _ in words] == clip.text.split() * 3
    for index, start in enumerate(starts):
        assert words[10 * index][1] == pytest.approx(start / 16_000 + 0.3, abs=0.3)
    assert words[-1][2] == pytest.approx(65 * 60 - 0.3, abs=0.3)
