"""Every format is decoded again, and has the length, the rate and the sound that went in."""

import io
import subprocess
import sys

import av
import numpy as np
import pytest

from ml import errors
from ml.audio import StreamEncoder, check_format, choose_sample_rate, encode, encode_stream, encode_to_file
from ml.audio.encode import CONTENT_TYPES, EXTENSIONS, FORMATS
from ml.types import AudioChunk

ANY_RATE = ("wav", "mp3", "opus", "aac", "flac", "pcm")
"""The others are telephony's, at 8 kHz."""
SLACK_SECONDS = {"wav": 0, "pcm": 0, "flac": 0, "mp3": 0.08, "aac": 0.1, "opus": 0.03}
"""What codecs with frames may add: the encoder's delay and the rest of the last frame."""


def tone(seconds, rate, hertz=440.0, start=0):
    times = (np.arange(round(seconds * rate)) + start) / rate
    return (12_000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def chunks_of(samples, rate, size=5_000):
    return [AudioChunk(samples[at : at + size], rate, "") for at in range(0, len(samples), size)]


def decoded(data, format, rate):
    """(samples, rate)."""
    if format == "pcm":
        return np.frombuffer(data, dtype="<i2"), rate
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="s16", layout="mono", rate=stream.rate)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), stream.rate


def loudest_hertz(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "file"])
@pytest.mark.parametrize("format", ANY_RATE)
def test_decodes_to_what_went_in(format, streaming):
    rate = choose_sample_rate(format, None, 22_050)
    samples = tone(2.0, rate)
    with encode(chunks_of(samples, rate), format, sample_rate=rate, streaming=streaming) as encoded:
        data = b"".join(encoded)
    heard, heard_rate = decoded(data, format, rate)
    assert heard_rate == (48_000 if format == "opus" else rate)  # Opus always decodes at 48 kHz
    assert len(heard) / heard_rate == pytest.approx(2.0, abs=SLACK_SECONDS[format])
    assert loudest_hertz(heard, heard_rate) == pytest.approx(440, abs=2)
    if format in ("wav", "pcm", "flac"):
        assert np.array_equal(heard, samples)


@pytest.mark.parametrize("format", ["mulaw", "alaw"])
@pytest.mark.parametrize("streaming", [True, False])
def test_telephony_is_g711(format, streaming):
    samples = tone(1.0, 8_000)
    data = b"".join(encode(chunks_of(samples, 8_000), format, sample_rate=8_000, streaming=streaming))
    wav = b"".join(encode(chunks_of(samples, 8_000), f"wav_{format}", sample_rate=8_000, streaming=streaming))
    assert len(data) == 8_000
    assert data in wav
    heard, _ = decoded(wav, format, 8_000)
    noise = heard.astype(float) - samples
    assert 10 * np.log10((samples.astype(float) ** 2).mean() / (noise**2).mean()) > 33  # what G.711 can do
    with pytest.raises(errors.InvalidRequest):
        check_format(format, 16_000)


@pytest.mark.parametrize("format", ANY_RATE)
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_carries_other_rates(format, rate):
    data = b"".join(encode(chunks_of(tone(0.5, rate), rate), format, sample_rate=rate, streaming=True))
    heard, heard_rate = decoded(data, format, rate)
    assert len(heard) / heard_rate == pytest.approx(0.5, abs=2 * SLACK_SECONDS[format])


@pytest.mark.parametrize("format", [name for name in ANY_RATE if name != "pcm"])
def test_a_file_tells_its_length(format):
    rate = choose_sample_rate(format, None, 22_050)
    file = io.BytesIO()
    info = encode_to_file(chunks_of(tone(3.0, rate), rate), format, file, sample_rate=rate)
    assert (info.duration_seconds, info.sample_rate, info.bytes) == (3.0, rate, len(file.getvalue()))
    file.seek(0)
    with av.open(file) as container:
        # ADTS has no header to tell it in: FFmpeg guesses from the bit rate.
        slack = 0.6 if format == "aac" else 0.03
        assert container.duration / av.time_base == pytest.approx(3.0, abs=slack)


@pytest.mark.parametrize("format", ANY_RATE)
def test_streams_bytes_before_the_next_chunk_is_made(format):
    rate = choose_sample_rate(format, None, 22_050)
    made = []

    def chunks():
        for number in range(20):
            made.append(number)
            yield AudioChunk(tone(1.0, rate), rate, "")

    encoded = encode(chunks(), format, sample_rate=rate, streaming=True)
    assert next(encoded)
    assert len(made) <= 2
    encoded.close()
    assert list(encoded) == []


@pytest.mark.parametrize("format", ANY_RATE)
def test_the_first_bytes_are_sound_long_before_the_first_chunk_is_encoded(format):
    rate = choose_sample_rate(format, None, 22_050)
    first = next(encode([AudioChunk(tone(20.0, rate), rate, "")], format, sample_rate=rate, streaming=True))
    heard, heard_rate = decoded(first, format, rate)
    assert len(heard) / heard_rate > 0.02
    if format not in ("wav", "pcm"):
        assert len(heard) / heard_rate < 1.0


@pytest.mark.parametrize("format", ANY_RATE)
@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_padding_pushes_out_what_encoders_hold_back(format, rate):
    encoder = StreamEncoder(format, rate)
    data = b"".join(encoder.write(tone(0.05, rate, start=round(at * 0.05 * rate))) for at in range(20))
    data += encoder.pad()
    heard, heard_rate = decoded(data, format, rate)  # the stream goes on, and this much of it can be heard
    loud = np.flatnonzero(np.abs(heard.astype(int)) > 3_000)
    assert (loud[-1] - loud[0]) / heard_rate == pytest.approx(1.0, abs=0.02)
    assert len(heard) / heard_rate < 1.6
    data += encoder.write(tone(0.5, rate)) + encoder.finish()
    assert len(decoded(data, format, rate)[0]) / heard_rate > len(heard) / heard_rate + 0.4
    assert (encoder.write(tone(0.1, rate)), encoder.pad(), encoder.finish()) == (b"", b"", b"")


@pytest.mark.parametrize("format", ANY_RATE)
def test_padding_before_the_first_sample_is_no_error(format):
    encoder = StreamEncoder(format, 24_000)
    assert isinstance(encoder.pad() + encoder.finish(), bytes)


class Source:
    """Chunks that tell whether they were closed."""

    def __init__(self, rate=22_050):
        self.closed = False
        self._rate = rate

    def __iter__(self):
        return self

    def __next__(self):
        return AudioChunk(tone(0.2, self._rate), self._rate, "")

    def close(self):
        self.closed = True


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("format", ["wav", "flac"])
def test_releases_its_source_when_never_started(format, streaming):
    source = Source()
    encode(source, format, sample_rate=22_050, streaming=streaming).close()
    assert source.closed
    source = Source()
    encode(source, format, sample_rate=22_050, streaming=streaming)  # dropped
    assert source.closed


def test_releases_its_source_when_closed_early():
    source = Source()
    encoded = encode(source, "mp3", sample_rate=22_050, streaming=True)
    next(encoded)
    encoded.close()
    assert source.closed


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("format", ANY_RATE)
def test_what_the_source_raises_comes_through(format, streaming):
    def chunks():
        yield AudioChunk(tone(0.2, 48_000), 48_000, "")
        raise errors.EngineFailed("The engine failed.")

    with pytest.raises(errors.EngineFailed, match="The engine failed"):
        list(encode(chunks(), format, sample_rate=48_000, streaming=streaming))


@pytest.mark.parametrize("format", ANY_RATE)
@pytest.mark.parametrize("streaming", [True, False])
def test_no_chunks_and_empty_chunks_are_no_error(format, streaming):
    empty = AudioChunk(np.zeros(0, dtype=np.int16), 24_000, "")
    assert isinstance(b"".join(encode([], format, sample_rate=24_000, streaming=streaming)), bytes)
    assert isinstance(b"".join(encode([empty], format, sample_rate=24_000, streaming=streaming)), bytes)


@pytest.mark.parametrize(
    ("format", "rate", "param"),
    [
        ("ogg", None, "format"),
        ("WAV", 22_050, "format"),
        ("opus", 22_050, "sample_rate"),
        ("opus", 44_100, "sample_rate"),
        ("mp3", 10_000, "sample_rate"),
        ("aac", 9_999, "sample_rate"),
        ("wav", 7_000, "sample_rate"),
        ("flac", 96_000, "sample_rate"),
    ],
)
def test_refuses_before_anything_is_made(format, rate, param):
    with pytest.raises(errors.InvalidRequest) as refused:
        check_format(format, rate)
    assert refused.value.param == param
    with pytest.raises(errors.InvalidRequest):
        encode(Source(), format, sample_rate=rate or 22_050, streaming=True)


def test_names_the_rates_that_opus_allows():
    with pytest.raises(errors.InvalidRequest, match="8000, 12000, 16000, 24000, 48000"):
        check_format("opus", 22_050)


def test_chooses_a_rate_that_loses_nothing():
    assert choose_sample_rate("opus", None, 22_050) == 24_000
    assert choose_sample_rate("opus", 16_000, 22_050) == 16_000
    assert choose_sample_rate("wav", None, 22_050) == 22_050
    assert choose_sample_rate("mp3", None, 22_050) == 22_050


def test_refuses_chunks_at_another_rate():
    with pytest.raises(errors.EngineFailed, match="16000"):
        list(encode(Source(16_000), "wav", sample_rate=22_050, streaming=True))


def test_every_format_has_its_names():
    assert set(CONTENT_TYPES) == set(EXTENSIONS) == set(FORMATS)


def test_a_streamed_wav_says_that_its_length_is_unknown():
    data = b"".join(encode(chunks_of(tone(0.1, 22_050), 22_050), "wav", sample_rate=22_050, streaming=True))
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"


def test_wav_does_not_load_the_codecs():
    code = (
        "import sys, numpy as np\nfrom ml.audio import encode\nfrom ml.types import AudioChunk\n"
        "chunk = AudioChunk(np.zeros(9, np.int16), 16000, '')\n"
        "list(encode([chunk], 'wav', sample_rate=16000, streaming=True))\nassert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


TAGS = {"artist": "Müller & Söhne", "comment": "Synthetic speech. voice=ana", "date": "2026-01-02T03:04:05Z",
        "genre": "Speech synthesis", "synthetic": "true", "voice": "ana"}  # fmt: skip


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "file"])
@pytest.mark.parametrize("format", ["wav", "mp3", "opus", "flac"])
def test_tags_stand_in_every_container_that_has_any(format, streaming):
    rate = choose_sample_rate(format, None, 22_050)
    chunks = chunks_of(tone(0.5, rate), rate)
    if streaming:
        data = b"".join(encode_stream(chunks, format, sample_rate=rate, tags=TAGS))
    else:
        encode_to_file(chunks, format, file := io.BytesIO(), sample_rate=rate, tags=TAGS)
        data = file.getvalue()
    with av.open(io.BytesIO(data)) as container:
        told = {**container.metadata, **container.streams.audio[0].metadata}
    known = ("artist", "comment", "date", "genre") if format == "wav" else tuple(TAGS)
    assert {name: told.get(name) for name in known} == {name: TAGS[name] for name in known}
    heard, heard_rate = decoded(data, format, rate)
    assert loudest_hertz(heard, heard_rate) == pytest.approx(440, abs=4)


@pytest.mark.parametrize("format", ["pcm", "aac"])
def test_formats_without_tags_are_the_same_with_them(format):
    chunks = chunks_of(tone(0.2, 24_000), 24_000)
    plain, tagged = (b"".join(encode_stream(chunks, format, sample_rate=24_000, tags=tags)) for tags in ({}, TAGS))
    assert plain == tagged
