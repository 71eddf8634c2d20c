"""Cloning by engines that can, down the path that the platform goes: a tiny XTTS and a tiny PocketTTS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml import artifacts, engines, errors, tts
from ml.stt import registry
from ml.tts import cloning
from ml.tts.cloning import speakers
from ml.tts.engines.base import Reference, SpeakerLatents
from ml.tts.own import OwnVoice
from ml.types import Caller, SynthesisOptions
from tests.ml import tiny_helpers, tiny_voices
from tests.ml.test_stt_diarization import bright, clip, deep
from tests.ml.test_tts_cloning import SENTENCE, said, written

ABOUT = {
    "name": "tiny-pocket",
    "engine": "sherpa",
    "format": "pocket",
    "settings": {"threads": 1},
    "sample_rate": 24000,
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    pytest.importorskip("TTS")
    with tiny_voices.quiet():
        tts.install(tiny_voices.coqui_xtts(tmp_path_factory.mktemp("xtts") / "model"))
        yield
        tts.uninstall("tiny-xtts")


def test_an_engine_that_clones_learns_the_voice(installed: None, tmp_path: Path) -> None:
    assert cloning.choose("de-DE")[1] == "cloned"
    assert cloning.choose("fr")[1] == "adapted"  # which it does not speak
    sample = cloning.examine(written(tmp_path, said("espeak:en-us+f2", f"{SENTENCE} {SENTENCE}")))
    with tiny_voices.quiet():
        voice = cloning.learn(sample, voice_id="own", name="Ann", language="en", caller=Caller("a", "batch"))
    assert (voice.method, voice.own.voice.engine, voice.own.voice.model) == ("cloned", "coqui", "tiny-xtts")
    assert isinstance(voice.own.likeness, SpeakerLatents)
    assert "unadapted" not in voice.similarity
    assert voice.preview.samples.any()

    stored = cloning.unpack(cloning.pack(voice.own.likeness))
    own = (OwnVoice(voice.own.voice, voice.own.base, stored),)
    heard = said("own", "Hello.", own)
    assert np.allclose(heard, said("own", "Hello.", (voice.own,)), atol=4 / 32768)
    assert not np.array_equal(heard, said("tiny-xtts:ana", "Hello."))
    mixed = said("own(3)+tiny-xtts:ben", "Hello.", own)
    assert np.array_equal(mixed, said("tiny-xtts:ben+own(3)", "Hello.", own))
    assert len({sound.tobytes() for sound in (mixed, heard, said("tiny-xtts:ben", "Hello."))}) == 3
    assert tts.resolve(SynthesisOptions(voice="own", language="de", own_voices=own)).id == "own@de"
    assert tts.resolve(SynthesisOptions(voice="own+ben", language="de", own_voices=own)).id == "own@de+ben@de"
    with pytest.raises(errors.LanguageNotSupported):
        tts.resolve(SynthesisOptions(voice="own", language="fr", own_voices=own))


def test_a_zero_shot_model_hears_the_recording_each_time(tmp_path: Path) -> None:
    tts.install(tiny_voices.sherpa_pocket(tmp_path / "model"))
    try:
        assert tts.resolve(SynthesisOptions(language="en")).model == "tiny-pocket"
        sample = cloning.examine(written(tmp_path, said("espeak:en-us+f2", f"{SENTENCE} {SENTENCE}")))
        voice = cloning.learn(sample, voice_id="own", name="Ann", language="en", caller=Caller("a", "batch"))
        assert (voice.method, voice.own.voice.model) == ("cloned", "tiny-pocket")
        likeness = cloning.unpack(cloning.pack(voice.own.likeness))
        assert isinstance(likeness, Reference)
        assert likeness.sample_rate == 24000
        assert len(likeness.samples) <= 20 * 24000
        own = (OwnVoice(voice.own.voice, voice.own.base, likeness),)
        heard, plain = said("own", "Hello.", own), said("tiny-pocket:default", "Hello.")
        assert heard.any()
        assert np.abs(heard).max() < 0.8 * np.abs(plain).max()  # the folder's own reference is louder
        options = SynthesisOptions(voice="own", own_voices=own, speed=2.0)
        assert sum(chunk.duration_seconds for chunk in tts.synthesize("Hello.", options)) < 0.4
    finally:
        tts.uninstall("tiny-pocket")


def test_a_zero_shot_model_needs_a_reference_of_its_own(tmp_path: Path) -> None:
    made = tiny_voices.sherpa_pocket(tmp_path / "model")
    (made.path / "reference.wav").write_bytes(b"no wav")
    with pytest.raises(errors.ModelInvalid, match="no wav"):
        engines.load(tiny_voices.folder(made.path, **ABOUT))
    (made.path / "reference.wav").unlink()
    with pytest.raises(errors.ModelInvalid, match="reference"):
        engines.load(tiny_voices.folder(made.path, **ABOUT))


def test_other_models_take_no_recording(tmp_path: Path) -> None:
    engine = engines.load(tiny_voices.sherpa_styled(tmp_path / "model", format="kitten"))
    with pytest.raises(errors.InvalidRequest):
        engine.learn(np.zeros(32000, np.float32), 16000)
    engine.close()


def test_without_its_model_the_voice_is_silent() -> None:
    likeness = SpeakerLatents(np.zeros((1, 32, 64), np.float32), np.zeros((1, 512, 1), np.float32))
    voice = tts.resolve(SynthesisOptions(voice="espeak:en-us"))
    own = OwnVoice(replace(voice, id="own", engine="coqui", model="gone-xtts"), "gone-xtts:ana", likeness)
    with pytest.raises(errors.InvalidRequest, match="gone-xtts"):
        list(tts.synthesize("Hello.", SynthesisOptions(voice="own", own_voices=(own,))))


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[None]:
    """A tiny model that tells a deep voice from a bright one."""
    tiny_helpers.save_embedding(tmp_path / "speaker")
    folder = artifacts.read(tmp_path / "speaker")
    registry.install(folder)
    yield
    registry.uninstall(folder.manifest.name, task=folder.manifest.task)


def test_with_a_model_for_speakers_it_tells_them_apart(embedder: None, tmp_path: Path) -> None:
    talk = np.concatenate([clip("weather"), clip("president")])
    low, high = deep(talk), bright(talk)
    sample = cloning.examine(written(tmp_path, speakers.to_float(low)))
    assert sample.speakers_told_by == "embedding"
    with pytest.raises(errors.SampleUnsuitable) as refused:
        cloning.examine(written(tmp_path, speakers.to_float(np.concatenate([low, high]))))
    assert refused.value.reason == "sample_several_speakers"
    same, other = cloning.compare(low, deep(clip("numbers"))), cloning.compare(low, high)
    assert same is not None
    assert other is not None
    assert (same.told_by, same.same, other.same) == ("embedding", True, False)
    assert same.score > other.score
