"""Which recordings? LJSpeech-style folders, read and checked before the first step, at the model's sample rate.

`metadata.csv` has a line a recording, `id|text` or `id|text|normalised text`; the audio is `wavs/<id>.wav` or `.flac`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from training.errors import ManifestInvalid
from training.stt.config import resolve_path
from training.stt.manifest import normalize_text
from training.tts.vits_config import Speaker, VoiceDataConfig

AUDIO_SUFFIXES = (".wav", ".flac")


@dataclass(frozen=True, slots=True)
class Recording:
    """One sentence, said by one speaker."""

    audio: Path
    text: str
    speaker: str
    duration_seconds: float
    where: str  # file:line


def read_recordings(data: VoiceDataConfig) -> list[Recording]:
    """The recordings of all speakers, in the files' order. Raises ManifestInvalid with every problem found."""
    problems: list[str] = []
    found = [item for speaker in data.speakers for item in _read_speaker(speaker, data, to=problems)]
    if problems:
        raise ManifestInvalid(problems)
    return found


def _read_speaker(speaker: Speaker, data: VoiceDataConfig, *, to: list[str]) -> Iterator[Recording]:
    folder = resolve_path(speaker.folder)
    metadata = folder / "metadata.csv"
    if not metadata.is_file():
        to.append(f"{metadata}: missing")
        return
    count = 0
    for number, line in enumerate(metadata.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _recording(line, speaker, folder, data, where=f"{metadata}:{number}")
            count += 1
        except ValueError as error:
            to.append(f"{metadata}:{number}: {error}")
    if count < 2:
        to.append(f"{metadata}: {speaker.id} needs two recordings at least, one of them to measure with")


def _recording(line: str, speaker: Speaker, folder: Path, data: VoiceDataConfig, *, where: str) -> Recording:
    name, *texts = line.split("|")
    if not texts:
        raise ValueError("not of the form id|text")
    text = normalize_text(texts[1] if len(texts) > 1 and texts[1].strip() else texts[0], lowercase=False)
    if not text:
        raise ValueError("the text is empty")
    audio = _find_audio(folder / "wavs", name.strip())
    try:
        info = soundfile.info(audio)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"the audio {audio} cannot be read: {error}") from error
    seconds = info.frames / info.samplerate
    if not data.min_duration_seconds <= seconds <= data.max_duration_seconds:
        limits = f"{data.min_duration_seconds:g}–{data.max_duration_seconds:g} s"
        raise ValueError(f"{seconds:.2f} s of audio, outside {limits}")
    return Recording(audio, text, speaker.id, seconds, where)


def _find_audio(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a file's name")
    for suffix in AUDIO_SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise ValueError(f"the audio {folder / name}.wav is missing")


def split(recordings: Sequence[Recording], data: VoiceDataConfig) -> tuple[list[Recording], list[Recording]]:
    """→ (train, dev): of each speaker the last recordings are kept to measure with."""
    train: list[Recording] = []
    dev: list[Recording] = []
    for speaker in data.speakers:
        own = [item for item in recordings if item.speaker == speaker.id]
        kept = max(1, round(len(own) * data.dev_ratio))
        train += own[:-kept]
        dev += own[-kept:]
    return train, dev


def data_hash(recordings: Iterable[Recording]) -> str:
    """SHA-256 over speakers, texts and audio bytes, in order."""
    digest = hashlib.sha256()
    for item in recordings:
        digest.update(f"{item.speaker}\0{item.text}\0".encode())
        digest.update(hashlib.sha256(item.audio.read_bytes()).digest())
    return digest.hexdigest()


def read_samples(path: Path, *, sample_rate: int) -> np.ndarray:
    """→ (samples,) float32 within [-1, 1], mono."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate)
    peak = float(np.abs(mono).max(initial=0.0))
    return mono / peak if peak > 1 else mono
