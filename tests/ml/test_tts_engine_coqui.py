"""coqui-tts on small models with random weights, saved and loaded down the production path."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml import engines, errors
from ml.tts.engines import base, coqui
from ml.tts.engines.base import SpeechRequest
from ml.tts.script import Run, Style, Utterance
from tests.ml import tiny_voices

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and transformers warn about themselves

TEXT = "Hello there, how are you?"


def say(text, voice, **how):
    return SpeechRequest(Utterance((Run(text, Style(voice)),)), **how)


@pytest.fixture(scope="module")
def vits(tmp_path_factory):
    return tiny_voices.coqui_vits(tmp_path_factory.mktemp("vits") / "model")


@pytest.fixture(scope="module")
def engine(vits):
    loaded = engines.load(vits)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def xtts(tmp_path_factory):
    return tiny_voices.coqui_xtts(tmp_path_factory.mktemp("xtts") / "model")


@pytest.fixture(scope="module")
def cloner(xtts):
    loaded = engines.load(xtts)
    yield loaded
    loaded.close()


def test_is_a_synthesizer_that_tells_of_itself_without_loading(vits, engine):
    assert isinstance(engine, base.Synthesizer)
    assert not isinstance(engine, base.CloningSynthesizer)
    assert coqui.capabilities(vits.manifest) == engine.capabilities
    assert coqui.voices(vits.manifest) == engine.voices()
    assert [voice.id for voice in engine.voices()] == ["tiny-vits:ana", "tiny-vits:ben"]
    assert engine.memory_bytes() > 1_000_000


def test_speaks_the_same_twice_and_otherwise_as_another_speaker(engine):
    ana, again, ben = (engine.speak(say(TEXT, f"tiny-vits:{name}")) for name in ("ana", "ana", "ben"))
    assert ana.dtype == np.int16
    assert 1.0 < len(ana) / 22050 < 5.0
    assert np.abs(ana.astype(int)).max() > 500
    assert np.array_equal(ana, again)
    assert not np.array_equal(ana, ben)


def test_saving_and_loading_keeps_the_voice(vits, engine):
    """The network that was saved, called by coqui-tts itself, says the same as the one that was loaded."""
    from ml.tts.engines.seeded import seeded

    model = tiny_voices.vits()
    ids = torch.tensor([model.tokenizer.text_to_ids(TEXT)])
    with seeded(0, None):
        made = model.inference(ids, {"x_lengths": None, "d_vectors": None, "speaker_ids": torch.tensor([1])})
    expected = base.to_pcm(made["model_outputs"][0, 0].numpy())
    got = engine.speak(say(TEXT, "tiny-vits:ben"))
    assert len(got) == len(expected)
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_the_seed_is_the_calls_own(vits, engine):
    before = engine.speak(say(TEXT, "tiny-vits:ana"))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert np.array_equal(engine.speak(say(TEXT, "tiny-vits:ana")), before)
    assert torch.equal(torch.get_rng_state(), state)
    other = engines.load(tiny_voices.with_settings(vits, seed=7))
    assert not np.array_equal(other.speak(say(TEXT, "tiny-vits:ana")), before)


def mixture(*parts):
    """Of a tiny model's speakers, from (weight, name, latents)."""
    model = "tiny-vits" if len(parts[0]) == 2 else "tiny-xtts"
    return base.Mixture(tuple(base.MixedSpeaker(f"{model}:{name}", weight, *heard) for weight, name, *heard in parts))


@pytest.fixture(scope="module", params=["table", "vectors"])
def mixing(request, engine, tmp_path_factory):
    """Models that know their speakers by a table, and by vectors from elsewhere."""
    if request.param == "table":
        yield engine
        return
    folder = tiny_voices.coqui_vits(tmp_path_factory.mktemp("d") / "model", d_vectors=True)
    assert coqui.mixes_voices(folder)
    loaded = engines.load(folder)
    yield loaded
    loaded.close()


def test_speaks_between_two_speakers(mixing):
    ana, ben = (mixing.speak(say(TEXT, f"tiny-vits:{name}")).astype(int) for name in ("ana", "ben"))

    def mixed(*parts):
        return mixing.speak(say(TEXT, "tiny-vits:ana", likeness=mixture(*parts))).astype(int)

    assert np.abs(mixed((1.0, "ana")) - ana).max() <= 1
    assert np.abs(mixed((1.0, "ben")) - ben).max() <= 1
    assert np.array_equal(mixed((0.5, "ana"), (0.5, "ana")), mixed((1.0, "ana")))
    half = mixed((0.5, "ana"), (0.5, "ben"))
    assert np.array_equal(half, mixed((0.5, "ben"), (0.5, "ana")))
    assert len({said.tobytes() for said in (ana, ben, half, mixed((0.9, "ana"), (0.1, "ben")))}) == 4
    assert np.array_equal(mixing.speak(say(TEXT, "tiny-vits:ana")), ana), "nothing of a mix is left behind"


def test_what_is_mixed_is_the_row_between_the_rows(engine):
    table = engine._model.emb_g
    wanted = torch.tensor([[0.25, 0.75]])
    assert torch.allclose(table(wanted)[0], 0.25 * table.table.weight[0] + 0.75 * table.table.weight[1])


def test_mixes_where_the_configuration_tells_of_several_speakers(vits, copy, xtts):
    assert coqui.mixes_voices(vits)
    assert not coqui.mixes_voices(tiny_voices.with_settings(vits, speakers=[{"id": "ana", "speaker": "ana"}]))
    tiny_voices.broken_json(copy, "config.json", lambda config: config.pop("use_speaker_embedding"))
    assert coqui.mixes_voices(copy), "it stands in two places"
    tiny_voices.broken_json(copy, "config.json", lambda config: config.update(model_args=["use_speaker_embedding"]))
    assert not coqui.mixes_voices(copy)
    tiny_voices.broken_json(copy, "config.json", lambda config: config.pop("model_args"))
    assert not coqui.mixes_voices(copy)
    (copy.path / "config.json").write_text("{")
    assert not coqui.mixes_voices(copy)
    assert coqui.mixes_voices(xtts)


def test_speed_is_the_engines_own(engine):
    normal, fast = (len(engine.speak(say(TEXT, "tiny-vits:ana", speed=speed))) for speed in (1.0, 2.0))
    assert 0.4 < fast / normal < 0.7


def test_phonemes_come_from_the_library_of_espeak(tmp_path):
    made = tiny_voices.coqui_vits(tmp_path / "model", name="tiny-ipa", phonemes=True)
    loaded = engines.load(made)
    rough, tough, bough = (loaded.speak(say(word, "tiny-ipa:ana")) for word in ("ruff", "rough", "bough"))
    assert np.array_equal(rough, tough)  # spelt otherwise, pronounced alike
    assert not np.array_equal(tough, bough)


def test_thirty_two_overlapping_calls_do_not_mix(engine):
    jobs = [
        (f"This is number {number}.", "tiny-vits:ana" if number % 2 else "tiny-vits:ben", 1 + number % 3 / 2)
        for number in range(32)
    ]
    alone = [engine.speak(say(text, voice, speed=speed)).tobytes() for text, voice, speed in jobs]
    together_at = threading.Barrier(32)

    def speak(job):
        together_at.wait(30)
        return engine.speak(say(job[0], job[1], speed=job[2])).tobytes()

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(speak, jobs)) == alone
    assert len(set(alone)) == 32


def test_cancelling_ends_a_call_that_computes(engine):
    cancel = threading.Event()
    hook = engine._model.text_encoder.register_forward_hook(lambda *_: cancel.set())
    try:
        with pytest.raises(errors.Cancelled):
            engine.speak(say(TEXT, "tiny-vits:ana"), cancel=cancel)
    finally:
        hook.remove()
    assert cancel.is_set()
    assert len(engine.speak(say(TEXT, "tiny-vits:ana")))


def test_what_breaks_in_the_model_is_an_engine_failure(engine):
    def break_down(*_):
        raise RuntimeError("shapes differ")

    def fault(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for broken, error in ((break_down, errors.EngineFailed), (fault, errors.EngineFault)):
        hook = engine._model.text_encoder.register_forward_pre_hook(broken)
        with pytest.raises(error) as raised:
            engine.speak(say(TEXT, "tiny-vits:ana"))
        hook.remove()
        assert type(raised.value) is error
    assert len(engine.speak(say(TEXT, "tiny-vits:ana")))


# ── What is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def copy(vits, tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    for file in vits.path.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return type(vits)(target, vits.manifest)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_refuses_weights_that_run_code(copy, tmp_path):
    was_here = tmp_path / "was-here"
    (copy.path / "model.pth").write_bytes(pickle.dumps({"model": Hostile(str(was_here))}))
    with pytest.raises(errors.ModelInvalid):
        engines.load(copy)
    torch.save({"model": Hostile(str(was_here))}, copy.path / "model.pth")
    with pytest.raises(errors.ModelInvalid, match="more than tensors"):
        engines.load(copy)
    assert not was_here.exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("model", "xtts", "not the configuration"),
        ("text_cleaner", "re", "text cleaner"),
        ("text_cleaner", "evil_cleaners", "text cleaner"),
        ("characters", {"characters_class": "os.system"}, "characters"),
        ("speakers_file", "/etc/passwd", "no file 'passwd'"),
        ("d_vector_file", ["https://example.com/x.pth"], "no file 'x.pth'"),
    ],
)
def test_refuses_configurations_that_reach_outside(copy, name, value, reason):
    tiny_voices.broken_json(copy, "config.json", lambda config: config.update({name: value}))
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(copy)


def test_refuses_weights_of_another_shape(copy):
    state = torch.load(copy.path / "model.pth", weights_only=True)
    del state["model"]["emb_g.weight"]
    torch.save(state, copy.path / "model.pth")
    with pytest.raises(errors.ModelInvalid, match="emb_g"):
        engines.load(copy)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"beam": 3}, "'beam' is not known"),
        ({"device": "tpu"}, "device"),
        ({"compute_type": "float16"}, "compute_type"),
        ({"seed": -1}, "seed"),
        ({"speakers": [{"id": "eve", "speaker": "eve"}]}, "no speaker 'eve'"),
    ],
)
def test_refuses_settings_by_name(vits, settings, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(tiny_voices.with_settings(vits, **settings))


def test_loads_safetensors(vits, copy):
    from safetensors.torch import save_file

    state = torch.load(copy.path / "model.pth", weights_only=True)["model"]
    (copy.path / "model.pth").unlink()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, copy.path / "model.safetensors")
    settings = dict(vits.manifest.settings)
    made = tiny_voices.folder(copy.path, name="tiny-vits", engine="coqui", format="vits", settings=settings)
    assert len(engines.load(made).speak(say("Yes.", "tiny-vits:ana")))


# ── XTTS ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_xtts_speaks_with_stored_and_with_given_latents(xtts, cloner):
    loaded = cloner
    assert isinstance(loaded, base.CloningSynthesizer)
    assert loaded.capabilities == coqui.capabilities(xtts.manifest)
    assert loaded.capabilities.cloning
    assert [(voice.id, voice.language) for voice in loaded.voices()] == [
        ("tiny-xtts:ana", "en"), ("tiny-xtts:ana@de", "de"), ("tiny-xtts:ben", "en"), ("tiny-xtts:ben@de", "de"),
    ]  # fmt: skip
    ana = loaded.speak(say("Hello.", "tiny-xtts:ana"))
    assert len(ana) > 2000
    assert ana.any()
    recording = np.sin(np.arange(24000, dtype=np.float32) / 30) * np.float32(0.3)
    heard = loaded.learn(recording, 24000)
    assert heard.embedding.shape == (1, 512, 1)
    assert heard.conditioning.shape[0] == 1
    assert heard.conditioning.shape[2] == 64
    cloned = loaded.speak(say("Hello.", "tiny-xtts:ana", likeness=heard))
    assert not np.array_equal(cloned, ana)
    with ThreadPoolExecutor(2) as threads:  # not mixed, and the same as before
        calls = [threads.submit(loaded.speak, say("Hello.", "tiny-xtts:ana", likeness=who)) for who in (None, heard)]
        assert [np.array_equal(call.result(), made) for call, made in zip(calls, (ana, cloned), strict=True)] == [
            True,
            True,
        ]
    with pytest.raises(errors.AudioEmpty):
        loaded.learn(recording[:1000], 24000)
    assert len(loaded._pieces("many words " * 20, "en")) > 2
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        loaded.speak(say("Hello.", "tiny-xtts:ana"), cancel=cancel)


def test_xtts_speaks_between_its_speakers_and_those_it_heard(cloner):
    sine = np.sin(np.arange(48000, dtype=np.float32) / 30) * np.float32(0.3)
    ana, ben = cloner._latents["Ana Maria"], cloner._latents["Ben"]
    heard, longer = cloner.learn(sine[:24000], 24000), cloner.learn(sine, 24000)
    assert heard.conditioning.shape == longer.conditioning.shape == ana.conditioning.shape
    between = cloner._heard("tiny-xtts:ana", mixture((0.25, "ana", ana), (0.75, "ben", ben)))
    assert np.allclose(between.embedding, 0.25 * ana.embedding + 0.75 * ben.embedding, atol=1e-6)
    assert np.allclose(between.conditioning, 0.25 * ana.conditioning + 0.75 * ben.conditioning, atol=1e-6)
    plain, alone, mixed, with_own = (
        cloner.speak(say("Hello.", "tiny-xtts:ana", likeness=likeness))
        for likeness in (
            None,
            mixture((1.0, "ana", None)),
            mixture((0.5, "ana", None), (0.5, "ben", None)),
            mixture((0.5, "ana", None), (0.5, "ana", heard)),
        )
    )
    assert np.array_equal(alone, plain)
    assert len({said.tobytes() for said in (plain, mixed, with_own)}) == 3
    of_another = base.SpeakerLatents(heard.conditioning[:, :1], heard.embedding)
    with pytest.raises(errors.InvalidRequest, match="different models"):
        cloner.speak(say("Hello.", "tiny-xtts:ana", likeness=mixture((0.5, "ana", None), (0.5, "ana", of_another))))


# ── GPU ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cpu_and_gpu_say_the_same(vits, engine):
    on_gpu = engines.load(tiny_voices.with_settings(vits, device="cuda"))
    assert on_gpu.capabilities.device == "cuda:0"
    for voice in engine.voices():
        expected, got = (who.speak(say(TEXT, voice.id)).astype(int) for who in (engine, on_gpu))
        assert len(got) == len(expected)
        assert np.abs(got - expected).max() <= 0.02 * np.abs(expected).max()
    on_gpu.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_speaks_on_the_gpu(vits):
    half = engines.load(tiny_voices.with_settings(vits, device="cuda", compute_type="float16"))
    first, second = (half.speak(say(TEXT, "tiny-vits:ana")) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int)).max() > 500
