"""Who says what: turns found by an installed model, and the segments and words that fall into them.

A recording with a speaker a channel needs no model: there the channel says who speaks. Speakers are named "speaker_1",
"speaker_2", … in the order in which they first say something, or by their channels.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ml import errors
from ml.audio.decode import SAMPLE_RATE, DecodedAudio
from ml.stt.helpers import base as helpers
from ml.stt.helpers.speakers import Diarizer, SpeakerTurn
from ml.stt.known_speakers import name_speakers
from ml.types import Segment, TranscriptionOptions, Word

TASK = "diarization"
MAX_SECONDS = 2 * 3600.0
"""The model looks at the whole recording at once: a gigabyte for so much."""
MAX_SPEAKERS = 20
MAX_CHANNELS = 8

_SAME_SOUND_DB = -30.0
"""Channels that differ by less are one microphone's: each speaker would be heard in all of them."""
_COMPARED_SAMPLES = 30 * SAMPLE_RATE


def speaker_name(number: int) -> str:
    """Of the speaker with this number, from 0."""
    return f"speaker_{number + 1}"


def check_options(options: TranscriptionOptions) -> None:
    """Raises `InvalidRequest` for what cannot be done, before anything is computed."""
    if options.channels not in ("mix", "separate"):
        raise errors.InvalidRequest("channels is 'mix' or 'separate'.", param="channels")
    by_model = options.diarize and options.channels == "mix"
    if options.speakers is not None:
        if not 1 <= options.speakers <= MAX_SPEAKERS:
            raise errors.InvalidRequest(f"speakers is from 1 to {MAX_SPEAKERS}.", param="speakers")
        if not by_model:
            raise errors.InvalidRequest("speakers is for diarize, with the channels mixed.", param="speakers")
    if options.known_speakers and not by_model:
        raise errors.InvalidRequest("Known speakers are for diarize, with the channels mixed.", param="known_speakers")
    if by_model and not helpers.installed(TASK):
        raise errors.InvalidRequest(
            "No installed model tells speakers apart: `manage.py models pull` installs one. A recording with a channel "
            "a speaker needs none: send channels=separate.",
            param="diarize",
        )


# ── By a model ──────────────────────────────────────────────────────────────────────────────────────────────────────


def find_turns(
    audio: DecodedAudio, options: TranscriptionOptions, *, cancel: threading.Event | None = None
) -> Speakers:
    """Raises `AudioTooLong`, `Cancelled`, `EngineFailed`, `EngineUnavailable`, and `InvalidRequest` without a model."""
    if audio.duration_seconds > MAX_SECONDS:
        raise errors.AudioTooLong(f"Speakers are told apart in up to {MAX_SECONDS / 3600:g} hours.", param="diarize")
    diarizer: Diarizer | None = helpers.helper(TASK)
    if diarizer is None:
        raise errors.InvalidRequest("No installed model tells speakers apart.", param="diarize")
    turns = tuple(diarizer.diarize(audio.samples, speakers=options.speakers, cancel=cancel))
    return Speakers(turns, name_speakers(audio, turns, options.known_speakers))


@dataclass
class Speakers:
    """The turns of a recording, and the names of those who were heard so far."""

    turns: tuple[SpeakerTurn, ...]  # by start; they may overlap
    names: dict[int, str] = field(default_factory=dict)  # by number

    def divide(self, segment: Segment) -> Sequence[Segment]:
        """The segment, cut where the speaker changes between two of its words; each part with its speaker's name."""
        if not self.turns:
            return (segment,)
        words = segment.words
        places = _places(segment.text, words)
        if places is None:
            return (replace(segment, speaker=self._name(self._speaker(segment.start, segment.end))),)
        runs = _runs(self._speakers_of(words))
        ends = [places[first] for _, first, _ in runs[1:]] + [len(segment.text)]
        starts = [0, *ends[:-1]]
        return [
            _part(segment, segment.text[start:end].strip(), words[first:last], self._name(speaker))
            for (speaker, first, last), start, end in zip(runs, starts, ends, strict=True)
        ]

    def _speakers_of(self, words: Sequence[Word]) -> list[int]:
        """A word between two of another speaker's, and half covered by his turn at least, is his."""
        chosen = [self._speaker(word.start, word.end) for word in words]
        for at in range(1, len(words) - 1):
            before, after = chosen[at - 1], chosen[at + 1]
            if before == after != chosen[at]:
                word = words[at]
                covered = _overlaps(self.turns, word.start, word.end).get(before, 0.0)
                if covered >= 0.5 * (word.end - word.start):
                    chosen[at] = before
        return chosen

    def _speaker(self, start: float, end: float) -> int:
        """Whose turns cover most of it, or else lie nearest."""
        overlaps = _overlaps(self.turns, start, end)
        if overlaps:
            return max(overlaps, key=lambda speaker: overlaps[speaker])
        middle = (start + end) / 2
        return min(self.turns, key=lambda turn: max(turn.start - middle, middle - turn.end)).speaker

    def _name(self, speaker: int) -> str:
        return self.names.setdefault(speaker, speaker_name(len(self.names)))


def _overlaps(turns: Sequence[SpeakerTurn], start: float, end: float) -> dict[int, float]:
    """Seconds by speaker; only those above zero."""
    seconds: dict[int, float] = {}
    for turn in turns:
        shared = min(end, turn.end) - max(start, turn.start)
        if shared > 0:
            seconds[turn.speaker] = seconds.get(turn.speaker, 0.0) + shared
    return seconds


def _places(text: str, words: Sequence[Word]) -> list[int] | None:
    """Where in the text each word begins; None where the words are not those of the text, or there are none."""
    places, position = [], 0
    for word in words:
        position = text.find(word.text, position)
        if position < 0:
            return None
        places.append(position)
        position += len(word.text)
    return places or None


def _runs(speakers: Sequence[int]) -> list[tuple[int, int, int]]:
    """(speaker, number of his first word, number of the first that is not his)"""
    changes = [at for at in range(1, len(speakers)) if speakers[at] != speakers[at - 1]]
    edges = [0, *changes, len(speakers)]
    return [(speakers[first], first, last) for first, last in itertools.pairwise(edges)]


def _part(segment: Segment, text: str, words: Sequence[Word], speaker: str) -> Segment:
    if len(words) == len(segment.words):
        return replace(segment, speaker=speaker)
    seconds = sum(word.end - word.start for word in words)
    weighted = sum(word.confidence * (word.end - word.start) for word in words)
    confidence = round(weighted / seconds, 4) if seconds else segment.confidence
    return Segment(words[0].start, words[-1].end, text, confidence, tuple(words), speaker)


# ── By channels ─────────────────────────────────────────────────────────────────────────────────────────────────────


def check_channels(channels: int) -> None:
    """Raises `ChannelsUnsuitable` for a number of channels that cannot be a speaker each."""
    if channels < 2:
        raise errors.ChannelsUnsuitable("The recording has one channel only; leave out channels.", param="channels")
    if channels > MAX_CHANNELS:
        raise errors.ChannelsUnsuitable(
            f"The recording has {channels} channels; up to {MAX_CHANNELS} are recognised separately.", param="channels"
        )


def check_difference(tracks: Sequence[DecodedAudio]) -> None:
    """Raises `ChannelsUnsuitable` where two channels carry the same sound: nobody could say who speaks."""
    for number, track in enumerate(tracks):
        for other in tracks[:number]:
            if _is_same_sound(track, other):
                raise errors.ChannelsUnsuitable(
                    "Two channels of the recording carry the same sound, so they do not tell who speaks; leave out "
                    "channels.",
                    param="channels",
                )


def _is_same_sound(one: DecodedAudio, other: DecodedAudio) -> bool:
    power = difference = 0.0
    for mine, theirs in _paired_blocks(one, other):
        power += float(np.square(mine, dtype=np.float64).sum() + np.square(theirs, dtype=np.float64).sum()) / 2
        difference += float(np.square(mine.astype(np.int32) - theirs, dtype=np.float64).sum())
    return power > 0 and difference <= power * 10 ** (_SAME_SOUND_DB / 10)


def _paired_blocks(one: DecodedAudio, other: DecodedAudio) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for mine, theirs in zip(one.blocks(_COMPARED_SAMPLES), other.blocks(_COMPARED_SAMPLES), strict=False):
        length = min(len(mine), len(theirs))
        yield mine[:length], theirs[:length]
