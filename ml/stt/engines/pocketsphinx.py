"""The embedded recogniser: PocketSphinx, with the US-English model that its wheel carries or with a model folder's.

A folder (`load`) brings any of an acoustic model (the files beside `mdef`), a pronouncing dictionary (`.dict`), and a
language model (`.lm`, `.arpa`, `.bin`) or a JSGF grammar (`.gram`, `.jsgf`); what it lacks is the wheel's.

`process_raw` holds the GIL for the whole of a window, so decoders live in worker processes. Search settings are the
model's own: wider and narrower beams, language weights, word insertion penalties and gain control were measured and
either cost words or far more time than the words they saved (see `benchmarks/stt_engine.py`).
"""

from __future__ import annotations

import itertools
import math
import os
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ml import errors
from ml.artifacts import ModelFolder, ModelManifest
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.options import check_range, read_settings, spoken_languages
from ml.types import NO_SOUND, PcmSamples, Word
from ml.workers import WorkerPool

if TYPE_CHECKING:
    from ml.stt.engines.pocketsphinx_live import SphinxUtterance

MODEL_NAME = "pocketsphinx-en-us"
MEMORY_BYTES = 2 << 30
"""Address space of a decoder: the mapped model takes about 150 MB, the lattice of a hard window some more."""

LOAD_SECONDS = 120.0
MAX_TEXT_BYTES = 256 << 20  # of a dictionary, a grammar, the head of a language model

SECONDS_PER_AUDIO_SECOND = 10
"""Time granted: forty times what clean speech takes."""

NOISE_CONFIDENCE = 0.05
"""Measured: music that passed for speech came out at 0.005, the hardest of 75 windows of real speech at 0.09."""

NOISE_WORD_CONFIDENCE = 0.15
"""Measured in noise: leaving out words under 0.1 to 0.3 takes out far more wrong words than right ones."""

CONFIDENCE_MAP = ((0.0, 0.15), (0.15, 0.24), (0.5, 0.37), (0.7, 0.56), (0.87, 0.68), (0.95, 0.8), (1.0, 0.92))
"""Posterior of a word → share of words that are right at it, in clean and noisy speech (`benchmarks/confidence.py`)."""

_VARIANT = re.compile(r"\(\d+\)$")  # "to(2)" is the second pronunciation of "to"
_FILLER_STARTS = ("<", "[", "+")  # <s>, <sil>, [NOISE], ++SMACK++
_FRAMES_PER_SECOND = 100
HEAD_BYTES, PIECE_BYTES, UPDATE_SAMPLES = 12_800, 1600, 6400  # of live speech: 0.4, 0.05 and 0.4 seconds
LEAD_SECONDS = 0.4
"""Of sound before live speech: all of the head, so that the search begins as soon as speech has."""

SETTLED_SECONDS = 4.0
"""Of live speech: the search through the lattice at the end still corrects what was heard alike for seconds."""

_USUAL_MEAN = (53.4, 10.5, -7.5, 13.6, -13.0, -1.2, -10.6, -5.9, 1.4, -3.6, 1.8, -2.3, 2.6)
"""The cepstral mean of real recordings in the features of the wheel's own acoustic model."""
_HEAD_WEIGHT = 0.12
"""Of 0.4 seconds, most of it silence, against the usual mean: as if that were of three seconds more."""
_PATHS_A_TEXT = 5  # paths through the lattice that differ in silences and pronunciations only
_SCORE_SCALE = 1024 / 6.5
"""The library shifts its logarithms right by 10 bits, and its own language model counts 6.5 times in them."""


@dataclass(frozen=True, slots=True)
class SphinxSettings:
    """`settings` of a `model.json`. File names are those of the folder; "" finds them by their endings."""

    processes: int = 0  # 0: the cores
    dictionary: str = ""
    language_model: str = ""
    grammar: str = ""
    language_weight: float = 6.5
    word_insertion_penalty: float = 0.65

    def __post_init__(self) -> None:
        check_range("processes", self.processes, 0, 64)
        check_range("language_weight", self.language_weight, 0.1, 100)
        check_range("word_insertion_penalty", self.word_insertion_penalty, 1e-6, 100)


def capabilities(manifest: ModelManifest) -> EngineCapabilities:
    """By what the manifest says alone; loads nothing."""
    settings = read_settings(manifest, SphinxSettings)
    return _capabilities(spoken_languages(manifest) or frozenset({"en"}), settings.processes or os.cpu_count() or 1)


def load(folder: ModelFolder) -> PocketSphinx:
    """Raises `ModelInvalid`; the files are first read in a worker process."""
    able = capabilities(folder.manifest)
    engine = PocketSphinx(processes=able.concurrency, config=_config(folder), languages=able.languages)
    try:
        engine.pool.call("decode", bytes(2 * 16_000), timeout_seconds=LOAD_SECONDS)
    except errors.EngineFailed as error:
        engine.close()
        raise errors.ModelInvalid(f"{folder.manifest.id} cannot be loaded: {error.message}") from None
    return engine


def _capabilities(languages: frozenset[str], processes: int) -> EngineCapabilities:
    return EngineCapabilities(
        languages=languages,
        max_window_seconds=20.0,
        concurrency=processes,
        word_times=True,
        word_confidences=True,
        noise_confidence=NOISE_CONFIDENCE,
        noise_word_confidence=NOISE_WORD_CONFIDENCE,
        confidence_map=CONFIDENCE_MAP,
        alternatives=True,
        streaming=True,
        lead_seconds=LEAD_SECONDS,
        settled_seconds=SETTLED_SECONDS,
    )


class PocketSphinx:
    """Recognises in up to `processes` child processes, started when first needed.

    config: PocketSphinx's own settings, such as `hmm` and `dict`; what it lacks is the wheel's, US English.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        config: Mapping[str, Any] | None = None,
        languages: frozenset[str] = frozenset({"en"}),
    ) -> None:
        from ml.stt.engines.pocketsphinx_live import SphinxStreams

        size = processes or os.cpu_count() or 1
        self._pool = WorkerPool(
            "ml.stt.engines.pocketsphinx:Decoder", {"config": dict(config or {})}, size=size, memory_bytes=MEMORY_BYTES
        )
        self.streams = SphinxStreams(processes=size, config=dict(config or {}))
        self.capabilities = _capabilities(languages, size)

    def recognise(self, windows: Sequence[Window], *, cancel: threading.Event | None = None) -> list[Hypothesis]:
        return [self._recognise(window, cancel) for window in windows]

    def open_utterance(self, *, hotwords: Sequence[str] = (), before: PcmSamples | None = NO_SOUND) -> SphinxUtterance:
        """See `ml.stt.engines.streaming`. Hotwords count when the utterance's alternatives are scored again."""
        return self.streams.open(before)

    def prepare_utterance(self, speakers: int) -> None:
        """A decoder takes a quarter of a second to make, and its process as long to start."""
        self.streams.prepare(speakers)

    def close(self) -> None:
        self._pool.close()
        self.streams.close()

    def process_bytes(self) -> int:
        return self._pool.memory_bytes() + self.streams.memory_bytes()

    @property
    def pool(self) -> WorkerPool:
        return self._pool

    def _recognise(self, window: Window, cancel: threading.Event | None) -> Hypothesis:
        if window.task != "transcribe" or window.language not in (None, *self.capabilities.languages):
            spoken = ", ".join(sorted(self.capabilities.languages))
            raise errors.InvalidRequest(f"This recogniser only transcribes {spoken}.", param="language_hint")
        limit = 30 + SECONDS_PER_AUDIO_SECOND * len(window.samples) / 16_000
        pcm = np.ascontiguousarray(window.samples).tobytes()
        words, others = self._pool.call(
            "decode_n_best", pcm, window.alternatives, cancel=cancel, timeout_seconds=limit, repeatable=True
        )
        heard = to_hypothesis([Word(text, start, end, confidence) for text, start, end, confidence in words])
        return with_alternatives(heard, others)


def with_alternatives(heard: Hypothesis, others: Sequence[Sequence[Any]]) -> Hypothesis:
    """others: (text, score) of each."""
    alternatives = tuple(Hypothesis(text, (), heard.confidence, score=score) for text, score in others)
    return replace(heard, alternatives=alternatives)


def to_hypothesis(words: Sequence[Word]) -> Hypothesis:
    """Joins words; the confidence is the mean of theirs, weighted by their durations."""
    return Hypothesis(" ".join(word.text for word in words), tuple(words), mean_confidence(words))


def mean_confidence(words: Sequence[Word]) -> float:
    """Word confidences averaged over speaking time, so that a slurred "a" counts less than a long word; 0 of none."""
    seconds = sum(word.end - word.start for word in words)
    return sum(word.confidence * (word.end - word.start) for word in words) / seconds if seconds else 0.0


class Decoder:
    """What runs in the worker process: one search, of whole windows or of speech as it comes.

    language_model: that of another decoder of the same configuration, to share its memory.
    """

    def __init__(self, config: Mapping[str, Any], *, language_model: Any = None) -> None:
        from pocketsphinx import Decoder as SphinxDecoder

        self._decoder = SphinxDecoder(loglevel="FATAL", **{**config, "lm": None})  # else it loads one of its own
        self._own_acoustics = "hmm" not in config
        self.language_model = None if "jsgf" in config else language_model or self._read_language_model(config)
        if self.language_model is not None:
            self._decoder.add_lm("words", self.language_model)
            self._decoder.activate_search("words")
        self._search = self._decoder.current_search()
        silence = self._decoder.create_fsg("nothing", 0, 1, [(0, 1, 1.0, "<sil>")])
        self._decoder.add_fsg("nothing", silence)  # a search that takes no time
        self._samples = 0
        self._waiting = bytearray()  # live speech that is still to be processed
        self._before = bytearray()  # what led to it
        self._begun = False  # whether an utterance of live speech is under way
        self.decode(bytes(6400))  # what a search hears first of all it scores a little otherwise

    def _read_language_model(self, config: Mapping[str, Any]) -> Any:
        """The file's own, which decoders can share.

        What a decoder gives back as its model is a set around it, to which every word of the dictionary is known: who
        searches with that follows words that the model lacks, takes up to a fifth longer and hears other words.
        """
        from pocketsphinx import NGramModel, get_model_path

        path = config.get("lm") or get_model_path("en-us/en-us.lm.bin")
        return NGramModel(self._decoder.config, self._decoder.get_logmath(), path)

    def decode_n_best(
        self, pcm: bytes, count: int
    ) -> tuple[list[tuple[str, float, float, float]], list[tuple[str, float]]]:
        """What `decode` gives, and up to `count` different texts with their scores, the best first."""
        words = self.decode(pcm)
        return words, self._n_best(count) if words else []

    def decode(self, pcm: bytes) -> list[tuple[str, float, float, float]]:
        """16 kHz mono s16le → (word, start seconds, end seconds, posterior probability in the word lattice)."""
        if not pcm:  # which the library refuses
            return []
        self.begin()
        try:
            self._decoder.process_raw(pcm, full_utt=True)  # so that the cepstral mean is the utterance's own
        finally:
            self._decoder.end_utt()
        self._samples = len(pcm) // 2
        return self._words()

    # ── Speech as it comes ──────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        with warnings.catch_warnings():
            # Called unnecessary, but it alone resets the noise tracker: without it a result depends on what this
            # decoder heard before.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._decoder.start_stream()
        self._decoder.start_utt()
        self._samples = 0

    def hear(self, pcm: bytes, *, before: bytes | None = b"") -> list[tuple[str, float, float, float]]:
        """Takes more of an utterance; its words so far, without probabilities. The first call begins it.

        before: sound that led to the utterance, given with its first call, and not searched for words. None: it begins
        with words, and there was no sound before; instead of waiting for a head it starts with the usual mean.

        The cepstral mean, which takes the channel and the voice out of the features, starts between that of the first
        0.4 seconds and the usual one, and then follows. Everything is done at fixed places, so that the result does
        not depend on how the sound was cut up.
        """
        self._waiting += pcm
        if not self._begun:
            if before is None and self._own_acoustics:
                self._start(_USUAL_MEAN)
            else:
                self._before += before or b""
                if len(self._before) + len(self._waiting) < HEAD_BYTES:
                    return []
                self._start(self._mean_of_head())
        while len(self._waiting) >= PIECE_BYTES:
            self._process(PIECE_BYTES)
            if not self._samples % UPDATE_SAMPLES:
                self._decoder.get_cmn(True)
        return self._words()

    def end(self, count: int) -> tuple[list[tuple[str, float, float, float]], list[tuple[str, float]]]:
        """Ends the utterance; as `decode_n_best`. The next call of `hear` begins another."""
        if not self._begun and not self._waiting:
            self._before.clear()
            return [], []
        if not self._begun:
            self._start(self._mean_of_head())
        if self._waiting:
            self._process(len(self._waiting))
        self._decoder.end_utt()
        self._begun = False
        words = self._words()
        return words, self._n_best(count) if words else []

    def _start(self, mean: Sequence[float]) -> None:
        self.begin()
        self._decoder.set_cmn(",".join(f"{value:.4f}" for value in mean))
        self._begun = True

    def _mean_of_head(self) -> Sequence[float]:
        """Between that of the utterance's head, which is short, and the usual one."""
        # Once it has heard a part of an utterance the library normalises by all that came before, even whole ones: the
        # head's mean would be that of another speaker.
        self._decoder.reinit_feat()
        self._decoder.activate_search("nothing")  # ending an utterance searches it: 40 ms for words
        self.begin()
        head = bytes((self._before + self._waiting)[:HEAD_BYTES])
        self._before.clear()
        self._decoder.process_raw(head, no_search=True, full_utt=True)
        self._decoder.end_utt()
        self._decoder.activate_search(self._search)
        mean = [float(value) for value in self._decoder.get_cmn(False).split(",")]
        if self._own_acoustics:
            pairs = zip(mean, _USUAL_MEAN, strict=True)
            mean = [_HEAD_WEIGHT * here + (1 - _HEAD_WEIGHT) * usual for here, usual in pairs]
        return mean

    def _process(self, size: int) -> None:
        self._decoder.process_raw(bytes(self._waiting[:size]))
        self._samples += size // 2
        del self._waiting[:size]

    # ── Results ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _n_best(self, count: int) -> list[tuple[str, float]]:
        texts: dict[str, float] = {}
        if count:
            for entry in itertools.islice(self._decoder.nbest() or (), count * _PATHS_A_TEXT):
                if entry.hypstr and entry.score > 0 and len(texts) < count:
                    texts.setdefault(entry.hypstr, math.log(entry.score) * _SCORE_SCALE)
        return list(texts.items())

    def _words(self) -> list[tuple[str, float, float, float]]:
        duration = self._samples / 16_000
        segments = self._decoder.seg() or ()
        return [
            (
                _VARIANT.sub("", segment.word),
                min(duration, segment.start_frame / _FRAMES_PER_SECOND),
                min(duration, (segment.end_frame + 1) / _FRAMES_PER_SECOND),
                min(1.0, max(0.0, segment.prob)),
            )
            for segment in segments
            if not segment.word.startswith(_FILLER_STARTS)
        ]


# ── Model folders ───────────────────────────────────────────────────────────────────────────────────────────────────

_ACOUSTIC_FILES = ("mdef", "means", "variances", "transition_matrices")
_DICTIONARY_LINE = re.compile(r"\S+\s+\S.*")


def _config(folder: ModelFolder) -> dict[str, Any]:
    """PocketSphinx's settings for a folder, whose files have been looked into. Raises `ModelInvalid`."""
    settings = read_settings(folder.manifest, SphinxSettings)
    config: dict[str, Any] = {"lw": settings.language_weight, "wip": settings.word_insertion_penalty}
    if acoustic := _acoustic_model(folder):
        config["hmm"] = str(acoustic)
    if dictionary := _file(folder, settings.dictionary, (".dict", ".dic")):
        _check_dictionary(dictionary)
        config["dict"] = str(dictionary)
    language_model = _file(folder, settings.language_model, (".lm", ".arpa", ".bin", ".dmp"))
    grammar = _file(folder, settings.grammar, (".gram", ".jsgf"))
    if language_model and grammar:
        raise errors.ModelInvalid(f"{folder.manifest.id} has both a language model and a grammar.")
    if language_model:
        _check_language_model(language_model)
        config["lm"] = str(language_model)
    if grammar:
        _check_grammar(grammar)
        config["jsgf"] = str(grammar)
    return config


def _acoustic_model(folder: ModelFolder) -> Path | None:
    homes = {Path(name).parent for name in folder.manifest.files if Path(name).name in _ACOUSTIC_FILES}
    if not homes:
        return None
    if len(homes) > 1:
        raise errors.ModelInvalid(f"{folder.manifest.id} has more than one acoustic model.")
    (home,) = homes
    for name in _ACOUSTIC_FILES:
        if not folder.file((home / name).as_posix()).is_file():
            raise errors.ModelInvalid(f"{folder.manifest.id}: the file {name!r} of its acoustic model is missing.")
    return folder.path / home


def _file(folder: ModelFolder, wanted: str, endings: tuple[str, ...]) -> Path | None:
    names = [wanted] if wanted else [name for name in folder.manifest.files if name.endswith(endings)]
    if len(names) > 1:
        raise errors.ModelInvalid(f"{folder.manifest.id}: its settings must say which of {', '.join(names)} to use.")
    if not names:
        return None
    path = folder.file(names[0])
    if not path.is_file() or path.stat().st_size == 0:
        raise errors.ModelInvalid(f"{folder.manifest.id}: the file {names[0]!r} is missing or empty.")
    return path


def _check_dictionary(path: Path) -> None:
    """`word phone phone …` a line; comments begin with "##" or ";;"."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        if line.strip() and not line.startswith(("##", ";;")) and not _DICTIONARY_LINE.fullmatch(line.strip()):
            raise errors.ModelInvalid(f"{path.name}, line {number}: a word needs its phones.")


def _check_language_model(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    if path.suffix in (".lm", ".arpa") and b"\\data\\" not in head and not head.startswith(b"Trie Language Model"):
        raise errors.ModelInvalid(f"{path.name} is no ARPA language model.")


def _check_grammar(path: Path) -> None:
    text = _text(path)
    if not text.startswith("#JSGF"):
        raise errors.ModelInvalid(f"{path.name} is no JSGF grammar.")
    if re.search(r"^\s*import\b", text, re.MULTILINE):  # which would read other files
        raise errors.ModelInvalid(f"{path.name}: a grammar may not import others.")
    if not re.search(r"\bpublic\s*<", text):
        raise errors.ModelInvalid(f"{path.name} has no public rule.")


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise errors.ModelInvalid(f"{path.name} is too large.")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ModelInvalid(f"{path.name} cannot be read: {error}") from None
