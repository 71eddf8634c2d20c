"""A recogniser that says which tone it hears, served from model folders like any other.

`voice.json` of the folder says how sure it is and how it fails, so that a test can say what a model is like.
"""

import json
import threading

import numpy as np

from ml import artifacts, errors
from ml.artifacts import ModelManifest
from ml.stt.engines.base import EngineCapabilities, Hypothesis

LOADER = {
    ("stt", "tone", "plain"): f"{__name__}:load",
    ("stt", "tone", "transducer"): f"{__name__}:load",
    ("punctuation", "tone", "plain"): f"{__name__}:load",
}

calls = []  # (version, windows of the call)
closed = []  # versions


def capabilities(manifest):
    return EngineCapabilities(frozenset({"en", "de"}), max_batch=4, word_times=True)


def load(folder):
    if "broken" in folder.manifest.settings:
        raise errors.ModelInvalid("the weights are torn")
    return ToneRecognizer(folder.manifest, json.loads(folder.file("voice.json").read_text()))


class ToneRecognizer:
    gate = threading.Event()

    def __init__(self, manifest, voice):
        self.capabilities = capabilities(manifest)
        self.settings = manifest.settings
        self._version, self._voice = manifest.version, voice

    def recognise(self, windows, *, cancel=None):
        calls.append((self._version, list(windows)))
        assert self.gate.wait(10)
        if "error" in self._voice:
            raise errors.from_code(self._voice["error"], "as the folder says")
        return [self._hear(window) for window in windows]

    def _hear(self, window):
        spectrum = np.abs(np.fft.rfft(window.samples))
        hertz = round(float(spectrum.argmax()) * 16_000 / max(1, len(window.samples)))
        return Hypothesis(f"v{self._version} {hertz} {window.language}", (), self._voice.get("confidence", 0.9))

    def punctuate(self, text):
        return f"{text}."

    def close(self):
        closed.append(self._version)


def write_folder(base, name, *, version="1", task="stt", format="plain", voice=None, **fields):
    path = base / task / "tone" / name / version
    path.mkdir(parents=True, exist_ok=True)
    (path / "voice.json").write_text(json.dumps(voice or {}))
    manifest = ModelManifest(task, "tone", name, version, "tone", format, **{"languages": ("en-GB", "de"), **fields})
    artifacts.write(path, manifest)
    files = artifacts.describe_files(path)
    fields = {"languages": ("en-GB", "de"), **fields, "files": files}
    artifacts.write(path, ModelManifest(task, "tone", name, version, "tone", format, **fields))
    return artifacts.read(path)
