"""Transcript segments as SubRip (srt), WebVTT (vtt) and plain text.

A cue holds at most two lines of 42 characters, what broadcasters recommend; a longer segment becomes several cues,
timed by its words where it carries them and by its characters where not.
"""

from __future__ import annotations

import html
import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ml import errors
from ml.types import Segment, Transcript, Word

LINE_CHARACTERS = 42
CUE_LINES = 2


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen at once."""

    start: float  # seconds
    end: float  # seconds
    lines: tuple[str, ...]
    speaker: str | None = None


def render(transcript: Transcript, format_name: str) -> str:
    """The transcript as "srt", "vtt" or "txt". Raises `InvalidRequest` for any other format."""
    writer = _WRITERS.get(format_name)
    if writer is None:
        raise errors.InvalidRequest(f"The format must be one of {', '.join(_WRITERS)}.", param="format")
    return writer(transcript.segments)


def to_srt(segments: Sequence[Segment]) -> str:
    cues = enumerate(to_cues(segments), start=1)
    return "\n".join(f"{number}\n{_srt_times(cue)}\n{_plain_lines(cue)}\n" for number, cue in cues)


def to_vtt(segments: Sequence[Segment]) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/); speakers become voice spans."""
    return "\n".join(["WEBVTT\n", *(f"{_vtt_times(cue)}\n{_vtt_lines(cue)}\n" for cue in to_cues(segments))])


def to_txt(segments: Sequence[Segment]) -> str:
    """A line a segment."""
    return "".join(f"{_speaker(segment.speaker)}{' '.join(segment.text.split())}\n" for segment in segments)


def to_cues(segments: Sequence[Segment]) -> list[Cue]:
    """Splits segments into cues, in order."""
    return [cue for segment in segments for cue in _cues(segment)]


def _cues(segment: Segment) -> Iterator[Cue]:
    lines = _lines(_pieces(segment))
    for index in range(0, len(lines), CUE_LINES):
        shown = lines[index : index + CUE_LINES]
        start, end = shown[0][0].start, shown[-1][-1].end
        yield Cue(start, max(start, end), tuple(" ".join(p.text for p in line) for line in shown), segment.speaker)


def _lines(pieces: Sequence[Word]) -> list[list[Word]]:
    """Fills lines in order, none longer than the limit."""
    lines: list[list[Word]] = []
    length = 0
    for piece in pieces:
        if lines and length + 1 + len(piece.text) <= LINE_CHARACTERS:
            lines[-1].append(piece)
            length += 1 + len(piece.text)
        else:
            lines.append([piece])
            length = len(piece.text)
    return lines


def _pieces(segment: Segment) -> list[Word]:
    """The segment's words with their times; one longer than a line, as in scripts without spaces, in pieces."""
    tokens = segment.text.split()
    if [word.text for word in segment.words] == tokens:
        words = list(segment.words)
    else:  # No word times, or words that a later stage rewrote: time goes with the characters.
        words = _spread(tokens, segment.start, segment.end, gap=1)
    return [piece for word in words for piece in _chop(word)]


def _chop(word: Word) -> list[Word]:
    if len(word.text) <= LINE_CHARACTERS:
        return [word]
    return _spread(textwrap.wrap(word.text, LINE_CHARACTERS, break_on_hyphens=False), word.start, word.end, gap=0)


def _spread(texts: Sequence[str], start: float, end: float, *, gap: int) -> list[Word]:
    """Times texts by their lengths, `gap` characters counted between two of them."""
    ends = list(itertools.accumulate((len(text) + gap for text in texts), initial=0))
    scale = (end - start) / max(1, ends[-1])
    return [Word(t, start + a * scale, start + b * scale, 0.0) for t, a, b in zip(texts, ends, ends[1:], strict=False)]


def _plain_lines(cue: Cue) -> str:
    # SubRip has no escape; an arrow within the text would pass for a timing line.
    return _speaker(cue.speaker) + "\n".join(cue.lines).replace("-->", "→")


def _vtt_lines(cue: Cue) -> str:
    text = html.escape("\n".join(cue.lines), quote=False)
    return f"<v {html.escape(' '.join(cue.speaker.split()), quote=False)}>{text}" if cue.speaker else text


def _speaker(name: str | None) -> str:
    return f"{name}: " if name else ""


def _srt_times(cue: Cue) -> str:
    return f"{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}"


def _vtt_times(cue: Cue) -> str:
    return f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}"


def _stamp(seconds: float, mark: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


_WRITERS: dict[str, Callable[[Sequence[Segment]], str]] = {"srt": to_srt, "vtt": to_vtt, "txt": to_txt}
