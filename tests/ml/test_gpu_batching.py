"""What batching gives on a GPU, in one process without a server: `make test-gpu`."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("whisper", reason="openai-whisper comes with requirements-torch.txt")
import torch

from benchmarks import whisper_gpu
from ml import errors
from ml.stt.engines.base import Window
from tests.ml import tiny_whisper

CLIENTS = 16
ARGUMENTS = {"threads": 0, "fitted": False, "clients": CLIENTS}
SAVE = {"ctranslate2": tiny_whisper.save_ctranslate2, "openai": tiny_whisper.save_openai}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


def windows(seconds):
    generator = np.random.default_rng(0)
    clips = generator.normal(0, 2000, (whisper_gpu.CLIPS, round(16_000 * seconds))).astype(np.int16)
    return [Window(clip, language="en") for clip in clips]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("format", SAVE)
@pytest.mark.parametrize("word_times", [False, True])
def test_sixteen_clients_share_a_gpu(tmp_path, format, word_times):
    """Four times one client's clips a second at least, and the same texts."""
    folder = SAVE[format](whisper_gpu.random_weights("base", 25), tmp_path)
    arguments = SimpleNamespace(**ARGUMENTS, device="cuda", seconds=5.0)
    try:
        found = whisper_gpu.through_batcher(folder, windows(5.0), arguments, word_times=word_times)
    except errors.EngineUnavailable as error:  # CTranslate2 wants the cuBLAS of another CUDA
        pytest.skip(str(error))
    assert found["batch_equals_single"] == f"{whisper_gpu.COMPARED} of {whisper_gpu.COMPARED}"
    assert found["gain"] >= 4


def test_the_measurement_itself(tmp_path):
    """On the CPU, small and short: that clients are served together, and that each text ends where it should."""
    torch.set_num_threads(1)
    folder = tiny_whisper.save_openai(whisper_gpu.random_weights("tiny", 3), tmp_path)
    arguments = SimpleNamespace(**{**ARGUMENTS, "clients": 2, "threads": 1, "fitted": True}, device="cpu", seconds=1.0)
    found = whisper_gpu.through_batcher(folder, windows(1.0)[: whisper_gpu.COMPARED], arguments, word_times=False)
    assert found["batch_equals_single"] == f"{whisper_gpu.COMPARED} of {whisper_gpu.COMPARED}"
    assert set(found["batch_sizes"]) <= {1, 2}
    assert {"1_clients", "2_clients", "gain"} <= set(found)
