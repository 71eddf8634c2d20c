"""Speech to text, of recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from speech_client._flow import IO, Flow
from speech_client._http import Call, Source, Upload, as_form, fetch, without_none
from speech_client._reading import read
from speech_client._tts import read_batch
from speech_client.types import Batch, ClientToken, Transcription

Export: TypeAlias = Literal["txt", "srt", "vtt"]


class TranscriptionOptions(TypedDict, total=False):
    """How to recognise."""

    language: str  # BCP-47 or ISO 639-1
    model: str
    prompt: str
    hotwords: Sequence[str]  # phrases to favour
    word_timestamps: bool
    diarize: bool  # tell speakers apart
    speakers: int  # how many there are, where that is known
    channels: Literal["mix", "separate"]  # separate: each channel is a speaker's own
    task: Literal["transcribe", "translate"]
    itn: bool  # write numbers, dates and amounts as people do
    punctuate: bool
    profanity_filter: bool
    redact: bool  # mask e-mail addresses, telephone and card numbers
    enable: Sequence[str]  # stages to run anyway
    disable: Sequence[str]  # stages to leave out


def transcribe(
    io: IO,
    audio: Source,
    *,
    filename: str | None = None,
    reference_audio: Source | None = None,
    queued: bool = False,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[TranscriptionOptions],
) -> Flow[Transcription]:
    """What is said in a recording: a path, bytes or a binary file, of any container and codec.

    queued: the job is only begun, and the file may be larger; see `jobs.wait`. reference_audio: what the loudspeaker
    played meanwhile, for echo cancellation. extra: parameters that a newer server knows.
    """
    with contextlib.ExitStack() as opened:
        files = [("audio_file", opened.enter_context(Upload(audio, filename)))]
        if reference_audio is not None:
            files.append(("reference_audio", opened.enter_context(Upload(reference_audio))))
        call = _post("/stt/transcribe", files, queued, extra, **options)
        return read(Transcription, (yield from fetch(io, call)).json())


def batch(
    io: IO,
    audio: Sequence[Source],
    *,
    queued: bool = False,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[TranscriptionOptions],
) -> Flow[Batch[Transcription]]:
    """Several recordings, in their order. One that is wrong comes back as `Refused`."""
    with contextlib.ExitStack() as opened:
        files = [("audio_files", opened.enter_context(Upload(source))) for source in audio]
        call = _post("/stt/batch-transcribe", files, queued, extra, **options)
        return read_batch(Transcription, (yield from fetch(io, call)).json())


def _post(
    path: str, files: Sequence[tuple[str, Upload]], queued: bool, extra: Mapping[str, Any] | None, **options: Any
) -> Call:
    options["language_hint"] = options.pop("language", None)
    form = as_form({**without_none(**options), **(extra or {}), "async": queued})
    return Call("POST", path, form=form, files=files, makes_job=True)


def export(io: IO, job: Transcription | str, format: Export = "txt") -> Flow[str]:
    """A transcription as text or subtitles."""
    return (yield from _exported(io, job, format)).text


def document(io: IO, job: Transcription | str) -> Flow[bytes]:
    """A transcription as a Word document."""
    return (yield from _exported(io, job, "docx")).content


def _exported(io: IO, job: Transcription | str, format: str) -> Flow[Any]:
    job_id = job if isinstance(job, str) else job.job_id
    return (yield from fetch(io, Call("GET", f"/stt/jobs/{job_id}", params={"format": format})))


def correct(io: IO, job: Transcription | str, texts: Mapping[int, str]) -> Flow[Transcription]:
    """Other texts for segments, by their place in `timestamps`. Times stay."""
    job_id = job if isinstance(job, str) else job.job_id
    segments = [{"index": index, "text": text} for index, text in texts.items()]
    call = Call("PATCH", f"/stt/jobs/{job_id}", json={"segments": segments})
    return read(Transcription, (yield from fetch(io, call)).json())


def client_token(io: IO, *, expires_in: int = 60, allowed_origins: Sequence[str] = ()) -> Flow[ClientToken]:
    """What a browser needs for one live session, so that no key is in the page.

    expires_in: seconds (10–3600) within which it must be opened. allowed_origins: of pages that may use it; none: any.
    """
    body = {"expires_in": expires_in, "allowed_origins": list(allowed_origins)}
    return read(ClientToken, (yield from fetch(io, Call("POST", "/stt/transcribe-realtime", json=body))).json())
