"""Audio clean-up before recognition: high-pass filter, echo cancellation, noise suppression where there is noise."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ml import errors
from ml.audio.decode import DecodedAudio, decode
from ml.stt import vad
from ml.stt.frontend import echo, noise
from ml.stt.frontend.high_pass import has_rumble, high_pass
from ml.stt.frontend.snr import utterance_snr_db
from ml.stt.stages import forced, wanted
from ml.types import TranscriptionOptions

StageTimer = Callable[[str], AbstractContextManager[None]]
"""Times what runs inside, under a stage's name."""

__all__ = ["check_reference", "clean_before_vad", "noisy_spans", "suppress_noise"]


def check_reference(options: TranscriptionOptions) -> None:
    """Raises `InvalidRequest` for a far end's signal that cannot be read or used."""
    if options.reference_audio is None:
        if "echo_cancellation" in options.enable:
            raise errors.InvalidRequest("Echo cancellation needs reference_audio.", param="enable")
        return
    if not Path(options.reference_audio).is_file():
        raise errors.InvalidRequest("The reference audio does not exist.", param="reference_audio")
    if not echo.available():
        raise errors.InvalidRequest("Echo cancellation is not installed (package livekit).", param="reference_audio")


def clean_before_vad(
    audio: DecodedAudio, options: TranscriptionOptions, stage: StageTimer, *, cancel: threading.Event | None = None
) -> DecodedAudio:
    """What is done to all of the audio. Raises what `decode` raises, about the reference, and `Cancelled`."""
    if wanted("high_pass", options) and (forced("high_pass", options) or has_rumble(audio)):
        with stage("high_pass"):
            audio = high_pass(audio, cancel=cancel)
    if options.reference_audio is not None and wanted("echo_cancellation", options):
        with (
            stage("echo_cancellation"),
            _reference(options.reference_audio, cancel) as reference,
        ):
            audio = echo.cancel_echo(audio, reference, cancel=cancel)
    return audio


def _reference(path: str | os.PathLike[str], cancel: threading.Event | None) -> DecodedAudio:
    """The far end's signal. What is wrong with it is told apart from what is wrong with the recording."""
    try:
        return decode(path, cancel=cancel)
    except errors.AudioError as error:
        error.param = "reference_audio"
        raise


def noisy_spans(
    windows: tuple[vad.SpeechSpan, ...], activity: vad.SpeechActivity, options: TranscriptionOptions
) -> tuple[vad.SpeechSpan, ...]:
    """The utterances that noise suppression helps: those whose estimated SNR is low, or all where it is forced."""
    if not noise.available() or not wanted("noise_suppression", options):
        return ()
    if forced("noise_suppression", options):
        return windows
    return tuple(span for span in windows if _is_noisy(activity, span))


def suppress_noise(
    audio: DecodedAudio, spans: tuple[vad.SpeechSpan, ...], *, cancel: threading.Event | None = None
) -> DecodedAudio:
    """Raises `Cancelled`, `EngineFailed`."""
    return noise.suppress(audio, spans, cancel=cancel)


def _is_noisy(activity: vad.SpeechActivity, span: vad.SpeechSpan) -> bool:
    snr_db = utterance_snr_db(activity, span)
    return snr_db is not None and snr_db < noise.MAX_SNR_DB
