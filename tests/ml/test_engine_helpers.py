"""Punctuation, diarization, speaker embedding and language identification with sherpa-onnx, on tiny real models."""

import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx comes with requirements-dev.txt")
pytest.importorskip("torch", reason="torch comes with requirements-torch.txt")
import onnx

from ml import artifacts, engines, errors
from ml.stt.helpers.speakers import similarity
from tests.ml import tiny_ctc, tiny_helpers, tiny_models
from tests.ml.stt_support import silence
from tests.ml.tiny_models import tone_speech

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def metadata_without(path, name):
    model = onnx.load(str(path))
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != name}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, str(path))


def test_punctuation(tmp_path):
    helper = engines.load(tiny_helpers.save_punctuation(tmp_path / "m"))
    assert helper.punctuate("the city walked along the river why") == "the city, walked along the river. why?"
    assert helper.punctuate("") == ""


@pytest.mark.parametrize("framework", ["wespeaker", "3d-speaker", "nemo"])
def test_embeddings_tell_voices_apart(tmp_path, framework):
    helper = engines.load(tiny_helpers.save_embedding(tmp_path / "m", framework=framework))
    deep, deeper, high = (helper.embed(tone_speech(*spoken)) for spoken in ((300,) * 3, (300,) * 5, (3000,) * 3))
    assert deep.shape == (helper.dimension,) == (80,)
    assert np.linalg.norm(deep) == pytest.approx(1, abs=1e-5)
    assert similarity(deep, deeper) > 0.95
    assert similarity(deep, high) < similarity(deep, deeper) - 0.2
    helper.embed(silence(0.1))  # too short for any voice, and yet no end of the process


def test_diarization(tmp_path):
    """A deep voice, a high one, and the deep one again."""
    helper = engines.load(tiny_helpers.save_diarization(tmp_path / "m"))

    def voice(hertz):
        return tone_speech(hertz, seconds=3.0, pause=0.4)

    samples = np.concatenate([voice(300), voice(3000), voice(300)])
    turns = helper.diarize(samples, speakers=2)
    assert [turn.speaker for turn in turns] == [0, 1, 0]
    for turn, start in zip(turns, (0.4, 4.2, 8.0), strict=True):
        assert (turn.start, turn.end) == pytest.approx((start, start + 3.0), abs=0.15)
    assert helper.diarize(samples, speakers=2) == turns
    assert helper.diarize(silence(3)) == ()
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        helper.diarize(samples, cancel=cancel)


@pytest.mark.parametrize(
    ("save", "file", "name"),
    [
        (tiny_helpers.save_punctuation, "model.onnx", "punctuations"),
        (tiny_helpers.save_punctuation, "model.onnx", "unk_symbol"),
        (tiny_helpers.save_embedding, "model.onnx", "framework"),
        (tiny_helpers.save_embedding, "model.onnx", "output_dim"),
        (partial(tiny_helpers.save_embedding, framework="nemo"), "model.onnx", "feat_dim"),
        (tiny_helpers.save_diarization, "segmentation.onnx", "num_classes"),
        (tiny_helpers.save_diarization, "embedding.onnx", "sample_rate"),
    ],
)
def test_missing_metadata_is_refused(tmp_path, save, file, name):
    folder = save(tmp_path / "m")
    metadata_without(folder.path / file, name)
    with pytest.raises(errors.ModelInvalid, match=f"lacks the metadata {name}"):
        engines.load(folder)


def test_what_only_the_child_finds_is_refused(tmp_path):
    folder = tiny_helpers.save_punctuation(tmp_path / "m")
    corrupt = (folder.path / "model.onnx").read_bytes().replace(b"Gather", b"Gatter")
    (folder.path / "model.onnx").write_bytes(corrupt)
    with pytest.raises(errors.ModelInvalid, match="cannot be loaded"):
        engines.load(folder)


def test_language_identification_refuses_what_is_no_whisper(tmp_path):
    tiny_ctc.save_ctc(tmp_path, "zipformer_ctc")
    for part in ("encoder", "decoder"):
        (tmp_path / f"{part}.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    folder = tiny_models.write_manifest(tmp_path, task="language", engine="sherpa", format="whisper", name="no")
    with pytest.raises(errors.ModelInvalid, match="lacks the metadata is_multilingual"):
        engines.load(folder)


def test_refuses_settings(tmp_path):
    folder = tiny_helpers.save_diarization(tmp_path / "m")
    for settings in ({"device": "cuda"}, {"threshold": 1}, {"clustering_threshold": 9}):
        with pytest.raises(errors.ModelInvalid):
            engines.load(artifacts.ModelFolder(folder.path, replace(folder.manifest, settings=settings)))
