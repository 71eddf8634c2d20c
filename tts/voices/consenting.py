"""A spoken consent: it must say what the statement says, and in the voice of the sample."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

import jiwer
import numpy as np
import regex
from django.conf import settings

from common import storage
from ml import stt
from ml.audio.decode import decode
from ml.errors import InvalidRequest, SampleUnsuitable
from ml.tts import cloning
from ml.types import Caller, TranscriptionOptions
from tts.voices.models import Consent

_MAX_SECONDS = 300.0
_NOT_LETTERS = regex.compile(r"[^\p{L}\p{N}\p{M}]+")


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a spoken consent."""

    transcript: str
    match: float | None  # None: nobody here recognises the language
    speaker: cloning.Match | None

    def as_fields(self) -> dict[str, Any]:
        """Of the row."""
        speaker = asdict(self.speaker) if self.speaker else {}
        return {"transcript": self.transcript, "match": self.match, "speaker_match": speaker}


def check(
    consent: Consent, language: str, sample: cloning.Sample, *, caller: Caller, cancel: threading.Event
) -> Heard | None:
    """None where none was spoken. Raises `SampleUnsuitable` for one that says something else, or by somebody else."""
    if not consent.audio_key:
        return None
    with storage.local_copy(consent.audio_key) as path:
        try:
            options = TranscriptionOptions(language_hint=language, itn=False)
            transcript = stt.transcribe(path, options, caller=caller, max_duration_seconds=_MAX_SECONDS, cancel=cancel)
            text, match = transcript.text, round(likeness(consent.statement, transcript.text), 3)
        except InvalidRequest:  # no recogniser speaks the language
            text, match = "", None
        with decode(path, max_duration_seconds=_MAX_SECONDS, cancel=cancel) as audio:
            speaker = cloning.compare(sample.samples, np.array(audio.samples))
    if match is not None and match < settings.VOICE_CONSENT_MIN_MATCH:
        raise SampleUnsuitable(
            f"The spoken consent does not say what the statement says (it matches to {100 * match:.0f}%): record the "
            "statement as it is written, word by word.",
            reason="consent_mismatch",
        )
    if speaker is None or not speaker.same:
        raise SampleUnsuitable(
            "Somebody else than in the sample speaks the consent: both are to be recorded by the person whose voice it "
            "is, with the same microphone.",
            reason="consent_other_speaker",
        )
    return Heard(text, match, speaker)


def likeness(statement: str, heard: str) -> float:
    """0–1: one less the character error rate. Letters, as recognisers mishear words that sound alike."""
    wanted, said = (_NOT_LETTERS.sub("", text.casefold()) for text in (statement, heard))
    if not wanted or not said:
        return 0.0
    return max(0.0, 1.0 - float(jiwer.cer(wanted, said)))
