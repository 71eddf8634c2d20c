"""The stages of a transcription: their names, which of them a request may switch, and what the text stages work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ml import errors
from ml.stt.engines.base import EngineCapabilities
from ml.types import Segment, TranscriptionOptions

STAGES = (
    "decode",
    "high_pass",
    "echo_cancellation",
    "vad",
    "noise_suppression",
    "diarize",
    "language",
    "recognise",
    "rescore",
    "punctuate",
    "truecase",
    "itn",
    "profanity_filter",
    "redact",
    "score",
)
"""In the order in which they run."""

SWITCHABLE = frozenset(STAGES) - {"decode", "vad", "diarize", "recognise", "score"}

_WANTED_BY_OPTION = {name: name for name in ("punctuate", "itn", "profanity_filter", "redact")}


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was said; segments carry their words, times are those of the whole audio."""

    segments: tuple[Segment, ...]
    language: str  # BCP-47
    language_confidence: float


class TextStage(Protocol):
    """A stage that works on recognised text, such as punctuation."""

    @property
    def name(self) -> str: ...

    def applies(self, capabilities: EngineCapabilities, options: TranscriptionOptions) -> bool:
        """False where the engine did this already, or the caller does not want it."""
        ...

    def run(self, recognition: Recognition, options: TranscriptionOptions) -> Recognition: ...


def check_switches(options: TranscriptionOptions) -> None:
    """Raises `InvalidRequest` for a stage that does not exist, cannot be switched, or is both enabled and disabled."""
    _check_names(options.enable, "enable")
    _check_names(options.disable, "disable")
    if both := sorted(set(options.enable) & set(options.disable)):
        raise errors.InvalidRequest(f"The stage '{both[0]}' is both enabled and disabled.", param="disable")


def wanted(name: str, options: TranscriptionOptions) -> bool:
    """Whether the request leaves a stage on: by `enable` and `disable` first, then by its own option."""
    if name in options.disable:
        return False
    option = _WANTED_BY_OPTION.get(name)
    return name in options.enable or option is None or bool(getattr(options, option))


def forced(name: str, options: TranscriptionOptions) -> bool:
    """Whether the request wants a stage even where it seems unnecessary."""
    return name in options.enable


def _check_names(names: Sequence[str], param: str) -> None:
    for name in names:
        if name not in SWITCHABLE:
            raise errors.InvalidRequest(
                f"There is no stage '{name}' to switch; there are: {', '.join(s for s in STAGES if s in SWITCHABLE)}.",
                param=param,
            )
