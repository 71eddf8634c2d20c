"""Each family of recogniser that sherpa-onnx serves, decoded for real: what comes out is what was played.

Nothing is left out: every format and `model_type` that the engines name can be built as a graph of a few nodes. Whisper
has a module of its own, `test_sherpa_whisper`.
"""

import itertools
from functools import partial

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx comes with requirements-dev.txt")
pytest.importorskip("kaldi_native_fbank", reason="kaldi-native-fbank comes with requirements-dev.txt")

import ml.stt
from ml import engines, errors, runtime
from ml.stt import registry
from ml.stt.engines import sherpa_streaming
from ml.stt.engines.base import Window
from ml.stt.engines.sherpa_offline import CTC_KINDS
from ml.stt.recognition import recognise
from ml.types import Caller, TranscriptionOptions
from tests.ml import tiny_ctc, tiny_models, tiny_moonshine, tiny_transducers
from tests.ml.stt_support import silence
from tests.ml.tiny_models import tone_speech

BEAM = {"decoding_method": "modified_beam_search"}
STREAM = tiny_transducers.save_streaming_transducer
FAMILIES = {
    **{kind: partial(tiny_ctc.save_ctc, kind=kind) for kind in tiny_ctc.CTC_KINDS},
    "transducer": tiny_transducers.save_transducer,
    "transducer, beam": partial(tiny_transducers.save_transducer, settings=BEAM),
    **{f"streaming_transducer, {kind}": partial(STREAM, kind=kind) for kind in tiny_transducers.STREAMING_KINDS},
    "streaming_transducer, beam": partial(STREAM, settings=BEAM),
    "nemo_transducer": tiny_transducers.save_nemo_transducer,
    "nemo_transducer, beam": partial(tiny_transducers.save_nemo_transducer, settings=BEAM),
    "nemo_transducer, with durations": partial(tiny_transducers.save_nemo_transducer, durations=5),
    "sense_voice": partial(tiny_ctc.save_sense_voice, settings={"use_itn": False}),
    "moonshine": tiny_moonshine.save_moonshine,
    "moonshine of two files": tiny_moonshine.save_moonshine_v2,
}
ONE_BY_ONE = {"wenet_ctc", "telespeech_ctc", "omnilingual_asr_ctc", "moonshine", "moonshine of two files"}
MELODIES = {(300, 1000, 3000, 6000, 300): "low mid higher low", (1000,): "mid", (6000, 300): "er low"}
STARTS = (0.3, 0.9, 1.5, 2.7)  # of the first one's words, seconds

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def model(family, tmp_path_factory):
    """Installed, as `manage.py models activate` does."""
    folder = FAMILIES[family](tmp_path_factory.mktemp("family") / "m")
    ml.stt.install(folder)
    yield next(info for info in ml.stt.models() if info.name == folder.manifest.name)
    ml.stt.uninstall(folder.manifest.name)


def windows_of(melodies):
    return [Window(tone_speech(*melody), language="en") for melody in melodies]


def test_says_what_was_played(model, family):
    """From the queue to the hypotheses, as a request goes."""
    resolution = registry.resolve(TranscriptionOptions(model=model.name))
    heard = recognise(windows_of(MELODIES), resolution, caller=Caller())
    assert [hypothesis.text for hypothesis in heard.hypotheses] == list(MELODIES.values())
    assert heard.model is model
    words = heard.hypotheses[0].words
    if not model.capabilities.word_times:
        assert words == ()
        return
    assert [word.text for word in words] == ["low", "mid", "higher", "low"]
    assert [word.start for word in words] == pytest.approx(STARTS, abs=0.08)
    assert all(word.start < word.end <= following.start for word, following in itertools.pairwise(words))


def test_a_batch_says_what_each_window_says_alone(model, family):
    windows = [*windows_of(MELODIES), Window(silence(1.0)), Window(tone_speech(300)[:9000]), *windows_of(MELODIES)]
    with runtime.pool.acquire(model.id) as engine:
        assert engine.capabilities == model.capabilities  # told before it was loaded
        assert engine.recognise(windows) == [engine.recognise([window])[0] for window in windows]
        assert engine.capabilities.max_batch == (1 if family in ONE_BY_ONE else 8)


def test_every_kind_has_its_test():
    assert set(tiny_ctc.CTC_KINDS) == set(CTC_KINDS)
    assert set(tiny_transducers.STREAMING_KINDS) == set(sherpa_streaming.ENCODER_METADATA)
    formats = {format for task, engine, format in engines.LOADERS if (task, engine) == ("stt", "sherpa")}
    assert formats == {"transducer", "streaming_transducer", "ctc", "sense_voice", "moonshine", "whisper"}


def test_sense_voice_detects_the_language_and_writes_as_asked(tmp_path):
    engine = engines.load(tiny_ctc.save_sense_voice(tmp_path / "detects"))
    able = engine.capabilities
    assert (able.language_detection, able.inverse_normalization, able.punctuation) == (True, True, True)
    deep, usual = engine.recognise([Window(tone_speech(300, pause=0.0)), Window(tone_speech(1000, 300))])
    assert (deep.text, deep.language) == ("Low", "ja")
    assert (usual.text, usual.language) == ("mid Low", "en")
    settings = {"use_itn": False, "language": "ko"}
    engine = engines.load(tiny_ctc.save_sense_voice(tmp_path / "told", settings=settings))
    able = engine.capabilities
    assert (able.language_detection, able.inverse_normalization, able.punctuation) == (False, False, False)
    (hypothesis,) = engine.recognise([Window(tone_speech(1000, 300))])
    assert (hypothesis.text, hypothesis.language) == ("mid low", None)


# ── Language models ─────────────────────────────────────────────────────────────────────────────────────────────────

SAVE = {
    "transducer": tiny_transducers.save_transducer,
    "streaming_transducer": tiny_transducers.save_streaming_transducer,
}
SAVE_LM = {"transducer": tiny_transducers.save_window_lm, "streaming_transducer": tiny_transducers.save_stream_lm}
COSTS = [0.0, 1.0, 3.0, 1.0, 1.0, 1.0]  # of the tokens: "mid" costs more than its twin "med"
LODR = {"lodr_fst": "lodr.fst"}


def fused(tmp_path, format, **settings):
    """An engine that cannot tell "mid" from "med" by sound alone, with a language model that can."""
    SAVE[format](tmp_path, twin=True)
    SAVE_LM[format](tmp_path / "lm.onnx", COSTS)
    tiny_transducers.save_lodr(tmp_path / "lodr.fst", COSTS)
    settings = {**BEAM, "threads": 1, **settings}
    return engines.load(
        tiny_models.write_manifest(tmp_path, engine="sherpa", format=format, name="twins", settings=settings)
    )


@pytest.mark.parametrize("format", SAVE)
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "low mid high"),
        ({"lm": "lm.onnx", "lm_scale": 0.0}, "low mid high"),
        ({"lm": "lm.onnx", "lm_scale": 1.0}, "low med high"),
        ({"lm": "lm.onnx", "lm_scale": 1.0, **LODR, "lodr_scale": -1.0}, "low mid high"),
        ({"lm": "lm.onnx", "lm_scale": 1.0, **LODR, "lodr_scale": 0.0}, "low med high"),
    ],
    ids=["none", "of no weight", "fused", "with what the transducer knows taken out", "LODR of no weight"],
)
def test_language_model_chooses_between_what_sounds_alike(tmp_path, format, settings, said):
    engine = fused(tmp_path, format, **settings)
    windows = [Window(tone_speech(300, 1000, 3000)), Window(tone_speech(3000))]
    assert [hypothesis.text for hypothesis in engine.recognise(windows)] == [said, "high"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"lm": "lm.onnx", "decoding_method": "greedy_search"}, "modified_beam_search"),
        ({**LODR, "lodr_scale": -1.0}, "lodr_fst needs a language model"),
        ({"lm": "joiner.onnx"}, "3 and 3 are needed"),
        ({"lm": "encoder.onnx"}, "lacks the metadata sos_id"),
    ],
)
def test_language_models_that_do_not_fit_are_refused(tmp_path, settings, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        fused(tmp_path, "streaming_transducer", **settings)


def test_nemo_transducers_take_no_language_model(tmp_path):
    settings = {**BEAM, "lm": "joiner.onnx"}
    with pytest.raises(errors.ModelInvalid, match="takes no language model"):
        engines.load(tiny_transducers.save_nemo_transducer(tmp_path, settings=settings))


# ── Hotwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nemo_transducer_favours_hotwords(tmp_path):
    """A sound that is hardly a token becomes one when its letter is a hotword, and only then."""
    tiny_transducers.save_nemo_transducer(tmp_path)
    tiny_models.write_tokens(tmp_path, ("A", "B", "C", "D", "<blk>"))
    settings = {**BEAM, "model_type": "nemo_transducer", "hotwords_score": 3.0, "threads": 1}
    engine = engines.load(
        tiny_models.write_manifest(tmp_path, engine="sherpa", format="transducer", name="letters", settings=settings)
    )
    faint = []
    for level in np.geomspace(1.0, 1e-4, 24):
        samples = (tone_speech(1000, seconds=0.2) * level).astype(np.int16)
        plain, favoured, other = engine.recognise(
            [Window(samples), Window(samples, hotwords=("b",)), Window(samples, hotwords=("a/c:9",))]
        )
        assert other.text == plain.text
        faint += [level] if (plain.text, favoured.text) == ("", "B") else []
    assert faint
