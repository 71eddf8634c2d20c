"""Transcripts as subtitles, text and documents."""

from __future__ import annotations

import io
from collections.abc import Sequence

from common import errors
from ml.stt import subtitles
from ml.types import Segment
from stt import selectors
from stt.models import SttJob

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_TEXTS = {
    "srt": (subtitles.to_srt, "application/x-subrip"),
    "vtt": (subtitles.to_vtt, "text/vtt"),
    "txt": (subtitles.to_txt, "text/plain"),
}
FORMATS = (*_TEXTS, "docx")


def export(job: SttJob, format_name: str) -> tuple[str | bytes, str]:
    """The job's transcription in one of FORMATS, and its content type. Raises `Conflict` for a job without one."""
    transcription = getattr(job, "transcription", None)
    if transcription is None:
        raise errors.Conflict(f"The job is {job.status}: it has no transcription.", code="job_not_succeeded")
    segments = selectors.segments(transcription)
    if format_name == "docx":
        title = job.filename or "Transcript"
        return to_docx(segments, title=title), DOCX
    render, content_type = _TEXTS[format_name]
    return render(segments), f"{content_type}; charset=utf-8"


def to_docx(segments: Sequence[Segment], *, title: str) -> bytes:
    """A Word document: a heading, then each segment with its time and speaker; one paragraph a speaker's turn."""
    from docx import Document  # a tenth of a second, and few ask for it

    document = Document()
    document.core_properties.title = title
    document.add_heading(_printable(title), level=1)
    speaker: str | None = None
    paragraph = None
    for segment in segments:
        if paragraph is None or segment.speaker != speaker or not segment.speaker:
            paragraph = document.add_paragraph()
            lead = f"[{_clock(segment.start)}] " + (f"{segment.speaker}: " if segment.speaker else "")
            paragraph.add_run(lead).bold = True
            speaker = segment.speaker
        paragraph.add_run(_printable(segment.text) + " ")
    written = io.BytesIO()
    document.save(written)
    return written.getvalue()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _printable(text: str) -> str:
    """XML has no control characters."""
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n")
