"""Every engine says what it can before it is loaded, and what the pipelines do follows from that alone."""

import ast
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ml import artifacts, engines, runtime
from ml.stt.engines.base import EngineCapabilities
from ml.tts.engines.base import SynthesizerCapabilities

ROOT = Path(__file__).resolve().parents[2]
DECLARED = {
    # what the engines of a task must say something about
    "stt": {"languages", "streaming", "word_times", "word_confidences", "punctuation", "casing",
            "inverse_normalization", "translation", "language_detection", "prompt", "hotwords", "alternatives",
            "max_window_seconds", "max_batch", "concurrency", "device"},
    "tts": {"languages", "sample_rate", "ssml", "speed", "pitch", "timbres", "cloning", "voice_mixing", "max_batch",
            "concurrency", "device"},
}  # fmt: skip
KINDS = {"stt": EngineCapabilities, "tts": SynthesizerCapabilities}
SETTINGS = {("sherpa", "ctc"): {"model_type": "zipformer_ctc"}}
SPEAKING = [key for key in engines.LOADERS if key[0] in KINDS]


def manifest_of(task, engine, format, **fields):
    settings = SETTINGS.get((engine, format), {})
    return artifacts.ModelManifest(
        task, "tiny", "tiny", "1", engine, format, languages=("en-US",), settings=settings, **fields
    )


@pytest.mark.parametrize(("task", "engine", "format"), SPEAKING)
def test_an_engine_declares_what_it_can(task, engine, format, tmp_path):
    folder = artifacts.ModelFolder(tmp_path, manifest_of(task, engine, format))
    tell = runtime.static_function(folder, "capabilities")
    assert tell is not None, "the module of a loader tells its capabilities"
    able = tell(folder.manifest)
    assert isinstance(able, KINDS[task])
    assert {field.name for field in fields(able)} >= DECLARED[task]
    assert {language.lower().split("-")[0] for language in able.languages} == {"en"}
    assert able.max_batch >= 1
    assert able.concurrency >= 1
    assert able.device == "cpu" or able.device.startswith("cuda:")


def test_on_the_cpu_where_a_model_says_so(tmp_path):
    for task, engine, format in SPEAKING:
        manifest = manifest_of(task, engine, format)
        if engine == "pocketsphinx":  # which has no device to choose
            continue
        cpu = replace(manifest, settings={**manifest.settings, "device": "cpu"})
        tell = runtime.static_function(artifacts.ModelFolder(tmp_path, cpu), "capabilities")
        assert tell(cpu).device == "cpu"


def test_the_pipelines_know_no_engine_by_its_name():
    """Comparing with an engine's or a format's name is for `ml.engines` and the engines; routing ranks kinds."""
    found = []
    for path in (*ROOT.glob("ml/*/*.py"), *ROOT.glob("ml/stt/text/*.py"), *ROOT.glob("ml/stt/frontend/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                names = {each.attr for each in (node.left, *node.comparators) if isinstance(each, ast.Attribute)}
                if names & {"engine", "format"}:
                    found.append((path.relative_to(ROOT).as_posix(), ast.unparse(node)))
    assert found == [("ml/stt/registry.py", "manifest.format in _TRANSDUCERS")]
