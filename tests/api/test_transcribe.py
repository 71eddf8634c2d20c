"""POST /stt/transcribe."""

from __future__ import annotations

import io
import struct
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from django.core.files.storage import default_storage
from numpy.typing import NDArray
from pytest_django.fixtures import Settings

from analytics.models import UsageRecord
from stt.models import AudioFile, SttJob, Transcription
from tests.api.support import (
    Clip,
    assert_nothing_was_kept,
    clips,
    decode,
    owned_clips,
    silence,
    wav,
    word_error_rate,
)
from tests.conftest import Client, Tenant, error_of

WEATHER = owned_clips()["weather.flac"]


def _post(client: Client, content: bytes, name: str = "audio.wav", **fields: Any) -> httpx.Response:
    return client.post("/stt/transcribe", files={"audio_file": (name, content)}, data=fields)


def _transcribe(client: Client, content: bytes, name: str = "audio.wav", **fields: Any) -> dict[str, Any]:
    answer = _post(client, content, name, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _hear(client: Client, clip: Clip, **fields: Any) -> dict[str, Any]:
    return _transcribe(client, clip.path.read_bytes(), clip.path.name, **fields)


# ── What is heard ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_hears_and_accounts(tenant: Tenant) -> None:
    row, key = tenant.new_key("stt")
    body = _hear(Client(tenant.server, {"x-api-key": key}), WEATHER)
    assert body["status"] == "succeeded"
    assert word_error_rate([WEATHER.text], [body["text"]]) < 0.2
    assert body["duration_seconds"] == pytest.approx(WEATHER.seconds, abs=0.05)
    assert (body["language"], body["model_used"], body["fallback_reason"]) == ("en-US", "pocketsphinx-en-us", None)
    assert 0 < body["confidence"] <= 1
    assert set(body["quality"]) == {"snr_db", "speech_ratio", "clipping_ratio", "score"}
    assert body["stages"] == list(body["timings"])
    measured = [*body["timings"].values(), *filter(None, body["quality"].values())]
    assert measured == [round(value, 4) for value in measured]
    assert body["error"] is None
    assert body["created_at"] <= body["started_at"] <= body["finished_at"]
    assert " ".join(segment["text"] for segment in body["timestamps"]) == body["text"]
    assert "words" not in body["timestamps"][0]

    job = SttJob.objects.get(id=body["job_id"])
    assert (job.organization, job.api_key, job.status) == (tenant.organization, row, "succeeded")
    assert (job.audio.filename, job.audio.size_bytes) == ("weather.flac", WEATHER.path.stat().st_size)
    assert job.audio.key.startswith(f"{tenant.organization.id}/stt/")
    with default_storage.open(job.audio.key) as stored:
        assert stored.read() == WEATHER.path.read_bytes()
    assert Transcription.objects.get(job=job).text == body["text"]
    usage = UsageRecord.objects.get(job_id=job.id)
    assert (usage.task, usage.status, usage.model) == ("stt", "succeeded", "pocketsphinx-en-us")
    assert (usage.characters, usage.api_key) == (0, row)
    assert usage.audio_seconds == pytest.approx(WEATHER.seconds, abs=0.05)
    assert usage.compute_seconds > 0
    assert Client(tenant.server).get(body["audio_url"]).content == WEATHER.path.read_bytes()


def test_real_recordings(tenant: Tenant, recordings: Path) -> None:
    known = clips(recordings, "clips.jsonl")
    names = ["TTS-LJ001-0002.wav", "leopard-test.wav", "pocketsphinx-005.wav", "speechbrain-spk1_snt5.wav"]
    names += [f"pocketsphinx-sense_and_sensibility_01_austen_64kb-{number}.wav" for number in ("0880", "0930")]
    client = tenant.key("stt")
    heard = {name: _hear(client, known[name]) for name in names}
    rate = word_error_rate([known[name].text for name in names], [heard[name]["text"] for name in names])
    assert rate < 0.35, {name: body["text"] for name, body in heard.items()}
    for name, body in heard.items():
        assert body["duration_seconds"] == pytest.approx(known[name].seconds, abs=0.1)


def test_word_timestamps(tenant: Tenant) -> None:
    body = _hear(tenant.key("stt"), WEATHER, word_timestamps="true")
    for segment in body["timestamps"]:
        words = segment["words"]
        assert " ".join(word["word"] for word in words) == segment["text"]
        edges = [edge for word in words for edge in (word["start"], word["end"])]
        assert edges == sorted(edges)
        assert segment["start"] == edges[0] > 0.2
        assert segment["end"] == edges[-1] < WEATHER.seconds
        assert all(0 <= word["confidence"] <= 1 for word in words)


def test_options_may_stand_in_the_query(tenant: Tenant) -> None:
    client = tenant.key("stt")
    files = {"audio_file": ("a.flac", WEATHER.path.read_bytes())}
    body = client.post("/stt/transcribe?language_hint=en-GB&word_timestamps=1", files=files).json()
    assert (body["language"], body["language_confidence"]) == ("en-GB", 1.0)
    assert body["timestamps"][0]["words"]
    kept = SttJob.objects.get(id=body["job_id"]).options
    assert (kept["language_hint"], kept["word_timestamps"]) == ("en-GB", True)


@pytest.mark.parametrize("seconds", [0.2, 3, 30])
def test_silence_is_empty(tenant: Tenant, seconds: float) -> None:
    body = _transcribe(tenant.key("stt"), silence(seconds))
    assert (body["text"], body["timestamps"]) == ("", [])
    assert body["duration_seconds"] == pytest.approx(seconds, abs=0.05)
    assert UsageRecord.objects.get(job_id=body["job_id"]).audio_seconds == pytest.approx(seconds, abs=0.05)


def test_noise_has_no_words(tenant: Tenant) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 48_000)
    assert _transcribe(tenant.key("stt"), wav(noise))["text"] == ""


# ── Containers, codecs, channels, rates ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(owned_clips()))
def test_containers(tenant: Tenant, name: str) -> None:
    clip = owned_clips()[name]
    body = _hear(tenant.key("stt"), clip)
    assert word_error_rate([clip.text], [body["text"]]) < 0.35, body["text"]


def _speech(rate: int) -> NDArray[np.float32]:
    """(T,) at `rate` hertz."""
    import soxr

    sound = decode(WEATHER.path.read_bytes())
    return soxr.resample(sound.samples[0], sound.sample_rate, rate)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_rates_and_channels(tenant: Tenant, rate: int, channels: int) -> None:
    speech = _speech(rate)
    samples = speech if channels == 1 else np.stack([speech, speech * 0.3], axis=1)
    body = _transcribe(tenant.key("stt"), wav(samples, rate))
    assert body["duration_seconds"] == pytest.approx(WEATHER.seconds, abs=0.05)
    assert word_error_rate([WEATHER.text], [body["text"]]) < (0.6 if rate == 8_000 else 0.3), body["text"]


@pytest.mark.parametrize(
    ("container", "audio_codec", "video_codec"),
    [("mp4", "aac", "mpeg4"), ("matroska", "libopus", "mpeg4"), ("webm", "libopus", None), ("mp4", "aac", None)],
)
def test_films_and_phones(tenant: Tenant, container: str, audio_codec: str, video_codec: str | None) -> None:
    body = _transcribe(tenant.key("stt"), _film(container, audio_codec, video_codec), f"film.{container}")
    assert body["duration_seconds"] == pytest.approx(WEATHER.seconds, abs=0.3)
    assert word_error_rate([WEATHER.text], [body["text"]]) < 0.35, body["text"]


def test_film_without_sound(tenant: Tenant) -> None:
    error_of(_post(tenant.key("stt"), _film("mp4", None, "mpeg4"), "film.mp4"), 422, "audio_undecodable")
    _assert_not_billed(tenant)


def _film(container: str, audio_codec: str | None, video_codec: str | None) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        sound = output.add_stream(audio_codec, rate=48_000, layout="mono") if audio_codec else None
        picture = output.add_stream(video_codec, rate=5) if video_codec else None
        if picture:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            picture.codec_context.time_base = Fraction(1, 5)
            for number in range(25):
                still = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number * 9, np.uint8), "rgb24")
                still.pts = number
                output.mux(picture.encode(still))
            output.mux(picture.encode())
        if sound:
            frame = av.AudioFrame.from_ndarray(_speech(48_000)[None, :].astype(np.float32), "fltp", "mono")
            frame.rate, frame.pts = 48_000, 0
            output.mux(sound.encode(frame))
            output.mux(sound.encode())
    return file.getvalue()


# ── What cannot be heard ────────────────────────────────────────────────────────────────────────────────────────────


def _assert_not_billed(tenant: Tenant) -> None:
    """At most a failed job without audio, and a record of it that bills nothing."""
    assert not AudioFile.objects.filter(organization=tenant.organization).exists()
    for job in SttJob.objects.filter(organization=tenant.organization):
        assert (job.status, job.audio) == ("failed", None)
        assert job.error_code
    for usage in UsageRecord.objects.filter(organization=tenant.organization):
        assert (usage.status, usage.characters, usage.audio_seconds) == ("failed", 0, 0)
    folder = Path(default_storage.path(f"{tenant.organization.id}"))
    assert not [path for path in folder.rglob("*") if path.is_file()]


def _wav_header(data_bytes: int, *, rate: int = 16_000, channels: int = 1) -> bytes:
    bytes_a_second = rate * channels * 2
    form = struct.pack("<HHIIHH", 1, channels, rate, bytes_a_second & 0xFFFFFFFF, channels * 2 & 0xFFFF, 16)
    size = struct.pack("<I", data_bytes)
    return b"RIFF" + struct.pack("<I", min(data_bytes + 36, 0xFFFFFFFF)) + b"WAVEfmt \x10\0\0\0" + form + b"data" + size


REFUSED = {
    "text.wav": b"This is a text, whatever its name says. " * 50,
    "page.mp3": b"<html><body>404 not found</body></html>",
    "zeros.wav": bytes(10_000),
    "random.mp3": np.random.default_rng(7).bytes(20_000),
    "header.wav": _wav_header(0),
    "huge-header.wav": _wav_header(0xFFFFFFF0),
    "many-channels.wav": _wav_header(0xFFFF, channels=65_535) + bytes(1000),
    "rate-of-zero.wav": _wav_header(1000, rate=0) + bytes(1000),
    "playlist.m3u8": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
    "concat.txt": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "cut.flac": WEATHER.path.read_bytes()[:20],
    "cut.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    "one-byte": b"R",
    "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refuses_what_is_no_audio(tenant: Tenant, name: str) -> None:
    answer = _post(tenant.key("stt"), REFUSED[name], name)
    assert error_of(answer, 422)["code"] in ("audio_undecodable", "audio_empty")
    _assert_not_billed(tenant)


@pytest.mark.parametrize("name", ["awful.wav", "bad.wav", "evil.wav", "null.wav"])
def test_malformed_files(tenant: Tenant, recordings: Path, name: str) -> None:
    answer = _post(tenant.key("stt"), (recordings / "malformed" / name).read_bytes(), name)
    if answer.status_code == 200:  # what is left of it can be decoded: then it is silence
        assert answer.json()["text"] == ""
        return
    assert error_of(answer, 422)["code"] in ("audio_undecodable", "audio_empty")
    _assert_not_billed(tenant)


def test_empty_file(tenant: Tenant) -> None:
    error_of(_post(tenant.key("stt"), b""), 422, "audio_empty")
    assert_nothing_was_kept(tenant)


def test_truncated_file_gives_what_is_there(tenant: Tenant) -> None:
    whole = wav(_speech(16_000))
    body = _transcribe(tenant.key("stt"), whole[: len(whole) // 2])
    assert body["duration_seconds"] == pytest.approx(WEATHER.seconds / 2, abs=0.1)
    assert body["text"]


def test_bomb_is_stopped_early(tenant: Tenant, settings: Settings) -> None:
    """Two megabytes that decode to three hours."""
    settings.STT_MAX_DURATION_SECONDS = 60
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as output:
        stream = output.add_stream("flac", rate=8_000, layout="mono", format="s16")
        for second in range(0, 3 * 3600, 60):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 480_000), np.int16), "s16", "mono")
            frame.rate, frame.pts = 8_000, second * 8_000
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    assert len(file.getvalue()) < 3_000_000
    started = time.monotonic()
    error_of(_post(tenant.key("stt"), file.getvalue(), "bomb.flac"), 413, "audio_too_long")
    assert time.monotonic() - started < 10
    _assert_not_billed(tenant)


def test_too_long(tenant: Tenant, settings: Settings) -> None:
    settings.STT_MAX_DURATION_SECONDS = 2
    error_of(_post(tenant.key("stt"), silence(3)), 413, "audio_too_long")
    _assert_not_billed(tenant)
    assert _transcribe(tenant.key("stt"), silence(1.9))["text"] == ""


@pytest.mark.parametrize(
    ("far_end", "status", "code"),
    [
        (b"", 422, "audio_empty"),
        (wav(np.zeros(0)), 422, "audio_empty"),
        (b"no audio" * 100, 422, "audio_undecodable"),
        (silence(4), 413, "file_too_large"),
    ],
    ids=["empty", "silent", "no audio", "too large"],
)
def test_far_end_that_cannot_be_used(
    tenant: Tenant, settings: Settings, far_end: bytes, status: int, code: str
) -> None:
    """It is told apart from the recording, and has the same limits."""
    settings.STT_MAX_UPLOAD_BYTES = 100_000
    files = {"audio_file": ("near.wav", silence(1)), "reference_audio": ("far.wav", far_end)}
    assert error_of(tenant.key("stt").post("/stt/transcribe", files=files), status, code)["param"] == "reference_audio"
    _assert_not_billed(tenant)


def test_too_large(tenant: Tenant, settings: Settings) -> None:
    settings.STT_MAX_UPLOAD_BYTES = 10_000
    error = error_of(_post(tenant.key("stt"), silence(1)), 413, "file_too_large")
    assert error["param"] == "audio_file"
    assert_nothing_was_kept(tenant)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": "no-such-model"}, "model", "model_not_found"),
        ({"language_hint": "xx"}, "language_hint", "language_not_supported"),
        ({"language_hint": "not a tag"}, "language_hint", None),
        ({"task": "translate"}, "task", None),
        ({"task": "sing"}, "task", None),
        ({"diarize": "true"}, "diarize", None),
        ({"speakers": "2"}, "speakers", None),
        ({"speakers": "0", "diarize": "true"}, "speakers", "parameter_min_value"),
        ({"channels": "both"}, "channels", "parameter_invalid_choice"),
        ({"word_timestamps": "perhaps"}, "word_timestamps", None),
        ({"prompt": "a\0b"}, "prompt", None),
        ({"promt": "x"}, "promt", "parameter_unknown"),
    ],
)
def test_rejects_wrong_options(tenant: Tenant, fields: dict[str, str], param: str, code: str | None) -> None:
    assert error_of(_post(tenant.key("stt"), silence(1), **fields), 400, code)["param"] == param
    assert_nothing_was_kept(tenant)


def test_rejects_wrong_bodies(tenant: Tenant) -> None:
    client = tenant.key("stt")
    assert error_of(client.post("/stt/transcribe", files={"file": ("a.wav", b"x")}), 400)["param"] == "file"
    assert error_of(client.post("/stt/transcribe", files={"x": (None, "")}), 400)["param"] == "x"
    text = client.post("/stt/transcribe", files={"audio_file": (None, "text")})
    assert error_of(text, 400)["param"] == "audio_file"
    error_of(client.post("/stt/transcribe", json={"audio_file": "x"}), 415, "unsupported_media_type")
    form = {"Content-Type": "multipart/form-data"}
    error_of(client.post("/stt/transcribe", content=b"x", headers=form), 400)
    cut = {"Content-Type": "multipart/form-data; boundary=x"}
    body = b'--x\r\nContent-Disposition: form-data; name="audio_file"; filename="a"\r\n\r\nabc'
    assert client.post("/stt/transcribe", content=body, headers=cut).status_code in (400, 422)
    hexed = {"Content-Type": "multipart/form-data; charset=hex; boundary=x"}
    assert client.post("/stt/transcribe", content=body + b"\r\n--x--\r\n", headers=hexed).status_code == 422
    _assert_not_billed(tenant)


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "naïve ☃.wav", "x" * 600 + ".wav", ".wav", "a\tb.wav", "a;b.W"]
)
def test_odd_names(tenant: Tenant, name: str) -> None:
    body = _transcribe(tenant.key("stt"), silence(0.5), name)
    row = AudioFile.objects.get(organization=tenant.organization)
    assert len(row.filename) <= 255
    assert "/" not in row.filename
    assert row.key.startswith(f"{tenant.organization.id}/stt/")
    assert ".." not in row.key
    assert body["filename"] == row.filename
