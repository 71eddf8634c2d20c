"""Voices from recordings: what is refused, what is measured, and that an adapted voice is nearer to its speaker."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from ml import errors, tts
from ml.audio.decode import decode
from ml.tts import cloning
from ml.tts.cloning import pitch, speakers
from ml.tts.cloning.profile import RATE, distance, measure
from ml.tts.engines.base import SpeakerLatents
from ml.types import Caller, SynthesisOptions
from tests.api.support import wav

SENTENCE = "The juice of lemons makes fine punch. The box was thrown beside the parked truck."

UNHEARD = (
    "The boy was there when the sun rose. A rod is used to catch pink salmon. The source of the huge river is the "
    "clear spring. Kick the ball straight and follow through. Help the woman get back to her feet."
)
"""Nothing is fitted to these."""


def said(voice: str, text: str = SENTENCE, own: tuple = ()) -> np.ndarray:
    """(T,) float32 at RATE."""
    options = SynthesisOptions(voice=voice, own_voices=own, sample_rate=RATE)
    chunks = [chunk.samples for chunk in tts.synthesize(text, options)]
    return speakers.to_float(np.concatenate(chunks))


def written(folder: Path, samples: np.ndarray) -> Path:
    path = folder / "sample.wav"
    path.write_bytes(wav(samples, RATE))
    return path


# ── Measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("hertz", [75.0, 130.0, 220.0, 410.0])
def test_pitch_of_a_voiced_sound(hertz: float) -> None:
    time = np.arange(RATE) / RATE
    buzz = sum(np.sin(2 * np.pi * hertz * number * time) / number for number in range(1, 12))
    track = pitch.track((0.1 * buzz).astype(np.float32), RATE)
    assert np.median(track) == pytest.approx(hertz, rel=0.01)
    assert (track > 0).mean() > 0.95


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    assert (pitch.track(noise, RATE) > 0).mean() < 0.1
    assert not pitch.track(np.zeros(RATE, np.float32), RATE).any()
    assert measure(noise) is None
    assert measure(np.zeros(10, np.float32)) is None


def test_measures_follow_the_voice() -> None:
    man, woman = measure(said("espeak:en-us")), measure(said("espeak:en-us+f2"))
    assert man is not None
    assert woman is not None
    assert woman.pitch_hz > 1.4 * man.pitch_hz
    assert woman.vocal_tract_cm < man.vocal_tract_cm
    assert json.loads(json.dumps(man.as_json()))["pitch_hz"] == man.pitch_hz
    same, other = distance(man, man), distance(man, woman)
    assert (same.whole, same.similarity) == (0.0, 1.0)
    assert other.similarity < 0.6


# ── Refusing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def refusal(path: Path) -> str:
    with pytest.raises(errors.SampleUnsuitable) as refused:
        cloning.examine(path)
    assert refused.value.code == "sample_unsuitable"
    assert "record" in refused.value.message
    return refused.value.reason


def test_refuses_what_no_voice_can_be_learned_from(tmp_path: Path) -> None:
    clean = said("espeak:en-us", f"{SENTENCE} {SENTENCE}")
    noise = np.random.default_rng(1).normal(0, 1, len(clean) + 2 * RATE).astype(np.float32)
    padded = np.concatenate([np.zeros(RATE, np.float32), clean, np.zeros(RATE, np.float32)])
    assert refusal(written(tmp_path, np.zeros(8 * RATE))) == "sample_too_short"
    assert refusal(written(tmp_path, clean[: 2 * RATE])) == "sample_too_short"
    assert refusal(written(tmp_path, 30 * padded)) == "sample_clipped"
    assert refusal(written(tmp_path, 0.3 * padded + 0.03 * noise)) == "sample_noisy"
    assert refusal(written(tmp_path, np.concatenate([clean, said("espeak:en-us+f2", SENTENCE)]))) == (
        "sample_several_speakers"
    )


def test_refuses_what_is_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "sample.wav"
    path.write_bytes(b"no audio at all")
    with pytest.raises(errors.AudioUndecodable):
        cloning.examine(path)
    path.write_bytes(b"")
    with pytest.raises(errors.AudioEmpty):
        cloning.examine(path)


def test_a_sample_is_cut_and_levelled(tmp_path: Path) -> None:
    speech = said("espeak:en-us", f"{SENTENCE} {SENTENCE}")
    quiet = 0.05 * np.concatenate([np.zeros(3 * RATE), speech, np.zeros(4 * RATE), speech, np.zeros(RATE)])
    sample = cloning.examine(written(tmp_path, quiet))
    assert not sample.denoised
    assert sample.speakers_told_by == "acoustic"
    assert len(speech) / RATE < sample.duration_seconds < 2 * len(speech) / RATE + 2
    assert np.sqrt(np.mean(np.square(speakers.to_float(sample.samples)))) == pytest.approx(0.1, rel=0.4)


# ── Learning ────────────────────────────────────────────────────────────────────────────────────────────────────────


def learned(path: Path) -> cloning.Learned:
    sample = cloning.examine(path)
    return cloning.learn(sample, voice_id="own", name="Ann", language="en-US", caller=Caller("a", "batch"))


def test_an_adapted_voice_speaks_wherever_a_voice_does(tmp_path: Path) -> None:
    voice = learned(written(tmp_path, said("espeak:en-us+f2", f"{SENTENCE} {SENTENCE} {SENTENCE}")))
    assert (voice.method, voice.own.voice.model, voice.own.voice.language) == ("adapted", "espeak-ng", "en-US")
    assert voice.similarity["score"] > voice.similarity["unadapted"]
    assert voice.preview.duration_seconds > 2
    assert cloning.unpack(cloning.pack(voice.own.likeness)) == voice.own.likeness

    own = (voice.own,)
    assert not np.array_equal(said("own", own=own), said("espeak:en-us"))
    assert np.array_equal(said("own", own=own), said("own", own=own))
    markup = '<speak>Now <voice name="own">I speak, <lang xml:lang="de">und auf Deutsch</lang>.</voice></speak>'
    options = SynthesisOptions(ssml=True, own_voices=own)
    assert sum(chunk.duration_seconds for chunk in tts.synthesize(markup, options)) > 1
    assert tts.resolve(SynthesisOptions(voice="own", language="hi", own_voices=own)).language == "hi"
    for nobody in (SynthesisOptions(voice="own"), SynthesisOptions(voice="own@xx", own_voices=own)):
        with pytest.raises(errors.UnknownVoice):
            tts.resolve(nobody)


def test_cancelling_stops_the_learning(tmp_path: Path) -> None:
    path, cancel = written(tmp_path, said("espeak:en-us", f"{SENTENCE} {SENTENCE}")), Event()
    sample = cloning.examine(path)
    cancel.set()
    with pytest.raises(errors.Cancelled):
        cloning.learn(sample, voice_id="own", name="Ann", language="en", caller=Caller(), cancel=cancel)


def test_what_is_stored_is_read_back_or_refused() -> None:
    latents = SpeakerLatents(np.ones((1, 4, 8), np.float32), np.zeros((1, 8, 1), np.float32))
    back = cloning.unpack(cloning.pack(latents))
    assert isinstance(back, SpeakerLatents)
    assert np.array_equal(back.conditioning, latents.conditioning)
    for damaged in (b"", b"\0" * 64, cloning.pack(latents)[:-3]):
        with pytest.raises(errors.ModelInvalid):
            cloning.unpack(damaged)


@pytest.fixture(scope="module")
def speaking(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two men and two women: a file of real speech each."""
    folder = tmp_path_factory.mktemp("speakers")
    of: dict[str, list[Path]] = defaultdict(list)
    of["woman"] = sorted((recordings / "clips").glob("TTS-LJ001-*.wav"))[:2]
    of["man"] = sorted((recordings / "clips").glob("speechbrain-spk2_*.wav"))
    for line in (recordings / "an4_train.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["speaker"] in ("fkai", "mmap") and len(of[row["speaker"]]) < 10:
            of[row["speaker"]].append(recordings / row["audio"])
    files = {}
    for name, paths in of.items():
        parts = []
        for path in paths:
            with decode(path) as audio:
                parts.append(speakers.to_float(np.array(audio.samples)))
        files[name] = folder / f"{name}.wav"
        files[name].write_bytes(wav(np.concatenate(parts), RATE))
    return files


@pytest.mark.parametrize("name", ["woman", "man", "fkai", "mmap"])
def test_is_nearer_to_a_real_speaker_than_the_plain_voice(speaking: dict[str, Path], name: str) -> None:
    voice = learned(speaking[name])
    plain, adapted = measure(said("espeak:en-us", UNHEARD)), measure(said("own", UNHEARD, (voice.own,)))
    assert plain is not None
    assert adapted is not None
    before, after = distance(plain, voice.profile), distance(adapted, voice.profile)
    assert after.pitch < max(1.5, before.pitch / 2)
    assert after.vocal_tract < max(4.0, before.vocal_tract)
    assert after.cepstrum < before.cepstrum
    assert after.colour < before.colour
    assert after.whole < 0.8 * before.whole


def test_two_recordings_of_one_speaker_match(speaking: dict[str, Path]) -> None:
    with decode(speaking["woman"]) as audio:
        woman = np.array(audio.samples)
    with decode(speaking["man"]) as audio:
        man = np.array(audio.samples)
    same = cloning.compare(woman[: len(woman) // 2], woman[len(woman) // 2 :])
    other = cloning.compare(woman, man)
    assert same is not None
    assert other is not None
    assert (same.same, other.same, same.told_by) == (True, False, "acoustic")
    assert same.score > other.score
