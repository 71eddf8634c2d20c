"""Audio for the tests: read what the platform makes, and make what it should read."""

from __future__ import annotations

import io
import json
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import jiwer
import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from analytics.models import UsageRecord
from models_registry.models import EMBEDDED_VERSION, ModelVersion, Rollout
from stt.models import AudioFile, SttJob
from tests.conftest import OWNED_AUDIO, Tenant
from tts.models import TtsJob
from tts.voices.models import Consent, Voice
from webhooks.models import WebhookDelivery, WebhookEndpoint


@dataclass(frozen=True)
class Sound:
    """Decoded audio. samples: (channels, T) float32."""

    samples: NDArray[np.float32]
    sample_rate: int
    codec: str

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate

    @property
    def loudness(self) -> float:
        return float(np.sqrt(np.mean(self.samples**2)))


def decode(content: bytes) -> Sound:
    """Any container, through PyAV and without the platform's own decoder."""
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.audio[0]
        frames = [_planar(frame) for frame in container.decode(stream)]
        return Sound(np.concatenate(frames, axis=1), stream.codec_context.sample_rate, stream.codec_context.name)


def _planar(frame: av.AudioFrame) -> NDArray[np.float32]:
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if np.issubdtype(values.dtype, np.integer):
        return (values / np.iinfo(values.dtype).max).astype(np.float32)
    return values.astype(np.float32)


def wav(samples: NDArray[np.floating], rate: int = 16_000) -> bytes:
    """samples: (T,) or (T, channels), in [-1, 1]."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


def silence(seconds: float, rate: int = 16_000) -> bytes:
    return wav(np.zeros(round(seconds * rate)), rate)


@dataclass(frozen=True)
class Clip:
    path: Path
    text: str
    seconds: float


def clips(folder: Path, manifest: str) -> dict[str, Clip]:
    """By file name."""
    rows = [json.loads(line) for line in (folder / manifest).read_text().splitlines()]
    return {
        Path(row["audio"]).name: Clip(folder / row["audio"], row["text"] or "", row["duration_seconds"]) for row in rows
    }


def owned_clips() -> dict[str, Clip]:
    return clips(OWNED_AUDIO, "manifest.jsonl")


_normalise = jiwer.Compose(
    [
        jiwer.ToLowerCase(),
        jiwer.SubstituteRegexes({r"\bmr\.": "mister", "-": " "}),
        jiwer.RemovePunctuation(),
        jiwer.RemoveMultipleSpaces(),
        jiwer.Strip(),
    ]
)


def word_error_rate(references: list[str], hypotheses: list[str]) -> float:
    """0–1 and above, over all words."""
    return jiwer.wer([_normalise(text) for text in references], [_normalise(text) for text in hypotheses])


def refused_delivery(tenant: Tenant) -> WebhookDelivery:
    """A webhook whose address no delivery reaches, subscribed to nothing that happens, and a delivery that failed."""
    endpoint = WebhookEndpoint.objects.create(
        organization=tenant.organization, url="https://127.0.0.1/secret-hook", events=["voice.failed"]
    )
    return WebhookDelivery.objects.create(
        organization=tenant.organization,
        endpoint=endpoint,
        event_id="evt_tests",
        event="voice.failed",
        payload={"type": "voice.failed", "data": {}},
        status="failed",
    )


def assert_nothing_was_kept(tenant: Tenant) -> None:
    """No job, no upload and no usage of the organisation."""
    for model in (TtsJob, SttJob, AudioFile, UsageRecord):
        assert not model.objects.filter(organization=tenant.organization).exists(), model


def own_voice(tenant: Tenant) -> Voice:
    """A voice of the tenant's that came to nothing, with a consent."""
    voice = Voice.objects.create(
        organization=tenant.organization, name="Ann", language="en-US", status="failed", error_code="sample_noisy"
    )
    Consent.objects.create(organization=tenant.organization, voice=voice, statement="I consent.", recorded_by="Ann")
    return voice


def ended_rollout(tenant: Tenant) -> Rollout:
    """A trial on the tenant's requests, which is over."""
    embedded = ModelVersion.objects.get(task="stt", version=EMBEDDED_VERSION)
    return Rollout.objects.create(
        task="stt", name=embedded.name, candidate=embedded, active_version="0", mode="shadow", share=0.1,
        organization=tenant.organization, max_failure_rate=0.05, max_slowdown=2.0, min_samples=20,
        reason=f"for {tenant.organization.name}", status="ended", ended_at=timezone.now(),
    )  # fmt: skip
