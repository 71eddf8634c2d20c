"""What the sherpa-onnx engines share: settings, files, the trial in a child process, and words from tokens.

A `Plan` is how a recogniser is made: a constructor of the library and its arguments, all plain values, so that it can
be sent to a child process. sherpa-onnx ends the process over what it does not like in a model, so `try_plan` lets a
child build it and hear a second of noise before this process does; the checks in `ml.stt.engines.checks` come first,
for a reason that can be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import devices, errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines.base import Hypothesis, Window
from ml.stt.engines.options import check_range, read_settings, thread_count
from ml.stt.engines.pocketsphinx import mean_confidence
from ml.types import PcmSamples, Word
from ml.workers import WorkerPool

SAMPLE_RATE = 16_000
METHODS = ("greedy_search", "modified_beam_search")
UNITS = ("cjkchar", "bpe", "cjkchar+bpe")
MAX_HOTWORDS, MAX_HOTWORD_LETTERS = 200, 100
MAX_HOTWORDS_SCORE = 4.0
"""Measured on a Conformer transducer: a higher score makes the model hear the phrase where nobody said it."""

TRIAL_SECONDS = 180.0
SHORTEST_SECONDS = 0.5
"""Shorter sounds are padded with silence: some encoders fail on fewer frames than their convolutions span."""

UNSURE = 0.5
"""The probability of a detected language: the library tells none, so that it is neither sure nor ruled out."""

LAST_WORD_SECONDS = 0.4  # of a last word without a known end


@dataclass(frozen=True, slots=True)
class SherpaSettings:
    """`settings` of a `model.json` whose engine is sherpa. File names are those of the folder; "" finds them."""

    device: str = "auto"  # auto or cpu: the wheel has no GPU code
    threads: int = 0  # of one call; 0: the cores, at most eight
    max_batch: int = 8  # windows a call
    model_type: str = ""  # which kind of transducer, or of CTC model
    feature_dim: int = 80  # mel bins
    decoding_method: str = "greedy_search"
    max_active_paths: int = 4  # of modified_beam_search
    blank_penalty: float = 0.0  # taken from the blank's score: more words, fewer left out
    hotwords_score: float = 1.5  # for each token of a hotword
    modeling_unit: str = "cjkchar"  # how hotwords become tokens
    lm_scale: float = 0.1  # of its logarithm beside the transducer's
    lodr_scale: float = 0.0  # of the transducer's own, as a bigram model tells it: under 0 to take it out
    language: str = ""  # that Whisper and SenseVoice expect; "" detects it
    use_itn: bool = True  # SenseVoice writes "23", and punctuation
    tail_paddings: int = -1  # Whisper's, in frames; -1: the library's
    word_times: bool = False  # Whisper's, whose decoder must have been exported with its attention
    encoder: str = ""
    decoder: str = ""
    joiner: str = ""
    model: str = ""
    tokens: str = ""
    preprocessor: str = ""
    uncached_decoder: str = ""
    cached_decoder: str = ""
    bpe_vocab: str = ""  # a SentencePiece vocabulary; needed where hotwords are made of its pieces
    lm: str = ""  # a neural language model, ONNX
    lodr_fst: str = ""

    def __post_init__(self) -> None:
        check_range("threads", self.threads, 0, 64)
        check_range("max_batch", self.max_batch, 1, 256)
        check_range("feature_dim", self.feature_dim, 20, 256)
        check_range("max_active_paths", self.max_active_paths, 1, 64)
        check_range("blank_penalty", self.blank_penalty, 0, 10)
        check_range("hotwords_score", self.hotwords_score, 0, MAX_HOTWORDS_SCORE)
        check_range("lm_scale", self.lm_scale, 0, 5)
        check_range("lodr_scale", self.lodr_scale, -5, 5)
        if self.decoding_method not in METHODS:
            raise ValueError(f"decoding_method must be one of {', '.join(METHODS)}")
        if self.modeling_unit not in UNITS:
            raise ValueError(f"modeling_unit must be one of {', '.join(UNITS)}")
        if self.lm and self.decoding_method != "modified_beam_search":
            raise ValueError("a language model needs the decoding_method modified_beam_search")
        if self.lodr_fst and not self.lm:
            raise ValueError("lodr_fst needs a language model")

    @property
    def hotwords(self) -> bool:
        """Whether hotwords can be favoured."""
        spelled = self.modeling_unit == "cjkchar" or bool(self.bpe_vocab)
        return spelled and self.decoding_method == "modified_beam_search"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to make a native object."""

    library_class: str  # of sherpa_onnx
    constructor: str  # a class method, or "" for the class itself
    arguments: dict[str, Any] = field(default_factory=dict)  # of None, bool, numbers, str


def settings_of(manifest: ModelManifest) -> SherpaSettings:
    """Raises `ModelInvalid`."""
    settings = read_settings(manifest, SherpaSettings)
    if settings.device not in ("auto", devices.CPU):
        raise errors.ModelInvalid(f"{manifest.id}: sherpa models run on the CPU; the device must be auto or cpu.")
    return settings


def common_arguments(settings: SherpaSettings) -> dict[str, Any]:
    """What every constructor takes."""
    return {"num_threads": thread_count(settings.threads), "provider": "cpu"}


def find_file(folder: ModelFolder, part: str, wanted: str = "", *, suffix: str = ".onnx") -> Path:
    """The file that the settings name, else the only one whose name tells the part; int8 where there is both.

    Raises `ModelInvalid` where there is none, more than one, or a link.
    """
    if wanted:
        return regular_file(folder, wanted)
    names = [name for name in folder.manifest.files if name.endswith(suffix)]
    for exact in (f"{part}.int8{suffix}", f"{part}{suffix}"):
        if exact in names:
            return regular_file(folder, exact)
    fitting = [name for name in names if part in Path(name).name]
    small = [name for name in fitting if ".int8." in name]
    found = small if len(small) == 1 else fitting
    if len(found) != 1:
        raise errors.ModelInvalid(f"{folder.manifest.id} has {len(found)} files for its {part}; one is needed.")
    return regular_file(folder, found[0])


def regular_file(folder: ModelFolder, name: str) -> Path:
    path = folder.file(name)
    if not path.is_file() or not path.resolve().is_relative_to(folder.path.resolve()):
        raise errors.ModelInvalid(f"{folder.manifest.id}: the file {name!r} is missing.")
    return path


# ── Trial ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def build(plan: Plan) -> Any:
    """The native object. Raises whatever the library does, or ends the process."""
    import sherpa_onnx

    maker = getattr(sherpa_onnx, plan.library_class)
    if plan.constructor:
        maker = getattr(maker, plan.constructor)
    return maker(**plan.arguments)


_passed: set[str] = set()
_passed_lock = threading.Lock()


def try_plan(folder: ModelFolder, plan: Plan, target: str = "ml.stt.engines.sherpa:Trial") -> None:
    """Lets a child process build it and use it once. Raises `ModelInvalid`. The same files are tried once."""
    name = _fingerprint(folder, plan)
    with _passed_lock:
        if name in _passed:
            return
    pool = WorkerPool(target, {"plan": asdict(plan)}, size=1)
    try:
        pool.call("run", timeout_seconds=TRIAL_SECONDS)
    except errors.EngineFailed as error:
        raise errors.ModelInvalid(f"{folder.manifest.id} cannot be loaded: {error.message}") from None
    finally:
        pool.close()
    with _passed_lock:
        _passed.add(name)


def _fingerprint(folder: ModelFolder, plan: Plan) -> str:
    """Of what the child saw: the files as they are now, and how they are used."""
    stats = [(name, os.stat(folder.path / name)) for name in sorted(folder.manifest.files)]
    files = [[name, entry.st_size, entry.st_mtime_ns, entry.st_ino] for name, entry in stats]
    return hashlib.sha256(json.dumps([str(folder.path), files, asdict(plan)]).encode()).hexdigest()


class Trial:
    """What runs in the child."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = Plan(**plan)

    def run(self) -> None:
        """Hears two lengths of noise at once, as a batch does."""
        recognizer = build(self._plan)
        generator = np.random.default_rng(0)
        streams = []
        for seconds in (SHORTEST_SECONDS, 1.3):
            stream = recognizer.create_stream()
            noise = generator.normal(0, 0.05, round(SAMPLE_RATE * seconds)).astype(np.float32)
            stream.accept_waveform(SAMPLE_RATE, noise)
            streams.append(stream)
        if self._plan.library_class == "OnlineRecognizer":
            decode_online(recognizer, streams)
        else:
            recognizer.decode_streams(streams)


def decode_online(recognizer: Any, streams: Sequence[Any], cancel: threading.Event | None = None) -> None:
    """Ends the streams and decodes what they hold, step by step, those that are ready together."""
    for stream in streams:
        stream.input_finished()
    while ready := [stream for stream in streams if recognizer.is_ready(stream)]:
        if cancel is not None and cancel.is_set():
            raise errors.Cancelled("The request was cancelled.")
        recognizer.decode_streams(ready)


# ── Windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def waveform(samples: PcmSamples) -> NDArray[np.float32]:
    """(n,) in [-1, 1], at least `SHORTEST_SECONDS`."""
    padded = np.zeros(max(len(samples), round(SHORTEST_SECONDS * SAMPLE_RATE)), np.float32)
    padded[: len(samples)] = samples.astype(np.float32) / 32768
    return padded


def check_window(window: Window, languages: frozenset[str]) -> None:
    if window.language is not None and window.language not in languages:
        raise errors.LanguageNotSupported(
            f"This model does not recognise the language '{window.language}'.", param="language_hint"
        )
    if window.task != "transcribe":
        raise errors.InvalidRequest("This model does not translate.", param="task")


def sound_places(windows: Sequence[Window]) -> list[int]:
    """The places of the windows that hold any sound."""
    return [place for place, window in enumerate(windows) if bool(np.any(window.samples))]


def batches(places: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]


@contextlib.contextmanager
def failing_as(what: str) -> Iterator[None]:
    """The library's exceptions as `EngineFailed`."""
    try:
        yield
    except errors.MlError:
        raise
    except Exception as error:
        raise errors.EngineFailed(f"{what} failed: {error}") from error


def hotwords_text(phrases: Sequence[str], letters: frozenset[str]) -> str:
    """Phrases as the library reads them, split by "/". Its own marks are taken out, for ":9" would be a score.

    letters: those that the model's tokens are made of; a phrase with another is left out, for it cannot be heard.
    """
    kept = []
    for phrase in phrases[:MAX_HOTWORDS]:
        plain = " ".join("".join(" " if letter in "/:#@\\" else letter for letter in phrase).split())
        for spelled in dict.fromkeys((plain, plain.upper(), plain.lower())):
            if spelled and len(spelled) <= MAX_HOTWORD_LETTERS and set(spelled) <= letters | {" "}:
                kept.append(spelled)
                break
    return "/".join(kept)


def hotword_letters(tokens: Iterable[str], settings: SherpaSettings) -> frozenset[str]:
    """The letters that hotwords can be spelled with: single ones are tokens themselves, pieces are made of theirs."""
    plain = [token for token in tokens if not (token.startswith("<") and token.endswith(">"))]
    if settings.modeling_unit == "cjkchar":
        plain = [token for token in plain if len(token) == 1]
    return frozenset("".join(plain))


# ── Words ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def tokens_of(result: Any) -> list[str]:
    """None where a letter is split over two of them, as in Hindi: the binding cannot give such tokens."""
    try:
        return list(result.tokens)
    except UnicodeDecodeError:
        return []


def hypothesis_of(
    text: str,
    tokens: Sequence[str],
    times: Sequence[float],
    log_probs: Sequence[float],
    seconds: float,
    language: str | None = None,
) -> Hypothesis:
    """What one result says; without token times it has no words, without log-probabilities their confidence is 1."""
    text = " ".join(text.split())
    probability = UNSURE if language else None
    if not any(letter.isalnum() for letter in text):
        return Hypothesis("", (), 0.0, language, probability)
    words = words_of(tokens, times, log_probs, seconds) if len(times) == len(tokens) else ()
    confidence = math.exp(min(0.0, sum(log_probs) / len(log_probs))) if log_probs else 1.0
    return Hypothesis(text, words, mean_confidence(words) or confidence, language, probability)


def words_of(
    tokens: Sequence[str], times: Sequence[float], log_probs: Sequence[float], seconds: float
) -> tuple[Word, ...]:
    """Joins tokens: one that begins with a space or "▁" begins a word, so does a letter of a script without spaces.

    A word ends where the next begins, at most `LAST_WORD_SECONDS` after its last token began. Its confidence is the
    geometric mean of its tokens' probabilities.
    """
    groups: list[list[int]] = []
    spaced = False
    for place, token in enumerate(tokens):
        bare = token.replace("▁", " ")
        begins = spaced or not groups or bare.startswith(" ") or _stands_alone(bare)
        spaced = not bare.strip()
        if spaced:
            continue
        if begins and any(letter.isalnum() for letter in bare):
            groups.append([place])
        elif groups:  # also a mark of its own: it ends the word before
            groups[-1].append(place)
    words = []
    for number, group in enumerate(groups):
        start = min(seconds, max(0.0, times[group[0]]))
        limit = times[groups[number + 1][0]] if number + 1 < len(groups) else seconds
        end = min(seconds, max(start, min(limit, times[group[-1]] + LAST_WORD_SECONDS)))
        scores = [log_probs[place] for place in group] if len(log_probs) == len(tokens) else [0.0]
        confidence = math.exp(min(0.0, sum(scores) / len(scores)))
        text = "".join(tokens[place].replace("▁", " ") for place in group).strip()
        words.append(Word(text, round(start, 3), round(end, 3), round(confidence, 3)))
    return tuple(words)


def _stands_alone(token: str) -> bool:
    """Whether it is a letter of Chinese or Japanese."""
    return len(token) == 1 and ("\u3040" <= token <= "\u30ff" or "\u3400" <= token <= "\u9fff")
