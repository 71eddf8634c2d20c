"""What the platform answers. Times are datetimes with a zone, durations and offsets seconds, probabilities 0–1.

`raw` is the answer as it came, with whatever a newer server says beyond these fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")

Task = Literal["stt", "tts"]
Status = Literal["queued", "processing", "succeeded", "failed", "cancelled"]
ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Answer:
    raw: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


# ── Jobs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class JobError:
    """Why a job failed or was cancelled, or an item of a batch was refused."""

    code: str
    message: str
    type: str | None = None
    param: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobState(Answer):
    """How far a job is; what events tell of it."""

    task: Task = "stt"
    job_id: str
    status: Status
    progress: float = 0.0
    stage: str = ""
    batch_id: str | None = None
    custom_id: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: JobError | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, kw_only=True)
class SpeechTimes:
    """When what is heard, in seconds. source: `engine`, `estimated` or `mixed`."""

    source: str | None = None
    words: list[dict[str, Any]] = field(default_factory=list)
    sentences: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SpeechJob(JobState):
    """A synthesis."""

    task: Task = "tts"
    text: str | None = None
    characters: int = 0
    language: str | None = None
    voice: str | None = None
    model: str | None = None
    format: str = "wav"
    sample_rate: int | None = None
    duration_seconds: float | None = None
    audio_url: str | None = None
    """Needs no header, supports ranges, expires."""
    timestamps: SpeechTimes | None = None
    """Where they were asked for; not in lists."""
    verification: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Word:
    word: str
    start: float
    end: float
    confidence: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Segment:
    start: float
    end: float
    text: str
    confidence: float = 0.0
    speaker: str | None = None
    words: list[Word] | None = None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of the sound. clipping_ratio and score are None for live sessions."""

    snr_db: float | None = None
    speech_ratio: float | None = None
    clipping_ratio: float | None = None
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Transcription(JobState):
    """A recognition; what was said is there once it succeeded."""

    text: str | None = None
    language: str | None = None
    language_confidence: float | None = None
    confidence: float | None = None
    timestamps: list[Segment] | None = None
    duration_seconds: float | None = None
    model_used: str | None = None
    fallback_reason: str | None = None
    quality: Quality | None = None
    stages: list[str] | None = None
    timings: dict[str, float] = field(default_factory=dict)
    filename: str = ""
    audio_url: str | None = None


Job: TypeAlias = SpeechJob | Transcription


@dataclass(frozen=True, kw_only=True)
class Refused(Answer):
    """An item of a batch that was not even begun."""

    error: JobError
    custom_id: str | None = None
    filename: str | None = None


@dataclass(frozen=True, kw_only=True)
class Batch(Answer, Generic[T]):
    """Items in the order in which they were sent."""

    batch_id: str
    items: list[T | Refused]


@dataclass(frozen=True, kw_only=True)
class BatchState(Answer):
    """How far a batch is. `jobs` are there where the batch was asked for, not in events."""

    batch_id: str
    task: Task = "stt"
    total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    progress: float = 0.0
    finished_at: datetime | None = None
    jobs: list[JobState] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """All of its jobs have; the server may read them a moment before it reads that the batch is over."""
        under_way = self.counts.get("queued", 0) + self.counts.get("processing", 0)
        return self.finished_at is not None and not under_way


@dataclass(frozen=True, kw_only=True)
class JobEvent(Answer):
    """Of GET /jobs/events. `type`: `snapshot`, `job.progress`, `job.succeeded`, `batch.finished`, `end`, …"""

    type: str
    id: str = ""
    jobs: list[JobState] = field(default_factory=list)
    batches: list[BatchState] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Page(Answer, Generic[T]):
    count: int
    next: str | None
    previous: str | None
    results: list[T]


# ── Voices and models ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Voice(Answer):
    id: str
    name: str = ""
    language: str = ""
    gender: str | None = None
    engine: str = ""
    model: str = ""
    kind: str = "builtin"
    status: str = "ready"
    preview_url: str | None = None
    voice_mixing: bool = False
    """Whether it can be mixed with others of its model: `a(2)+b`."""
    method: str | None = None
    """Of a voice of one's own: `cloned`, or `adapted` where no installed model clones."""
    similarity: dict[str, Any] | None = None
    sample: dict[str, Any] | None = None
    error: JobError | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A timbre: `espeak:en-gb+f2` is the voice `espeak:en-gb` with the variant `f2`."""

    id: str
    name: str = ""
    gender: str | None = None


@dataclass(frozen=True, kw_only=True)
class Voices(Answer):
    voices: list[Voice]
    variants: list[Variant] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Model(Answer):
    id: str
    task: str = ""
    name: str = ""
    version: str = ""
    family: str = ""
    engine: str = ""
    status: str = ""
    default: bool = False
    active: bool = False
    languages: list[str] = field(default_factory=list)
    licence: str = ""
    memory_bytes: int | None = None
    loaded_at: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Models(Answer):
    models: list[Model]
    healthy: bool = True
    workers: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)


# ── Usage ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Sums(Answer):
    tts_characters: int = 0
    stt_seconds: float = 0.0
    tts_jobs: int = 0
    stt_jobs: int = 0
    failed_jobs: int = 0


@dataclass(frozen=True, kw_only=True)
class Day(Sums):
    date: str  # 2030-01-31


@dataclass(frozen=True, kw_only=True)
class Group(Sums):
    key: str | None = None
    name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Usage(Answer):
    total_tts_characters: int
    total_stt_seconds: float
    total_jobs: int
    period: dict[str, Any] = field(default_factory=dict)
    daily: list[Day] = field(default_factory=list)
    groups: dict[str, list[Group]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Quota(Answer):
    """Of a calendar month (UTC). None stands for no limit."""

    period: str
    resets_at: datetime
    limits: dict[str, float | None]
    used: dict[str, float]
    reserved: dict[str, float]
    remaining: dict[str, float | None]
    concurrency: dict[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Identity(Answer):
    """Whom a credential stands for. scopes: a key's; None for a member."""

    type: str = ""
    role: str = ""
    scopes: list[str] | None = None
    organization: dict[str, Any] = field(default_factory=dict)


# ── Live recognition ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class ClientToken(Answer):
    """Opens one live session, from a browser too."""

    session_id: str
    websocket_url: str
    client_token: str
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class LiveEvent(Answer):
    type: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Ready(LiveEvent):
    type: ClassVar[str] = "ready"
    session_id: str
    model: str = ""
    language: str | None = None
    encoding: str = ""
    sample_rate: int = 0


@dataclass(frozen=True, kw_only=True)
class SpeechStarted(LiveEvent):
    type: ClassVar[str] = "speech_started"
    segment: int
    start: float


@dataclass(frozen=True, kw_only=True)
class Partial(LiveEvent):
    """So far, as heard. `text` begins with `stable`, which is not taken back."""

    type: ClassVar[str] = "partial"
    segment: int
    text: str
    stable: str = ""
    start: float = 0.0
    end: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Final(LiveEvent):
    """A segment as a file's transcription writes it; empty where it was no speech after all."""

    type: ClassVar[str] = "final"
    segment: int
    text: str
    start: float = 0.0
    end: float = 0.0
    confidence: float | None = None
    language: str | None = None
    words: list[Word] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class UtteranceEnd(LiveEvent):
    type: ClassVar[str] = "utterance_end"
    last_word_end: float


@dataclass(frozen=True, kw_only=True)
class Finalized(LiveEvent):
    type: ClassVar[str] = "finalized"
    at: float


@dataclass(frozen=True, kw_only=True)
class Billed(LiveEvent):
    type: ClassVar[str] = "usage"
    audio_seconds: float


@dataclass(frozen=True, kw_only=True)
class Closed(LiveEvent):
    type: ClassVar[str] = "closed"
    reason: str = ""
