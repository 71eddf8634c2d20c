"""Text to speech."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, Unpack

from speech_client._flow import IO, Flow
from speech_client._http import Call, Source, Upload, as_form, fetch, without_none
from speech_client._reading import read
from speech_client.errors import TimedOut
from speech_client.types import Batch, Refused, SpeechJob, Voice, Voices

Format: TypeAlias = Literal["wav", "mp3", "opus", "aac", "flac", "pcm", "mulaw", "alaw", "wav_mulaw", "wav_alaw"]


VOICE_POLL_SECONDS = 0.5


class SynthesisOptions(TypedDict, total=False):
    """How to speak; the same for one text, for a batch's defaults and for each of its items."""

    voice: str  # an id of `voices`
    language: str  # BCP-47; chooses a voice where none is named
    model: str
    format: Format  # default wav
    sample_rate: int  # hertz, 8000–48000
    speed: float  # 0.25–4
    pitch: float  # semitones, -12–12
    volume: float  # 0–2
    ssml: bool
    normalize: bool  # write out numbers, dates and signs
    timestamps: bool  # tell when words and sentences are heard; see SpeechJob.timestamps
    trim_silence: bool
    loudness: float  # LUFS, such as -16
    verify: bool  # let a recogniser hear it; see SpeechJob.verification
    lexicon: Sequence[str | Mapping[str, Any]]  # ids of lexicons, and entries such as {"grapheme": …, "alias": …}


class Consent(TypedDict):
    """Whose voice it is, and what was agreed to."""

    name: NotRequired[str]
    statement: str


class Item(SynthesisOptions):
    """Of a batch."""

    text: str
    custom_id: NotRequired[str]


def synthesis(text: str, extra: Mapping[str, Any] | None, **options: Any) -> Call:
    """POST /tts/synthesize. extra: parameters that a newer server knows."""
    body = {"text": text, **without_none(**options), **(extra or {})}
    return Call("POST", "/tts/synthesize", json=body, makes_job=True)


def synthesize(
    io: IO, text: str, *, extra: Mapping[str, Any] | None = None, **options: Unpack[SynthesisOptions]
) -> Flow[bytes]:
    """The audio, as a file of the format (default wav). `stream` gives it while it is made."""
    return (yield from fetch(io, synthesis(text, extra, **options, stream=True))).content


def create(
    io: IO,
    text: str,
    *,
    queued: bool = False,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[SynthesisOptions],
) -> Flow[SpeechJob]:
    """A job, whose `audio_url` anybody can open for an hour. queued: it is only begun; see `jobs.wait`."""
    call = synthesis(text, {**(extra or {}), "async": queued}, **options)
    return read(SpeechJob, (yield from fetch(io, call)).json())


def batch(
    io: IO,
    items: Iterable[str | Item],
    *,
    queued: bool = False,
    extra: Mapping[str, Any] | None = None,
    **defaults: Unpack[SynthesisOptions],
) -> Flow[Batch[SpeechJob]]:
    """Up to 100 texts, or items with options of their own. One that is wrong comes back as `Refused`."""
    spoken = [{"text": item} if isinstance(item, str) else item for item in items]
    body = {**without_none(**defaults), **(extra or {}), "items": spoken, "async": queued}
    answer = yield from fetch(io, Call("POST", "/tts/synthesize-batch", json=body, makes_job=True))
    return read_batch(SpeechJob, answer.json())


def read_batch(kind: type[Any], data: Mapping[str, Any]) -> Batch[Any]:
    items = [read(kind if "job_id" in item else Refused, item) for item in data["items"]]
    return Batch(batch_id=data["batch_id"], items=items, raw=dict(data))


def download(io: IO, job: SpeechJob) -> Flow[bytes]:
    """The audio of a job that succeeded."""
    if not job.audio_url:
        raise ValueError(f"The job is {job.status} and has no audio.")
    return (yield from fetch(io, Call("GET", job.audio_url))).content


def voices(io: IO, *, language: str | None = None) -> Flow[Voices]:
    """All voices that can speak now, or those of a language (`en`, `en-GB`)."""
    call = Call("GET", "/tts/voices", params=without_none(language=language))
    return read(Voices, (yield from fetch(io, call)).json())


def voice(io: IO, voice_id: str) -> Flow[Voice]:
    """One voice."""
    return read(Voice, (yield from fetch(io, Call("GET", f"/tts/voices/{voice_id}"))).json())


def clone(
    io: IO,
    name: str,
    audio_sample: Source,
    *,
    consent: str | Consent,
    consent_audio: Source | None = None,
    language: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Flow[Voice]:
    """A voice like that of the sample, at first `training`: see `wait_voice`. Needs a member's access token.

    consent: what the speaker agreed to. consent_audio: the speaker saying so.
    """
    said = consent if isinstance(consent, str) else json.dumps(consent)
    form = as_form({**without_none(name=name, consent=said, language=language), **(extra or {})})
    with Upload(audio_sample) as sample, Upload(consent_audio if consent_audio is not None else b"") as spoken:
        files = [("audio_sample", sample)] + ([("consent_audio", spoken)] if consent_audio is not None else [])
        call = Call("POST", "/tts/voice-clone", form=form, files=files, makes_job=True)
        return read(Voice, (yield from fetch(io, call)).json())


def wait_voice(io: IO, voice_id: str, *, timeout: float | None = None) -> Flow[Voice]:
    """The voice once it is `ready`, or `failed` with an `error`. Raises TimedOut after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while (state := (yield from voice(io, voice_id))).status == "training":
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut("The voice is not ready in the time that it was waited for; it goes on.")
        yield io.sleep(VOICE_POLL_SECONDS)
    return state


def revoke_consent(io: IO, voice_id: str) -> Flow[None]:
    """The voice is disabled at once; its sample is deleted."""
    yield from fetch(io, Call("DELETE", f"/tts/voices/{voice_id}/consent"))


def delete_voice(io: IO, voice_id: str) -> Flow[None]:
    """Deletes a voice of one's own, and the sample that it was made from."""
    yield from fetch(io, Call("DELETE", f"/tts/voices/{voice_id}"))
