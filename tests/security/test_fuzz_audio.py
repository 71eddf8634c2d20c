"""Hostile recordings: real files of many formats, damaged in the ways that break parsers."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.models import UsageRecord
from ml import errors, workers
from ml.audio.decode import MEMORY_BYTES, decode, worker_pool
from tests.conftest import Tenant
from tests.ml.stt_support import tone, write_audio
from tests.security.support import fuzzing

FORMATS = {
    "wav": ("a.wav", "pcm_s16le"),
    "float": ("b.wav", "pcm_f32le"),
    "mp3": ("a.mp3", "libmp3lame"),
    "ogg": ("a.opus", "libopus"),
    "flac": ("a.flac", "flac"),
    "webm": ("a.webm", "libopus"),
    "mp4": ("a.m4a", "aac"),
    "caf": ("a.caf", "alac"),
}
EXTREMES = [struct.pack(f"{order}I", value) for order in "<>" for value in (0, 1, 2**31 - 1, 2**31, 2**32 - 1)]
PERMITTED = {"audio_undecodable", "audio_empty", "audio_too_long"}


@dataclass(frozen=True)
class Edit:
    """At a place, given as a share of the file: the heads of formats are near 0."""

    kind: str
    place: float
    size: int
    data: bytes

    def apply(self, content: bytes) -> bytes:
        at = int(self.place * len(content))
        match self.kind:
            case "overwrite":
                return content[:at] + self.data + content[at + len(self.data) :]
            case "insert":
                return content[:at] + self.data + content[at:]
            case "delete":
                return content[:at] + content[at + self.size :]
            case "repeat":
                return content[:at] + content[at : at + self.size] * 8 + content[at:]
            case "cut":
                return content[:at]
            case _:
                return content[at:] + content[:at]


places = st.one_of(st.floats(0, 0.05), st.floats(0, 1))
edits = st.builds(
    Edit,
    kind=st.sampled_from(["overwrite", "overwrite", "overwrite", "insert", "delete", "repeat", "cut", "rotate"]),
    place=places,
    size=st.integers(1, 4096),
    data=st.one_of(st.sampled_from(EXTREMES), st.binary(min_size=1, max_size=16)),
)
attacks = st.tuples(st.sampled_from(sorted(FORMATS)), st.lists(edits, min_size=1, max_size=5))


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Of each format a third of a second of real encoding."""
    folder = tmp_path_factory.mktemp("seeds")
    sound = (tone(300, 0.33, 48_000) * np.linspace(0, 1, round(0.33 * 48_000))).astype(np.float32)
    return {
        name: write_audio(folder / file, sound, 48_000, codec=codec, layout="mono").read_bytes()
        for name, (file, codec) in FORMATS.items()
    }


def mutated(seeds: dict[str, bytes], attack: tuple[str, list[Edit]]) -> bytes:
    content = seeds[attack[0]]
    for edit in attack[1]:
        content = edit.apply(content)
    return content


def test_decoder_survives_damage(seeds: dict[str, bytes], tmp_path: Path) -> None:
    """Sound, or one of three clear errors; its process neither dies nor grows beyond its limit."""
    path = tmp_path / "hostile"

    @fuzzing(100)
    @given(attacks)
    def check(attack: tuple[str, list[Edit]]) -> None:
        path.write_bytes(mutated(seeds, attack))
        outcome = _outcome(path)
        assert outcome in {"sound", *PERMITTED}, outcome

    with decode(_written(tmp_path / "whole", seeds["wav"])):
        before = set(worker_pool().pids())
    check()
    assert before <= set(worker_pool().pids()), "a decoder died"
    assert workers.memory_bytes()["ml.audio.decoder:Decoder"] < MEMORY_BYTES


def test_server_survives_damage(tenant: Tenant, seeds: dict[str, bytes]) -> None:
    """Over HTTP: what cannot be heard is refused in the contract's shape, and bills nothing."""
    client = tenant.key("stt")
    heard = 0

    @fuzzing(12)
    @given(attacks)
    def check(attack: tuple[str, list[Edit]]) -> None:
        nonlocal heard
        answer = _transcribe(client, mutated(seeds, attack))
        assert answer.status_code in (200, 413, 422), answer.text
        if answer.status_code == 200:
            heard += 1
        else:
            assert answer.json()["error"]["code"] in PERMITTED

    check()
    assert UsageRecord.objects.filter(organization=tenant.organization, status="succeeded").count() == heard
    assert _transcribe(client, seeds["wav"]).status_code == 200


def _outcome(path: Path) -> str:
    try:
        with decode(path, max_duration_seconds=600) as audio:
            return "sound" if 0 < audio.duration_seconds <= 600 else "wrong length"
    except errors.MlError as error:
        return error.code


def _transcribe(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post("/stt/transcribe", files={"audio_file": ("a.wav", io.BytesIO(content))})


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
