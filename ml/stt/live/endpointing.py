"""Where utterances begin and end, frame by frame.

The same rules as `ml.stt.vad.find_windows` has for recordings, applied as the frames come: hysteresis between two
thresholds, bursts that are too short forgotten, pauses that are too short bridged. What is different: long speech
cannot be cut where it was quietest, for what follows is not known. Instead the pause that ends an utterance is taken
shorter as it grows, down to a single quiet frame, and at the limit it is cut where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml.stt.live.options import Endpointing
from ml.stt.vad import FRAMES_PER_SECOND

_HURRY, _HURRY_PAUSE_SECONDS = 0.75, 0.15  # from this share of the longest utterance on, such a pause ends it
_PRESS = 0.9  # and from this share on a single quiet frame


@dataclass(frozen=True, slots=True)
class Span:
    """Frames [start, end) of speech, without padding."""

    start: int
    end: int
    cut: bool  # ended for its length, not for a pause


Change = Literal["started", "quiet", "resumed", "ended"]


class Endpointer:
    """One stream. `frame` counts the frames heard."""

    def __init__(self, options: Endpointing, *, max_seconds: float, lead_seconds: float = 0.0) -> None:
        """lead_seconds: of sound that windows have before the speech, where that is more than the padding."""
        self._options = options
        self._max_frames = max(2, int(max_seconds * FRAMES_PER_SECOND))
        self._silence_frames = _frames(options.silence_seconds)
        self._padding_frames = _frames(options.padding_seconds)
        self._lead_frames = max(self._padding_frames, _frames(lead_seconds))
        self.frame = 0
        self.speech_frames = 0  # of the utterances that have ended
        self._floor = 0  # where the utterance before ended
        self._run: int | None = None  # start of the frames over the lower threshold, without a gap
        self._run_is_sure = False  # and one of them was over the higher
        self.start: int | None = None  # of the speech under way, or what may become such
        self.end = 0  # of it, so far
        self.speaking = False  # it was long enough to be speech
        self._quiet = False

    @property
    def window_start(self) -> int:
        """With what leads to the speech, but nothing that the utterance before has."""
        return max(self._floor, (self.start or 0) - self._lead_frames)

    @property
    def window_end(self) -> int:
        """With padding, of what has been heard."""
        return min(self.frame, self.end + self._padding_frames)

    @property
    def pause(self) -> int:
        """Frames since the last speech."""
        return self.frame - self.end

    def push(self, probability: float) -> Change | None:
        """What the frame changes: speech started, its window is complete ("quiet"), it goes on, or it has ended.

        After "ended", `take` gives the span.
        """
        self._hear(probability)
        if self.start is None:
            return None
        if not self.speaking:
            return self._begin()
        if self._has_ended():
            return "ended"
        quiet = self.pause >= min(self._padding_frames, self._silence_frames)
        if quiet != self._quiet:
            self._quiet = quiet
            return "quiet" if quiet else "resumed"
        return None

    def take(self) -> Span:
        """The speech under way, which ends here; the next utterance begins behind it."""
        cut = self._run is not None or self.pause < self._silence_frames
        span = Span(self.start or 0, self.end, cut)
        self._floor = self.window_end
        self.speech_frames += span.end - span.start
        self._forget()
        self._run = None  # so that a frame has to be sure again
        return span

    def forget(self) -> None:
        """What was heard until now belongs to no utterance."""
        self._floor, self._run = self.frame, None
        self._forget()

    def _hear(self, probability: float) -> None:
        place = self.frame
        self.frame += 1
        if probability < self._options.end_threshold:
            self._run = None
            return
        if self._run is None:
            self._run, self._run_is_sure = place, False
        self._run_is_sure = self._run_is_sure or probability >= self._options.threshold
        if self._run_is_sure:
            self.start = max(self._run, self._floor) if self.start is None else self.start
            self.end = self.frame

    def _begin(self) -> Change | None:
        if self.end - (self.start or 0) >= self._options.min_speech_seconds * FRAMES_PER_SECOND:
            self.speaking, self._quiet = True, False
            return "started"
        if self.pause >= self._silence_frames:
            self._forget()
        return None

    def _has_ended(self) -> bool:
        length = self.frame - self.window_start
        if length >= self._max_frames:
            return True
        if length >= _PRESS * self._max_frames and self.pause:
            return True
        if length >= _HURRY * self._max_frames and self.pause >= _frames(_HURRY_PAUSE_SECONDS):
            return True
        return self._options.enabled and self.pause >= self._silence_frames

    def _forget(self) -> None:
        self.start, self.speaking = None, False


def _frames(seconds: float) -> int:
    return max(1, round(seconds * FRAMES_PER_SECOND))
