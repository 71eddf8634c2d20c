"""Recordings, and ways to make more, for the tests of decoding and recognition."""

import json
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from ml.audio.decode import decode

ROOT = Path(__file__).resolve().parents[2]
OWNED = ROOT / "tests" / "audio"
REAL = Path(os.environ.get("SPEECH_DATA", ROOT.parent / "shared" / "speech"))

needs_recordings = pytest.mark.skipif(
    not (REAL / "clips.jsonl").is_file(), reason="the folder of real recordings is absent (set SPEECH_DATA)"
)


@dataclass(frozen=True)
class Clip:
    path: Path
    text: str
    language: str
    duration_seconds: float


def read_manifest(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Clip(path.parent / row["audio"], normalise(row["text"] or ""), row["language"], row["duration_seconds"])
        for row in rows
    ]


def owned_clips():
    return read_manifest(OWNED / "manifest.jsonl")


def real_clips(language="en"):
    """Those in the language that have a reference."""
    clips = read_manifest(REAL / "clips.jsonl")
    return [clip for clip in clips if clip.language.split("-")[0] == language and clip.text]


def normalise(text):
    """After Whisper's normaliser for English: case, punctuation and titles do not count."""
    text = re.sub(r"\b(left|right):", "", text.lower()).replace("-", " ")
    text = re.sub(r"[^\w\s']", "", text)
    return " ".join({"mr": "mister", "mrs": "missus"}.get(word, word) for word in text.split())


def tone(hertz, seconds, rate, amplitude=0.5):
    """(n,) float32."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def write_audio(path, samples, rate, *, codec, layout="mono", format_name=None, picture=False):
    """Encodes (n,) float32, the same in each channel; with `picture`, a video track beside it."""
    with av.open(str(path), "w", format=format_name) as container:
        video = _video_stream(container) if picture else None
        stream = container.add_stream(codec, rate=rate, layout=layout)
        channels = len(av.AudioLayout(layout).channels)
        pcm = np.repeat((np.clip(samples, -1, 1) * 32767).astype(np.int16), channels).reshape(1, -1)
        for start in range(0, pcm.shape[1], rate * channels):
            frame = av.AudioFrame.from_ndarray(pcm[:, start : start + rate * channels], "s16", layout)
            frame.sample_rate = rate
            frame.pts = start // channels
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if video is not None:
            for _ in range(3):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
            container.mux(video.encode(None))
    return path


def _video_stream(container):
    video = container.add_stream("mpeg4", rate=5)
    video.width = video.height = 64
    video.pix_fmt = "yuv420p"
    return video


def kill_busy_worker(pool, work):
    """Runs `work` in a thread, kills the process of `pool` that took it, and returns what `work` raised."""
    idle = set(pool.pids())
    raised = []

    def run():
        try:
            work()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: idle - set(pool.pids()))
    time.sleep(0.05)  # well into the work
    for pid in idle - set(pool.pids()):
        os.kill(pid, 9)
    thread.join(20)
    return raised[0] if raised else None


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited did not happen"
        time.sleep(0.001)


def pcm_of(clip):
    """(n,) int16, 16 kHz."""
    with decode(clip.path) as audio:
        return audio.samples


def write_pcm(path, samples):
    """(n,) int16 at 16 kHz → FLAC, whose bytes are few where there is silence."""
    return write_audio(path, samples.astype(np.float32) / 32767, 16_000, codec="flac")


def silence(seconds):
    return np.zeros(int(seconds * 16_000), np.int16)
