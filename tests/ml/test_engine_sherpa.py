"""sherpa-onnx with tiny real models: graphs that name the tones they hear, so that tests know what was said."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx comes with requirements-dev.txt")
import onnx

from ml import artifacts, engines, errors
from ml.audio.decode import decode
from ml.stt.engines import checks, sherpa
from ml.stt.engines.base import Recognizer, Window
from tests.ml import tiny_ctc, tiny_models, tiny_transducers
from tests.ml.stt_support import silence
from tests.ml.tiny_models import tone_speech


def save_zipformer_ctc(folder, **fields):
    return tiny_ctc.save_ctc(folder, "zipformer_ctc", **fields)


SAVE = {
    "transducer": tiny_transducers.save_transducer,
    "ctc": save_zipformer_ctc,
    "streaming_transducer": tiny_transducers.save_streaming_transducer,
}
SPOKEN = (300, 1000, 3000, 6000, 300)
TEXT = "low mid higher low"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("sherpa")
    return {kind: save(base / kind, settings={"threads": 1}) for kind, save in SAVE.items()}


@pytest.fixture(scope="module")
def recognizers(folders):
    return {kind: engines.load(folder) for kind, folder in folders.items()}


@pytest.fixture(params=SAVE)
def kind(request):
    return request.param


@pytest.fixture
def engine(recognizers, kind):
    return recognizers[kind]


def with_settings(folder, **settings):
    return replace(folder, manifest=replace(folder.manifest, settings={**folder.manifest.settings, **settings}))


def test_recognises_what_was_said(engine):
    assert isinstance(engine, Recognizer)
    (hypothesis,) = engine.recognise([Window(tone_speech(*SPOKEN), language="en")])
    assert hypothesis.text == TEXT
    assert [word.text for word in hypothesis.words] == TEXT.split()


def test_word_times_match_the_audio(engine):
    """Tones of 0.3 s with pauses of as much: the words begin at 0.3, 0.9, 1.5 and 2.7 s."""
    (hypothesis,) = engine.recognise([Window(tone_speech(*SPOKEN))])
    assert [word.start for word in hypothesis.words] == pytest.approx([0.3, 0.9, 1.5, 2.7], abs=0.08)
    for word, following in zip(hypothesis.words, hypothesis.words[1:], strict=False):
        assert word.start <= word.end <= following.start


def test_confidence_is_that_of_the_tokens(recognizers):
    """A tone between two of those it knows leaves a transducer less sure; a CTC model tells nothing of it."""
    for kind in ("transducer", "streaming_transducer"):
        clear, faint = recognizers[kind].recognise(
            [Window(tone_speech(300)), Window((tone_speech(300) * 0.005).astype(np.int16))]
        )
        assert clear.text == "low"
        assert clear.confidence > 0.95
        assert 0 <= faint.confidence <= clear.confidence
    assert not recognizers["ctc"].capabilities.word_confidences


def test_batch_equals_single(engine):
    windows = [
        Window(tone_speech(*spoken)) for spoken in (SPOKEN, (300,), (3000, 6000), (1000,) * 7, (6000, 300), (300, 3000))
    ]
    windows += [
        Window(silence(1.0)),
        Window(silence(0)),
        Window(tone_speech(300)[:1600]),
        Window(tone_speech(1000)),
    ] * 2
    together = engine.recognise(windows)
    assert together == [engine.recognise([window])[0] for window in windows]
    assert together[2].text == "higher"


def test_nothing_in_nothing(engine):
    windows = [Window(silence(seconds)) for seconds in (0, 0.001, 1)] + [Window(np.ones(3, np.int16))]
    for hypothesis in engine.recognise(windows):
        assert (hypothesis.text, hypothesis.words) == ("", ())


def test_threads_share_an_engine(engine):
    heard = {}
    threads = [
        threading.Thread(target=lambda i=i: heard.__setitem__(i, engine.recognise([Window(tone_speech(*SPOKEN))] * 3)))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {hypothesis.text for each in heard.values() for hypothesis in each} == {TEXT}
    assert len(heard) == 4


def test_cancelled(engine):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        engine.recognise([Window(tone_speech(*SPOKEN))], cancel=cancel)


def test_refuses_what_it_cannot(engine):
    with pytest.raises(errors.LanguageNotSupported):
        engine.recognise([Window(tone_speech(300), language="de")])
    with pytest.raises(errors.InvalidRequest):
        engine.recognise([Window(tone_speech(300), task="translate")])


def test_capabilities_load_nothing(folders, kind):
    tell = __import__(engines.loader(folders[kind]).__module__, fromlist=["capabilities"]).capabilities
    told = tell(folders[kind].manifest)
    assert told.languages == {"en"}
    assert told.streaming == (kind == "streaming_transducer")
    assert not told.hotwords
    beam = with_settings(folders[kind], decoding_method="modified_beam_search").manifest
    assert tell(beam).hotwords == (kind != "ctc")


# ── Hotwords ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["transducer", "streaming_transducer"])
def test_hotwords_favour_a_phrase(tmp_path, kind):
    """A sound that is hardly a token becomes one when its letter is a hotword, and only then."""
    folder = SAVE[kind](tmp_path / "m")
    tiny_models.write_tokens(folder.path, ("<blk>", "A", "B", "C", "D"))
    for path in ("encoder.onnx",):
        shift_bias(folder.path / path, {2: -0.5})
    folder = tiny_models.write_manifest(
        folder.path,
        engine="sherpa",
        format=kind,
        name="letters",
        settings={"decoding_method": "modified_beam_search", "hotwords_score": 3.0, "threads": 1},
    )
    engine = engines.load(folder)
    assert engine.capabilities.hotwords
    faint = None
    for level in np.geomspace(1.0, 1e-4, 24):
        samples = (tone_speech(1000, seconds=0.2) * level).astype(np.int16)
        plain, favoured, other = engine.recognise(
            [Window(samples), Window(samples, hotwords=("b",)), Window(samples, hotwords=("q", "a/c:9", ""))]
        )
        assert other.text == plain.text
        assert favoured.text == "B" or favoured.text == plain.text
        if plain.text == "" and favoured.text == "B":
            faint = level
    assert faint is not None


def shift_bias(path, shifts):
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            values = onnx.numpy_helper.to_array(tensor).copy()
            for column, shift in shifts.items():
                values[column] += shift
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, "bias"))
    onnx.save(model, str(path))


def test_hotwords_cannot_smuggle_scores():
    letters = frozenset("ABCXYZ ")
    text = sherpa.hotwords_text(("abc :", "x/y\nz", "späh", "", "Z" * 101), letters)
    assert text.split("/") == ["ABC", "X Y Z"]


# ── Live ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_utterances_heard_as_they_come(recognizers):
    """Partials grow; the end says what the window says; two at once do not mix."""
    engine = recognizers["streaming_transducer"]
    sounds = [tone_speech(300, 1000), tone_speech(3000, 6000)]
    utterances = [engine.open_utterance() for _ in sounds]
    partials = [[], []]
    for start in range(0, max(map(len, sounds)), 1600):
        pieces = [sound[start : start + 1600] for sound in sounds]
        futures = [utterance.advance(piece) for utterance, piece in zip(utterances, pieces, strict=True)]
        for seen, future in zip(partials, futures, strict=True):
            seen.append(future.result(timeout=10).text)
    finals = [utterance.finish().result(timeout=10) for utterance in utterances]
    assert [final.text for final in finals] == ["low mid", "higher"]
    assert finals == engine.recognise([Window(sound) for sound in sounds])
    assert list(dict.fromkeys(partials[0]))[:2] == ["", "low"]
    for utterance in utterances:
        utterance.close()


def test_utterance_of_a_closed_engine_fails(folders):
    engine = engines.load(folders["streaming_transducer"])
    utterance = engine.open_utterance()
    utterance.advance(silence(0.1)).result(timeout=10)
    engine.close()
    with pytest.raises(errors.EngineUnavailable):
        utterance.advance(silence(0.1))


# ── Folders that must be refused ────────────────────────────────────────────────────────────────────────────────────


def rewrite(path, change):
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))


def drop_metadata(name):
    def change(model):
        kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != name]
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, dict(kept))

    return change


def set_metadata(name, value):
    return lambda model: onnx.helper.set_model_props(
        model, {**{entry.key: entry.value for entry in model.metadata_props}, name: value}
    )


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


BREAKS = [
    ("transducer", "lacks the metadata vocab_size", lambda p: rewrite(p / "decoder.onnx", drop_metadata("vocab_size"))),
    ("transducer", "lacks the metadata context", lambda p: rewrite(p / "decoder.onnx", drop_metadata("context_size"))),
    ("transducer", "positive number", lambda p: rewrite(p / "decoder.onnx", set_metadata("vocab_size", "many"))),
    ("transducer", "positive number", lambda p: rewrite(p / "decoder.onnx", set_metadata("context_size", "-1"))),
    ("transducer", "writes 9 tokens", lambda p: rewrite(p / "decoder.onnx", set_metadata("vocab_size", "9"))),
    ("transducer", "no ONNX model", lambda p: (p / "encoder.onnx").write_bytes(b"\x00garbage" * 50)),
    ("transducer", "no ONNX model", lambda p: (p / "encoder.onnx").write_bytes(b"")),
    ("transducer", "no ONNX model", lambda p: cut(p / "joiner.onnx", 0.5)),
    ("transducer", "for its joiner", lambda p: (p / "joiner.onnx").unlink()),
    ("transducer", "no table of tokens", lambda p: (p / "tokens.txt").write_text("a 0\nb 7\n")),
    ("transducer", "no table of tokens", lambda p: (p / "tokens.txt").write_bytes(b"\xff\xfe\x00")),
    ("transducer", "1 inputs", lambda p: (p / "joiner.onnx").write_bytes((p / "decoder.onnx").read_bytes())),
    ("transducer", "cannot be loaded", lambda p: rewrite(p / "encoder.onnx", lambda m: m.graph.node.pop(0))),
    ("ctc", "cannot be loaded", lambda p: rewrite(p / "model.onnx", lambda m: m.graph.output.pop(1))),
    ("ctc", "no ONNX model", lambda p: cut(p / "model.onnx", 0.7)),
    ("streaming_transducer", "metadata T", lambda p: rewrite(p / "encoder.onnx", drop_metadata("T"))),
    ("streaming_transducer", "model_type", lambda p: rewrite(p / "encoder.onnx", set_metadata("model_type", "rnn"))),
    ("streaming_transducer", "cannot be", lambda p: rewrite(p / "encoder.onnx", set_metadata("d_model", "x"))),
]


@pytest.mark.parametrize(("format", "reason", "change"), BREAKS)
def test_broken_folder_is_refused_and_the_process_lives(folders, tmp_path, format, reason, change):
    for name in folders[format].manifest.files:
        (tmp_path / name).write_bytes((folders[format].path / name).read_bytes())
    change(tmp_path)
    manifest = replace(folders[format].manifest, files=artifacts.describe_files(tmp_path))
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(artifacts.ModelFolder(tmp_path, manifest))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"beams": 4}, "unknown setting 'beams'"),
        ({"threads": "2"}, "must be of type int"),
        ({"decoding_method": "guess"}, "decoding_method must be"),
        ({"hotwords_score": 50}, "between 0 and 4"),
        ({"device": "cuda"}, "CPU"),
        ({"lm": "lm.onnx"}, "modified_beam_search"),
        ({"encoder": "../../etc/passwd"}, "has no file"),
        ({"model_type": "rnn"}, "model_type"),
    ],
)
def test_refuses_settings(folders, settings, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(with_settings(folders["transducer"], **settings))


def test_blank_penalty_is_passed_on(folders):
    """So high that silence becomes words: which also shows that a folder's settings reach the search."""
    engine = engines.load(with_settings(folders["transducer"], blank_penalty=9.0))
    noise = np.random.default_rng(0).normal(0, 300, 16_000).astype(np.int16)
    plain, pushed = engines.load(folders["transducer"]).recognise([Window(noise)]), engine.recognise([Window(noise)])
    assert len(pushed[0].words) > len(plain[0].words)


@pytest.mark.parametrize(
    ("format", "files", "reason"),
    [
        ("whisper", ("encoder.onnx", "decoder.onnx"), "lacks the metadata is_multilingual"),
        ("sense_voice", ("model.onnx",), "lacks the metadata normalize_samples"),
        ("moonshine", ("preprocess.onnx", "encode.onnx", "uncached_decode.onnx", "cached_decode.onnx"), "one input"),
        ("moonshine", ("encoder.onnx", "decoder.onnx"), "cannot be loaded"),
    ],
)
def test_other_formats_refuse_what_is_not_theirs(folders, tmp_path, format, files, reason):
    graph = (folders["ctc"].path / "model.onnx").read_bytes()
    for name in files:
        (tmp_path / name).write_bytes(graph)
    tiny_models.write_tokens(tmp_path)
    folder = tiny_models.write_manifest(tmp_path, engine="sherpa", format=format, name="wrong")
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(folder)


@pytest.mark.parametrize("kind", ["nemo_ctc", "wenet_ctc"])
def test_ctc_metadata_is_asked_for_by_kind(folders, kind):
    with pytest.raises(errors.ModelInvalid, match="lacks the metadata subsampling_factor"):
        engines.load(with_settings(folders["ctc"], model_type=kind))


def test_onnx_facts(folders):
    facts = checks.read_onnx(folders["transducer"].file("decoder.onnx"))
    assert facts.metadata == {"vocab_size": "5", "context_size": "2"}
    assert (facts.inputs, facts.outputs) == (("y",), ("decoder_out",))


# ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["▁he", "llo", ",", "▁wor", "ld", "."], ["hello,", "world."]),
        ([" he", "llo", " ", "wor", "ld"], ["hello", "world"]),
        (list("hi you"), ["hi", "you"]),
        (["你", "好", " ok"], ["你", "好", "ok"]),
        (["▁", "a", "▁", "b"], ["a", "b"]),
        ([",", "▁so"], ["so"]),
        ([], []),
    ],
)
def test_tokens_become_words(tokens, words):
    times = [0.1 * place for place in range(len(tokens))]
    found = sherpa.words_of(tokens, times, [-0.1] * len(tokens), 5.0)
    assert [word.text for word in found] == words
    assert all(0 <= word.start <= word.end <= 5 for word in found)


# ── The trained Conformer transducer ────────────────────────────────────────────────────────────────────────────────

AN4 = Path(os.environ.get("AN4_MODEL", Path(__file__).resolve().parents[2] / "training" / "stt" / "artifacts" / "an4"))


def test_trained_transducer(recordings, tmp_path):
    """The exported Conformer, by the files alone: what it says is near what was said, in a batch as alone."""
    for file in AN4.iterdir():
        if file.suffix in (".onnx", ".txt"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    folder = tiny_models.write_manifest(tmp_path, engine="sherpa", format="transducer", name="an4")
    engine = engines.load(folder)
    rows = [json.loads(line) for line in (recordings / "an4_train.jsonl").read_text().splitlines()[:6]]
    windows = []
    for row in rows:
        with decode(recordings / row["audio"]) as audio:
            windows.append(Window(np.array(audio.samples)))
    together = engine.recognise(windows)
    for row, window, hypothesis in zip(rows, windows, together, strict=True):
        (alone,) = engine.recognise([window])
        assert alone.text == hypothesis.text
        assert 0 < hypothesis.confidence <= 1
        said = row["text"].lower().split()
        found = [word.text.lower() for word in hypothesis.words]
        assert len(set(said) & set(found)) >= 0.5 * len(set(said))
