"""Names for the speakers of a recording of whose voices there are samples.

A voice is compared by its embedding (cosine). Each known speaker is at most one of those who speak, and the likeliest
pairs go first; who is like nobody known keeps a number.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import errors
from ml.audio.decode import SAMPLE_RATE, DecodedAudio, decode
from ml.stt.helpers import base as helpers
from ml.stt.helpers.speakers import SpeakerEmbedder, SpeakerTurn, similarity
from ml.types import KnownSpeaker

TASK = "speaker"
SECONDS = (2.0, 10.0)
"""What a sample may last, as with OpenAI."""
SIMILARITY = 0.5
"""From here on two embeddings are one voice: between the usual equal-error thresholds of WeSpeaker and 3D-Speaker."""

_COMPARED_SECONDS = 20.0
_LEAST_SECONDS = 0.5
_ROUNDING_SECONDS = 0.1


def enrol(name: str, path: Path, *, cancel: threading.Event | None = None) -> KnownSpeaker:
    """Learns a voice from a sample.

    Raises `InvalidRequest` where no model for it is installed or the sample has a wrong length, `AudioUndecodable`,
    `AudioEmpty`, `Cancelled`, `EngineFailed`, `EngineUnavailable`.
    """
    embedder = _embedder()
    with decode(path, max_duration_seconds=60.0, cancel=cancel) as audio:
        shortest, longest = SECONDS
        if not shortest - _ROUNDING_SECONDS <= audio.duration_seconds <= longest + _ROUNDING_SECONDS:
            raise errors.InvalidRequest(
                f"The sample of {name!r} has {audio.duration_seconds:.1f} seconds; {shortest:g} to {longest:g} are "
                "needed.",
                param="known_speakers",
            )
        return KnownSpeaker(name, tuple(map(float, embedder.embed(np.array(audio.samples)))))


def name_speakers(audio: DecodedAudio, turns: Sequence[SpeakerTurn], known: Sequence[KnownSpeaker]) -> dict[int, str]:
    """Number of a speaker → name, for those who are known. Raises `InvalidRequest` where the model is gone."""
    if not known or not turns:
        return {}
    embedder = _embedder()
    voices = {
        speaker: embedder.embed(sound)
        for speaker in sorted({turn.speaker for turn in turns})
        if len(sound := _sound_of(speaker, audio, turns)) >= _LEAST_SECONDS * SAMPLE_RATE
    }
    pairs = sorted(
        ((similarity(voice, np.array(other.voice, np.float32)), speaker, other.name)
         for speaker, voice in voices.items() for other in known),
        reverse=True,
    )  # fmt: skip
    names: dict[int, str] = {}
    for likeness, speaker, name in pairs:
        if likeness >= SIMILARITY and speaker not in names and name not in names.values():
            names[speaker] = name
    return names


def _embedder() -> SpeakerEmbedder:
    embedder: SpeakerEmbedder | None = helpers.helper(TASK)
    if embedder is None:
        raise errors.InvalidRequest(
            "No installed model recognises speakers by samples: `manage.py models pull` installs one.",
            param="known_speakers",
        )
    return embedder


def _sound_of(speaker: int, audio: DecodedAudio, turns: Sequence[SpeakerTurn]) -> NDArray[np.int16]:
    """His longest turns, (T,) int16, as much as is needed."""
    own = sorted((turn for turn in turns if turn.speaker == speaker), key=lambda turn: turn.start - turn.end)
    pieces = [audio.samples[round(turn.start * SAMPLE_RATE) : round(turn.end * SAMPLE_RATE)] for turn in own]
    return np.concatenate(pieces)[: round(_COMPARED_SECONDS * SAMPLE_RATE)]
