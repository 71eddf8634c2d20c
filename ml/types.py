"""Frozen types that cross the borders of `ml`. Seconds are floats from the start of the audio, probabilities 0–1."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ml.tts.lexicon import Lexicon
    from ml.tts.own import OwnVoice

Samples = NDArray[np.float32]
"""Mono audio, shape (samples,), float32 in [-1, 1]."""

PcmSamples = NDArray[np.int16]
"""Mono audio, shape (samples,), signed 16-bit."""

NO_SOUND: Final[PcmSamples] = np.zeros(0, np.int16)

Priority = Literal["realtime", "synchronous", "batch"]
"""Somebody speaks or listens now; somebody waits for an answer; nobody waits."""


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom the engines compute: which queue the work waits in, and before whose."""

    tenant: str = ""  # any key of an organisation; all work under one key shares one turn
    priority: Priority = "synchronous"
    weight: float = 1.0  # the tenant's share of a busy engine, relative to the others'


# ── Models ──────────────────────────────────────────────────────────────────────────────────────────────────────────

Status = Literal["registered", "loading", "ready", "failed"]
"""Of a model in this process."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model as it is now. `users`, `memory_bytes` and `loaded_at` are the serving version's."""

    id: str
    task: str
    name: str
    version: str
    engine: str
    status: Status
    device: str
    memory_bytes: int | None  # None: not loaded
    process_bytes: int  # beside that, of the engine's processes, which come and go with the load
    loaded_at: float | None  # seconds since the epoch; None: not loaded
    users: int
    last_error: str | None  # why the last load failed, or what broke; also while an older version serves

    @property
    def taken_bytes(self) -> int | None:
        """Of memory in all. None: not loaded."""
        return None if self.memory_bytes is None else self.memory_bytes + self.process_bytes


# ── Speech out ──────────────────────────────────────────────────────────────────────────────────────────────────────

MOST_VOICE_CHARACTERS = 255
"""In an id of a voice or the name of a mix, which has room for four own voices with their weights and languages."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice that can speak now."""

    id: str  # stable over restarts and upgrades, unique over all engines
    name: str  # for people
    language: str  # BCP-47, e.g. "en-US"
    gender: Literal["male", "female", "neutral"] | None
    engine: str  # e.g. "espeak"
    model: str  # the name of the model that carries the voice, e.g. "espeak-ng"


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """How to speak. Verified by `ml.tts.synthesize` before any computing."""

    language: str | None = None  # BCP-47; None: the voice's, or en-US
    voice: str | None = None  # a voice id; None: the default voice of the language
    model: str | None = None  # a model name; None: the voice's
    speed: float = 1.0  # 0.25–4, times the voice's normal rate
    pitch: float = 0.0  # semitones, -12–12
    volume: float = 1.0  # linear gain, 0–2
    ssml: bool = False  # the text is SSML 1.1
    sample_rate: int | None = None  # hertz, 8000–48000; None: the engine's own
    own_voices: tuple[OwnVoice, ...] = ()  # those of the caller's that the request names
    normalize: bool | None = None  # write out numbers, dates, addresses…; None: for engines that know nothing of them
    timestamps: bool = False  # tell when each word is said
    trim_silence: bool = False  # no silence before the first word and behind the last
    lexicon: Lexicon | None = None  # how words are to be pronounced


@dataclass(frozen=True, slots=True)
class SpokenWord:
    text: str  # as it is written
    start: float  # seconds from the chunk's beginning
    end: float


@dataclass(frozen=True, slots=True)
class SpokenMark:
    """Where a `<mark>` of SSML was reached."""

    name: str
    time: float  # seconds from the chunk's beginning


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A stretch of speech, about a sentence, with the text that it speaks. One with marks may be without samples."""

    samples: PcmSamples
    sample_rate: int  # hertz
    text: str
    words: tuple[SpokenWord, ...] = ()  # where they were asked for
    marks: tuple[SpokenMark, ...] = ()
    estimated: bool = False  # the times are our estimate rather than the engine's word

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / self.sample_rate


# ── Speech in ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    start: float  # seconds
    end: float  # seconds
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech between two pauses."""

    start: float  # seconds
    end: float  # seconds
    text: str
    confidence: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class AudioQuality:
    """Of the input: clipping as decoded, the rest behind the high-pass filter and before noise is suppressed."""

    snr_db: float | None  # None: no speech, or no pause to measure the noise in
    speech_ratio: float  # speech seconds / total seconds
    clipping_ratio: float  # samples at full scale / samples
    score: float  # 0 (unusable) – 1 (studio)


@dataclass(frozen=True, slots=True)
class KnownSpeaker:
    """Somebody of whose voice there is a sample; made by `ml.stt.known_speakers.enrol`."""

    name: str
    voice: tuple[float, ...]  # the installed model's embedding, of length 1


@dataclass(frozen=True, slots=True)
class TranscriptionOptions:
    """What to recognise and how. Verified by `ml.stt.transcribe` before any computing."""

    language_hint: str | None = None  # BCP-47 or ISO 639-1; None: detect, or the recogniser's own
    model: str | None = None  # a model name; None: routed by language
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str = ""  # earlier text, for spelling and context
    hotwords: tuple[str, ...] = ()  # phrases to favour
    word_timestamps: bool = False  # put words into segments
    diarize: bool = False  # tell speakers apart
    speakers: int | None = None  # how many there are; None: to be found out
    channels: Literal["mix", "separate"] = "mix"  # separate: each channel is a speaker's own
    known_speakers: tuple[KnownSpeaker, ...] = ()  # whose names stand for numbers where their voices are recognised
    itn: bool = True  # "twenty three" → "23"
    punctuate: bool = True
    profanity_filter: bool = False  # "damn" → "d***"
    redact: bool = False  # e-mail addresses, telephone and card numbers → "[EMAIL]", "[PHONE]", "[CARD]"
    reference_audio: Path | None = None  # the far end's signal: what the loudspeaker played while this was recorded
    disable: tuple[str, ...] = ()  # names of stages to leave out
    enable: tuple[str, ...] = ()  # names of stages to run even where measurement or the engine makes them unnecessary


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. Silence gives an empty `text` and no `segments`."""

    text: str
    segments: tuple[Segment, ...]
    language: str  # BCP-47
    language_confidence: float
    confidence: float
    duration_seconds: float
    model_used: str
    quality: AudioQuality
    stages: tuple[str, ...]  # the names of those that ran, in order
    timings: dict[str, float] = field(default_factory=dict)  # seconds by stage
    fallback_reason: str | None = None
    channels: int = 1  # that were recognised, each for the whole duration
    version_used: str = ""  # of the model; embedded ones have none
    version_tried: str = ""  # the version on trial that was asked first; where it is not the one used, it failed
