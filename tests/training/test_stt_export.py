"""Export: ONNX equals torch, sherpa-onnx hears what training hears, and the committed model does its work."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ml import artifacts
from training.errors import ExportInvalid
from training.stt import checkpoint
from training.stt.audio import AudioStore
from training.stt.config import REPOSITORY_ROOT, load_config
from training.stt.distributed import Process
from training.stt.export import PARTS, check_equal, export_folder, main
from training.stt.manifest import read_sources
from training.stt.model import Transducer
from training.stt.prepare import prepare
from training.stt.recognize import recognize
from training.stt.serve import decode, open_recognizer
from training.stt.train_conformer_rnnt import train
from training.stt.trainer import FOREVER
from training.stt.wer import word_errors

pytest.importorskip("sherpa_onnx")
AN4 = REPOSITORY_ROOT / "training" / "stt" / "artifacts" / "an4"


@pytest.fixture
def trained(make_config, tmp_path):
    config = make_config(trainer__max_steps=110)
    where = Process(0, 1, torch.device("cpu"))
    train(config, where, tmp_path / "run", resume=False, init_from=None, stop_at_step=FOREVER)
    return checkpoint.load_model(tmp_path / "run" / checkpoint.FINAL), prepare(config)


def test_onnx_equals_torch_and_sherpa_decodes_the_same(trained, tmp_path):
    loaded, data = trained
    expected = recognize(loaded.model, loaded.tokenizer, data.dev, data.dev_audio)
    assert word_errors([item.text for item in data.dev], expected).rate < 0.3
    paths = export_folder(loaded.model, loaded.tokenizer, tmp_path / "float32", int8=False)  # compares with torch
    recognizer = open_recognizer(tmp_path / "float32")
    together = decode(recognizer, data.dev_audio, range(len(data.dev)))
    alone = [decode(recognizer, data.dev_audio, [index])[0] for index in range(len(data.dev))]
    assert together == expected
    assert alone == expected

    beam = recognize(loaded.model, loaded.tokenizer, data.dev, data.dev_audio, search="beam", beam=4)
    searching = open_recognizer(tmp_path / "float32", decoding_method="modified_beam_search", max_active_paths=4)
    assert decode(searching, data.dev_audio, range(len(data.dev))) == beam

    with torch.no_grad():
        loaded.model.joiner.out.bias += 0.1
    with pytest.raises(ExportInvalid, match="logit"):
        check_equal(loaded.model, {name: paths[name] for name in PARTS})


def test_int8_folder_imports(make_config, tmp_path):
    config = make_config()
    tokenizer = prepare(config).tokenizer
    model = Transducer(config.model, len(tokenizer.symbols))
    state = checkpoint.model_state(model.state_dict(), config, tokenizer, step=1, data_hash="0" * 64)
    torch.save(state, tmp_path / "model.pt")
    arguments = ["--checkpoint", str(tmp_path / "model.pt"), "--output", str(tmp_path / "int8")]
    main([*arguments, "--settings", json.dumps({"blank_penalty": 0.5})])
    folder = artifacts.read(tmp_path / "int8")
    artifacts.verify(folder)
    assert folder.manifest.format == "transducer"
    assert folder.manifest.settings == {"blank_penalty": 0.5}
    assert sorted(folder.manifest.files) == [*sorted(f"{name}.int8.onnx" for name in PARTS), "tokens.txt"]


def test_committed_model_is_whole():
    folder = artifacts.read(AN4)
    artifacts.verify(folder)
    assert folder.manifest.bytes_on_disk < 10_000_000


def test_committed_model_hears_an4(speech_data, monkeypatch):
    """It was trained on these utterances too: this guards its files and decoding, not its word error rate."""
    monkeypatch.setenv("SPEECH_DATA", str(speech_data))
    config = load_config(REPOSITORY_ROOT / "training" / "stt" / "configs" / "conformer_an4.yaml")
    utterances = read_sources(config.data.dev, config.data, lowercase=True)[::3]
    store = AudioStore([item.audio for item in utterances], sample_rate=16000, cache=True)
    settings = artifacts.read(AN4).manifest.settings
    for decoding in (dict(settings), {"decoding_method": "modified_beam_search"}):
        texts = decode(open_recognizer(AN4, **decoding), store, range(len(store)))
        assert word_errors([item.text for item in utterances], texts).rate < 0.03


def test_committed_model_is_silent_on_silence(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000, np.float32), 16000)
    store = AudioStore([tmp_path / "silence.wav"], sample_rate=16000, cache=False)
    assert len(decode(open_recognizer(AN4), store, [0])[0].split()) <= 1


def test_missing_part_is_an_error(tmp_path):
    shutil.copy(AN4 / "tokens.txt", tmp_path)
    with pytest.raises(ExportInvalid, match="no encoder"):
        open_recognizer(tmp_path)
