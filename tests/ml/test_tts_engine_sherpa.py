"""sherpa-onnx on small real models: a VITS exported by coqui-tts, a Kokoro, a Kitten and a Matcha with a vocoder."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from ml import engines, errors
from ml.tts.engines import base, sherpa
from ml.tts.engines.base import SpeechRequest
from ml.tts.script import Run, Style, Utterance
from tests.ml import tiny_voices

TEXT = "Hello there, how are you?"


def say(text, voice, **how):
    return SpeechRequest(Utterance((Run(text, Style(voice)),)), **how)


@pytest.fixture(scope="module")
def piper(tmp_path_factory):
    return tiny_voices.sherpa_piper(tmp_path_factory.mktemp("piper") / "model")


@pytest.fixture(scope="module")
def engine(piper):
    loaded = engines.load(piper)
    yield loaded
    loaded.close()


def test_is_a_synthesizer_that_tells_of_itself_without_loading(piper, engine):
    assert isinstance(engine, base.Synthesizer)
    assert sherpa.capabilities(piper.manifest) == engine.capabilities
    assert sherpa.voices(piper.manifest) == engine.voices()
    assert [(voice.id, voice.gender, voice.language) for voice in engine.voices()] == [
        ("tiny-piper:ana", "female", "en-US"),
        ("tiny-piper:ben", "male", "en-US"),
    ]
    assert engine.capabilities.sample_rate == 22050
    assert engine.capabilities.speed
    assert not engine.capabilities.pitch


def test_speaks_the_same_twice_and_otherwise_as_another_speaker(engine):
    ana, again, ben = (engine.speak(say(TEXT, f"tiny-piper:{name}")) for name in ("ana", "ana", "ben"))
    assert ana.dtype == np.int16
    assert len(ana) > 22050
    assert np.abs(ana.astype(int)).max() > 500
    assert np.array_equal(ana, again)
    assert len(ana) != len(ben) or not np.array_equal(ana, ben)


def test_speed_is_the_engines_own_and_times_the_length_scale(piper, engine):
    normal = len(engine.speak(say(TEXT, "tiny-piper:ana")))
    assert len(engine.speak(say(TEXT, "tiny-piper:ana", speed=2.0))) < 0.7 * normal
    slow = engines.load(tiny_voices.with_settings(piper, length_scale=2.0))
    assert len(slow.speak(say(TEXT, "tiny-piper:ana"))) > 1.6 * normal
    assert len(slow.speak(say(TEXT, "tiny-piper:ana", speed=2.0))) == normal


def test_text_without_sounds_gives_no_samples(engine):
    assert len(engine.speak(say("...", "tiny-piper:ana"))) == 0


def test_cancelling_ends_the_call_and_leaves_the_engine_working(engine):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        engine.speak(say(TEXT, "tiny-piper:ana"), cancel=cancel)
    assert len(engine.speak(say(TEXT, "tiny-piper:ana")))


@pytest.mark.parametrize("instances", [1, 2])
def test_calls_that_overlap_do_not_mix(piper, instances):
    loaded = engines.load(tiny_voices.with_settings(piper, instances=instances))
    jobs = [say(f"This is number {number}.", f"tiny-piper:{'ana' if number % 2 else 'ben'}") for number in range(32)]
    alone = [loaded.speak(job).tobytes() for job in jobs]
    together_at = threading.Barrier(16)

    def speak(job):
        together_at.wait(30)
        return loaded.speak(job).tobytes()

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(speak, jobs)) == alone
    assert len(set(alone)) == 32


def test_a_call_lets_other_threads_run(engine):
    ticks, stop = 0, threading.Event()

    def speak():
        engine.speak(say("A rather long sentence, so that the native code is busy. " * 5, "tiny-piper:ana"))
        stop.set()

    thread = threading.Thread(target=speak)
    thread.start()
    while not stop.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 5


@pytest.mark.parametrize("format", ["kokoro", "kitten"])
def test_serves_models_with_style_vectors(tmp_path, format):
    loaded = engines.load(tiny_voices.sherpa_styled(tmp_path / "model", format=format))
    ana, ben = (loaded.speak(say(TEXT, voice.id)).astype(float) for voice in loaded.voices())
    assert len(ana) == len(ben) > 1000
    assert np.abs(ana).max() == pytest.approx(np.abs(ben).max() / 3, rel=0.01)  # their styles are 0.2 and 0.6


def test_serves_matcha_with_a_vocoder(tmp_path):
    loaded = engines.load(tiny_voices.sherpa_matcha(tmp_path / "model"))
    samples = loaded.speak(say(TEXT, "tiny-matcha:default"))
    assert len(samples) > 1000
    assert samples.any()


def test_serves_a_model_with_a_lexicon(tmp_path):
    made = tiny_voices.sherpa_piper(tmp_path / "model", name="worded", comment="coqui", add_blank=1)
    (made.path / "lexicon.txt").write_text("hello h e l o\nthere d e r\n")
    made = tiny_voices.folder(
        made.path, name="worded", engine="sherpa", format="vits", settings=dict(made.manifest.settings)
    )
    loaded = engines.load(made)
    both, one = (loaded.speak(say(text, "worded:ana")) for text in ("hello there", "hello"))
    assert len(both) > len(one) > 1000


# ── What is refused, before native code in this process sees it ─────────────────────────────────────────────────────


def rebuilt(piper, tmp_path, change):
    """A copy of the folder with a changed ONNX model, and a manifest that fits it."""
    target = tmp_path / "model"
    target.mkdir()
    for file in piper.path.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    change(target)
    settings = dict(piper.manifest.settings)
    return tiny_voices.folder(target, name="tiny-piper", engine="sherpa", format="vits", settings=settings)


def without_metadata(name):
    def change(path):
        model = onnx.load(path / "model.onnx")
        kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != name}
        tiny_voices.set_metadata(model, **kept)
        onnx.save(model, path / "model.onnx")

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_metadata("sample_rate"), "sample_rate"),
        (without_metadata("n_speakers"), "n_speakers"),
        (without_metadata("comment"), "comment"),
        (lambda path: (path / "model.onnx").write_bytes(b"\x08\x07garbage"), "cannot be served"),
        (lambda path: (path / "tokens.txt").write_text("a b c d\n"), "cannot be served"),
        (lambda path: (path / "tokens.txt").write_text("_ 0\n"), "cannot be served"),
    ],
)
def test_refuses_files_that_would_end_the_process(piper, tmp_path, change, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(rebuilt(piper, tmp_path, change))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"beam": 3}, "'beam' is not known"),
        ({"threads": "many"}, "threads"),
        ({"device": "tpu"}, "device"),
        ({"model": "other.onnx"}, "other.onnx"),
        ({"default_speaker": "eve"}, "eve"),
        ({"speakers": []}, "at least one"),
        ({"speakers": [{"id": "a b"}]}, "needs an id"),
        ({"speakers": [{"id": "ana"}, {"id": "ana"}]}, "twice"),
        ({"speakers": [{"id": "ana", "gender": "robot"}]}, "gender"),
        ({"speakers": [{"id": "eve", "speaker": 2}]}, "no speaker 2"),
        ({"speakers": [{"id": "eve", "speaker": "eve"}]}, "no speaker 'eve'"),
        ({"speakers": [{"id": "eve", "language": "xx"}]}, "no phonemes"),
        ({"espeak_voice": "nowhere"}, "no phonemes"),
    ],
)
def test_refuses_settings_by_name(piper, settings, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(tiny_voices.with_settings(piper, **settings))


def test_refuses_another_rate_than_the_model_has(piper):
    from dataclasses import replace

    changed = replace(piper, manifest=replace(piper.manifest, sample_rate=16000))
    with pytest.raises(errors.ModelInvalid, match="22050"):
        engines.load(changed)


def test_the_default_speaker_comes_first(piper):
    chosen = tiny_voices.with_settings(piper, default_speaker="ben")
    assert [voice.id for voice in sherpa.voices(chosen.manifest)] == ["tiny-piper:ben", "tiny-piper:ana"]
