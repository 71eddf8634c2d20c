"""Voice activity: where somebody speaks, and the windows that a recogniser gets.

The probabilities come from Silero VAD v6 (https://github.com/snakers4/silero-vad, MIT), whose ONNX file the
faster-whisper wheel carries. `SpeechDetector` keeps the network's state, so that a file in blocks and a live stream go
the same way; what is done with the probabilities are pure functions over arrays.
"""

from __future__ import annotations

import functools
import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml import errors
from ml.audio.decode import SAMPLE_RATE, DecodedAudio
from ml.types import PcmSamples

if TYPE_CHECKING:
    import onnxruntime

FRAME_SAMPLES = 512
FRAMES_PER_SECOND = SAMPLE_RATE / FRAME_SAMPLES  # 31.25
_CONTEXT_SAMPLES = 64  # The network sees the end of the frame before beside each frame.
_STATE_SHAPE = (1, 1, 128)
_BLOCK_FRAMES = 1024  # 33 s: bounds memory, and how long a cancelled request computes on


@dataclass(frozen=True, slots=True)
class VadOptions:
    """All in seconds but the thresholds, which are probabilities."""

    threshold: float = 0.5  # speech starts at this
    end_threshold: float = 0.35  # and ends under this, so that a weak syllable does not cut a word
    min_speech_seconds: float = 0.1  # shorter bursts are clicks
    min_pause_seconds: float = 0.5  # shorter pauses stay inside a window
    padding_seconds: float = 0.3  # kept around speech: soft onsets and releases score low
    max_window_seconds: float = 20.0  # longer speech is cut where it is quietest


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """Seconds from the start of the audio."""

    start: float
    end: float

    @property
    def duration_seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class SpeechActivity:
    """What was measured on every frame of `FRAME_SAMPLES`; the last one is padded with silence."""

    probabilities: NDArray[np.float32]  # (frames,), 0–1
    powers: NDArray[np.float32]  # (frames,), mean square, full scale 1.0
    duration_seconds: float


class SpeechDetector:
    """Speech probability of each frame of a stream, in order. Not to be shared between streams."""

    def __init__(self) -> None:
        self._session = _session()
        self._hidden = np.zeros(_STATE_SHAPE, np.float32)
        self._cell = np.zeros(_STATE_SHAPE, np.float32)
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._pending = np.zeros(0, np.int16)

    def push(self, samples: PcmSamples) -> NDArray[np.float32]:
        """Takes any number of samples; the probabilities (frames,) of the frames that they complete."""
        if len(self._pending):
            samples = np.concatenate([self._pending, samples])
        whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._pending = samples[whole:].copy()
        if not whole:
            return np.zeros(0, np.float32)
        return self._run(samples[:whole].astype(np.float32) / 32768.0)

    def flush(self) -> NDArray[np.float32]:
        """The probability of the last, incomplete frame, padded with silence: (1,), or (0,) where there is none."""
        if not len(self._pending):
            return np.zeros(0, np.float32)
        return self.push(np.zeros(FRAME_SAMPLES - len(self._pending), np.int16))

    def _run(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """(frames * 512,) → (frames,)."""
        frames = samples.reshape(-1, FRAME_SAMPLES)
        contexts = np.empty((len(frames), _CONTEXT_SAMPLES), np.float32)
        contexts[0] = self._context
        contexts[1:] = frames[:-1, -_CONTEXT_SAMPLES:]
        self._context = frames[-1, -_CONTEXT_SAMPLES:].copy()
        probabilities, self._hidden, self._cell = self._session.run(
            None, {"input": np.concatenate([contexts, frames], axis=1), "h": self._hidden, "c": self._cell}
        )
        return np.asarray(probabilities, np.float32).reshape(-1)


def measure_activity(audio: DecodedAudio, *, cancel: threading.Event | None = None) -> SpeechActivity:
    """Runs the detector over a whole file in blocks; memory does not grow with its length but for 8 bytes a frame.

    Raises `Cancelled`.
    """
    detector = SpeechDetector()
    probabilities, powers = [], []
    for block in audio.blocks(_BLOCK_FRAMES * FRAME_SAMPLES):
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        probabilities.append(detector.push(block))
        powers.append(frame_powers(block))
    probabilities.append(detector.flush())
    return SpeechActivity(np.concatenate(probabilities), np.concatenate(powers), audio.duration_seconds)


def frame_powers(samples: PcmSamples) -> NDArray[np.float32]:
    """(samples,) → (frames,): mean square with full scale 1.0; an incomplete last frame counts what it has."""
    starts = np.arange(0, len(samples), FRAME_SAMPLES)
    squares = np.square(samples.astype(np.float32) / 32768.0)
    counts = np.minimum(FRAME_SAMPLES, len(samples) - starts)
    return (np.add.reduceat(squares, starts) / counts).astype(np.float32)


def find_windows(activity: SpeechActivity, options: VadOptions | None = None) -> tuple[SpeechSpan, ...]:
    """Padded stretches of speech between pauses, none longer than the limit, in order and without overlap."""
    options = options or VadOptions()
    spans = _pad(_speech_frames(activity.probabilities, options), len(activity.probabilities), options)
    limit = max(2, int(options.max_window_seconds * FRAMES_PER_SECOND))
    cut = [piece for span in spans for piece in _cut(span, activity, limit)]
    end = activity.duration_seconds
    return tuple(SpeechSpan(a / FRAMES_PER_SECOND, min(end, b / FRAMES_PER_SECOND)) for a, b in cut)


def speech_seconds(activity: SpeechActivity, options: VadOptions | None = None) -> float:
    """Seconds of speech, without the padding of the windows."""
    frames = sum(b - a for a, b in _speech_frames(activity.probabilities, options or VadOptions()))
    return min(activity.duration_seconds, frames / FRAMES_PER_SECOND)


def _speech_frames(probabilities: NDArray[np.float32], options: VadOptions) -> list[tuple[int, int]]:
    """Frame ranges [start, end) by hysteresis, pauses shorter than the least closed, then bursts dropped."""
    starts = probabilities >= options.threshold
    # Within hysteresis a frame is speech while nothing under `end_threshold` came since the last sure one.
    ranges: list[tuple[int, int]] = []
    maybe = np.flatnonzero(probabilities >= options.end_threshold)
    for run in np.split(maybe, np.flatnonzero(np.diff(maybe) > 1) + 1):
        sure = np.flatnonzero(starts[run])
        if len(sure):
            ranges.append((int(run[sure[0]]), int(run[-1]) + 1))
    joined = _join(ranges, options.min_pause_seconds * FRAMES_PER_SECOND)
    return [(a, b) for a, b in joined if b - a >= options.min_speech_seconds * FRAMES_PER_SECOND]


def _join(ranges: list[tuple[int, int]], max_gap: float) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start - joined[-1][1] < max_gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _pad(ranges: list[tuple[int, int]], frames: int, options: VadOptions) -> list[tuple[int, int]]:
    """Widens each range by the padding, at most to the middle of the pause beside it."""
    padding = round(options.padding_seconds * FRAMES_PER_SECOND)
    padded = []
    for index, (start, end) in enumerate(ranges):
        floor = (ranges[index - 1][1] + start + 1) // 2 if index else 0
        ceiling = (end + ranges[index + 1][0] + 1) // 2 if index + 1 < len(ranges) else frames
        padded.append((max(floor, start - padding), min(ceiling, end + padding)))
    return padded


def _cut(span: tuple[int, int], activity: SpeechActivity, limit: int) -> list[tuple[int, int]]:
    """Pieces of at most `limit` frames, cut in the later half of the limit at the least speech-like, quietest point."""
    start, end = span
    pieces = []
    while end - start > limit:
        earliest = start + limit // 2
        cut = earliest + int(np.argmin(_loudness(activity, earliest, min(start + limit, end))))
        cut = max(cut, start + 1)
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)]


def _loudness(activity: SpeechActivity, start: int, end: int) -> NDArray[np.float64]:
    """(end - start,): speech probability and relative power around each frame, smoothed over 5 frames (160 ms)."""
    powers = activity.powers[start:end]
    both = activity.probabilities[start:end] + powers / max(float(powers.max()), 1e-12)
    return np.convolve(np.pad(both, 2, mode="edge"), np.full(5, 0.2), mode="valid")


@functools.lru_cache(maxsize=1)
def _session() -> onnxruntime.InferenceSession:
    """One for the process: running it is thread-safe, and it releases the GIL."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # The arena would keep the largest block's memory for ever.
    return onnxruntime.InferenceSession(str(_model_path()), options, providers=["CPUExecutionProvider"])


def _model_path() -> Path:
    spec = importlib.util.find_spec("faster_whisper")  # only to find its folder: importing it takes seconds
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder, "assets").glob("silero_vad_v6*.onnx")):
            return path
    raise errors.EngineUnavailable("The voice activity model is not installed (the faster-whisper package carries it).")
