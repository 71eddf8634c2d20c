"""What a text becomes before it is spoken: runs of words in one style, and pauses between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

SayAs: TypeAlias = Literal["characters"]
Emphasis: TypeAlias = Literal["none", "reduced", "moderate", "strong"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a run of text is spoken. Everything is relative to the request's own speed, pitch and volume."""

    voice: str  # voice id
    rate: float = 1.0  # times the request's speed
    pitch: float = 0.0  # semitones
    pitch_range: float = 1.0  # times the voice's intonation range
    volume: float = 1.0  # linear gain
    emphasis: Emphasis | None = None
    say_as: SayAs | None = None
    phonemes: str | None = None  # espeak's phoneme mnemonics, spoken instead of the text
    ipa: str | None = None  # the same in the IPA, where it was written so


@dataclass(frozen=True, slots=True)
class Run:
    """Words in one style."""

    text: str
    style: Style
    spoken: str | None = None  # what is said for the text, where it is something else
    mark: str | None = None  # it is a mark of this name within an utterance, and has no text

    @property
    def said(self) -> str:
        """What an engine is given."""
        return self.text if self.spoken is None else self.spoken


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence; it also ends the sentence."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A place whose time is told."""

    name: str


@dataclass(frozen=True, slots=True)
class Utterance:
    """What an engine speaks in one call: about a sentence, in one voice. `runs` is never empty."""

    runs: tuple[Run, ...]
    pause: bool = False  # whether it ends with the pause that parts it from the next

    @property
    def source(self) -> str:
        """Its text, to whose characters the times of words refer."""
        return "".join(run.text for run in self.runs)

    @property
    def text(self) -> str:
        return self.source.strip()

    @property
    def voice(self) -> str:
        return self.runs[0].style.voice
