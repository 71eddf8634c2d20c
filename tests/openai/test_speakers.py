"""diarized_json and known speakers, by the official SDK, with tiny real models."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai.types.audio import TranscriptionDiarized, TranscriptionDiarizedSegment, TranscriptionTextSegmentEvent

from stt.models import SttJob
from tests.api.support import wav
from tests.conftest import Tenant
from tests.ml.test_stt_diarization import RATE, bright, clip, deep
from tests.openai.support import sdk

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

MODEL = "gpt-4o-transcribe-diarize"
PAUSE = np.zeros(RATE, np.int16)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, database: None) -> Iterator[None]:
    """A diarization model and one that compares voices."""
    pytest.importorskip("onnx", reason="onnx comes with requirements-dev.txt")
    from ml import artifacts
    from ml.stt import registry
    from tests.ml import tiny_helpers

    base: Path = tmp_path_factory.mktemp("speakers")
    tiny_helpers.save_diarization(base / "diarization")
    tiny_helpers.save_embedding(base / "speaker")
    installed = [artifacts.read(base / task) for task in ("diarization", "speaker")]
    for folder in installed:
        registry.install(folder)
    yield
    for folder in installed:
        registry.uninstall(folder.manifest.name, task=folder.manifest.task)


def sound(samples: Any) -> bytes:
    return wav(np.asarray(samples) / 32768, RATE)


def reference(samples: Any) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(sound(samples)).decode()}"


@pytest.fixture(scope="module")
def talk() -> bytes:
    """A deep voice, a bright one, and the deep one again."""
    first, second = deep(clip("numbers")[: 2 * RATE]), bright(clip("weather"))
    return sound(np.concatenate([first, PAUSE, second, PAUSE, first]))


def hear(tenant: Tenant, content: bytes, **parameters: Any) -> Any:
    return sdk(tenant, "stt").audio.transcriptions.create(
        **{"model": MODEL, "file": ("talk.wav", content), "response_format": "diarized_json", **parameters}
    )


def test_without_a_model(tenant: Tenant) -> None:
    """Before the others install one."""
    with pytest.raises(openai.BadRequestError) as raised:
        hear(tenant, sound(PAUSE))
    assert (raised.value.code, raised.value.param) == ("invalid_parameter", "diarize")
    assert "manage.py models pull" in raised.value.message


@pytest.mark.usefixtures("models", "whisper")
class TestByModels:
    def test_segments_have_speakers(self, tenant: Tenant, talk: bytes) -> None:
        answer = hear(tenant, talk, chunking_strategy="auto", extra_body={"speakers": 2})
        assert isinstance(answer, TranscriptionDiarized)
        body = answer.to_dict()
        assert set(body) == {"task", "duration", "text", "segments", "usage"}
        assert (answer.task, answer.usage.type) == ("transcribe", "duration")
        assert answer.duration == pytest.approx(len(talk) / 2 / RATE, abs=0.1)
        assert [segment.speaker for segment in answer.segments] == ["A", "B", "A"]
        for number, segment in enumerate(answer.segments):
            assert isinstance(segment, TranscriptionDiarizedSegment)
            assert set(segment.to_dict()) == {"type", "id", "start", "end", "text", "speaker"}
            assert (segment.type, segment.id) == ("transcript.text.segment", f"seg_{number:03}")
            assert 0 <= segment.start < segment.end <= answer.duration
        assert answer.text == " ".join(segment.text for segment in answer.segments)

    def test_streamed(self, tenant: Tenant, talk: bytes) -> None:
        *events, done = hear(tenant, talk, stream=True, extra_body={"speakers": 2})
        deltas, segments = events[::2], events[1::2]
        assert {event.type for event in deltas} == {"transcript.text.delta"}
        assert all(isinstance(event, TranscriptionTextSegmentEvent) for event in segments)
        assert [delta.segment_id for delta in deltas] == [segment.id for segment in segments]
        assert [segment.speaker for segment in segments] == ["A", "B", "A"]
        assert "".join(delta.delta for delta in deltas) == done.text
        assert [delta.delta.strip() for delta in deltas] == [segment.text for segment in segments]

    def test_known_speakers_are_named(self, tenant: Tenant, talk: bytes) -> None:
        anna, ben = bright(clip("president")[: 3 * RATE]), deep(clip("president")[: 3 * RATE])
        both = {"known_speaker_names": ["Anna", "Ben"], "known_speaker_references": [reference(anna), reference(ben)]}
        answer = hear(tenant, talk, **both, extra_body={"speakers": 2})
        assert [segment.speaker for segment in answer.segments] == ["Ben", "Anna", "Ben"]
        assert "known_speakers" not in SttJob.objects.get(organization=tenant.organization).options
        one = {"known_speaker_names": ["Anna"], "known_speaker_references": [reference(anna)]}
        *events, _ = hear(tenant, talk, stream=True, **one, extra_body={"speakers": 2})
        assert [event.speaker for event in events[1::2]] == ["A", "Anna", "A"]

    @pytest.mark.parametrize(
        ("parameters", "param"),
        [
            ({"known_speaker_names": ["Anna"]}, "known_speaker_references"),
            ({"known_speaker_names": ["Anna"], "known_speaker_references": ["https://x"]}, "known_speaker_references"),
            (
                {"known_speaker_names": list("abcde"), "known_speaker_references": [reference(PAUSE)] * 5},
                "known_speaker_names",
            ),
            (
                {"known_speaker_names": ["a", "a"], "known_speaker_references": [reference(PAUSE)] * 2},
                "known_speaker_names",
            ),
            (
                {"known_speaker_names": ["a"], "known_speaker_references": [reference(PAUSE)]},
                "known_speaker_references",
            ),
            (
                {
                    "known_speaker_names": ["a"],
                    "known_speaker_references": [reference(PAUSE)],
                    "response_format": "json",
                },
                "known_speaker_names",
            ),
        ],
        ids=["no sample", "no data URL", "five", "twice", "a second", "other format"],
    )
    def test_wrong_samples(self, tenant: Tenant, talk: bytes, parameters: dict[str, Any], param: str) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            hear(tenant, talk, **parameters)
        assert raised.value.param == param
        assert not SttJob.objects.filter(organization=tenant.organization).exists()

    def test_a_sample_that_is_no_sound(self, tenant: Tenant, talk: bytes) -> None:
        url = f"data:audio/wav;base64,{base64.b64encode(b'no sound' * 99).decode()}"
        with pytest.raises(openai.UnprocessableEntityError):
            hear(tenant, talk, known_speaker_names=["a"], known_speaker_references=[url])


@pytest.mark.usefixtures("whisper")
class TestByChannels:
    def test_a_channel_a_speaker(self, tenant: Tenant) -> None:
        first, second = clip("president"), clip("weather")
        length = len(first) + len(second)
        channels = np.zeros((length, 2))
        channels[: len(second), 1], channels[len(second) :, 0] = second / 32768, first / 32768
        answer = hear(tenant, wav(channels, RATE), extra_body={"channels": "separate"})
        assert [segment.speaker for segment in answer.segments] == ["A", "B"]
        assert "river" in answer.segments[0].text
        assert "market" in answer.segments[1].text
