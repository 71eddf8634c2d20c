import contextlib
import os
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml import errors
from ml.audio.decode import decode, worker_pool
from tests.ml.stt_support import (
    REAL,
    ROOT,
    kill_busy_worker,
    needs_recordings,
    owned_clips,
    tone,
    wait_for,
    write_audio,
)

FORMATS = [
    ("a.wav", "pcm_s16le", 8_000, "mono"),
    ("b.wav", "pcm_u8", 11_025, "stereo"),
    ("c.wav", "pcm_s24le", 96_000, "mono"),
    ("d.wav", "pcm_f32le", 48_000, "stereo"),
    ("e.wav", "pcm_f64le", 192_000, "mono"),
    ("f.wav", "pcm_mulaw", 8_000, "mono"),
    ("g.wav", "adpcm_ms", 22_050, "mono"),
    ("h.wav", "pcm_s32le", 44_100, "7.1"),
    ("a.mp3", "libmp3lame", 44_100, "stereo"),
    ("a.opus", "libopus", 48_000, "mono"),
    ("a.oga", "flac", 44_100, "stereo"),
    ("a.webm", "libopus", 48_000, "stereo"),
    ("a.m4a", "aac", 44_100, "stereo"),
    ("a.aac", "aac", 32_000, "mono"),
    ("a.flac", "flac", 96_000, "stereo"),
    ("a.aiff", "pcm_s16be", 44_100, "stereo"),
    ("a.amr", "libopencore_amrnb", 8_000, "mono"),
    ("a.mka", "ac3", 48_000, "5.1"),
    ("a.wv", "wavpack", 44_100, "mono"),
    ("a.caf", "alac", 44_100, "stereo"),
    ("7.1.m4a", "aac", 48_000, "7.1"),  # eight planes
    ("7.1.mka", "flac", 48_000, "7.1"),
]


def wav_header(*, rate=16_000, channels=1, bits=16, data_bytes=0, format_tag=1):
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", format_tag, channels, rate, rate * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    riff = struct.pack("<4sI4s4sI", b"RIFF", (36 + data_bytes) & 0xFFFFFFFF, b"WAVE", b"fmt ", len(fmt))
    return riff + fmt + struct.pack("<4sI", b"data", data_bytes & 0xFFFFFFFF)


def dominant_hertz(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * 16_000 / len(samples)


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS, ids=str)
def test_decodes_format(tmp_path, name, codec, rate, layout):
    path = write_audio(tmp_path / name, tone(440, 2, rate), rate, codec=codec, layout=layout)
    with decode(path) as audio:
        assert audio.samples.dtype == np.int16
        assert audio.duration_seconds == pytest.approx(2.0, abs=0.12)
        assert dominant_hertz(audio.samples) == pytest.approx(440, abs=2)
        assert audio.source.sample_rate == rate
        assert not audio.source.truncated


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.mov"])
def test_decodes_sound_track_of_a_film(tmp_path, name):
    path = write_audio(tmp_path / name, tone(440, 1, 44_100), 44_100, codec="aac", layout="stereo", picture=True)
    with decode(path) as audio:
        assert audio.duration_seconds == pytest.approx(1.0, abs=0.12)
        assert dominant_hertz(audio.samples) == pytest.approx(440, abs=2)


def test_16_khz_mono_passes_unchanged(tmp_path):
    samples = np.random.default_rng(1).integers(-32768, 32768, 16_000).astype("<i2")
    path = tmp_path / "noise.wav"
    path.write_bytes(wav_header(data_bytes=samples.nbytes) + samples.tobytes())
    with decode(path) as audio:
        np.testing.assert_array_equal(audio.samples, samples)


def test_samples_are_read_only():
    with decode(owned_clips()[0].path) as audio, pytest.raises(ValueError, match="read-only"):
        audio.samples[0] = 1


def test_resampling_keeps_speech_and_stops_aliases(tmp_path):
    passed = write_audio(tmp_path / "pass.wav", tone(6_500, 1, 48_000), 48_000, codec="pcm_s16le")
    stopped = write_audio(tmp_path / "stop.wav", tone(9_000, 1, 48_000), 48_000, codec="pcm_s16le")
    with decode(passed) as heard, decode(stopped) as alias:
        loud = np.std(heard.samples[4_000:12_000].astype(float))
        quiet = np.std(alias.samples[4_000:12_000].astype(float))
    assert loud == pytest.approx(0.5 * 32767 / np.sqrt(2), rel=0.02)
    assert 20 * np.log10(loud / max(quiet, 1e-9)) > 60


def test_measures_clipping_at_the_source(tmp_path):
    clean = write_audio(tmp_path / "clean.wav", tone(300, 1, 44_100, 0.9), 44_100, codec="pcm_s16le")
    clipped = write_audio(tmp_path / "clipped.wav", tone(300, 1, 44_100, 2.0), 44_100, codec="pcm_s16le")
    with decode(clean) as a, decode(clipped) as b:
        assert a.source.clipping_ratio == 0
        assert b.source.clipping_ratio == pytest.approx(2 / 3, abs=0.02)  # |2 sin| >= 1 for two thirds of a period


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus")]
)
def test_truncated_file_is_decoded_up_to_there(tmp_path, name, codec):
    path = write_audio(tmp_path / name, tone(440, 4, 48_000), 48_000, codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with decode(path) as audio:
        assert 1.0 < audio.duration_seconds < 3.2
        assert dominant_hertz(audio.samples) == pytest.approx(440, abs=3)


def test_truncated_mp4_without_its_index_is_undecodable(tmp_path):
    path = write_audio(tmp_path / "a.m4a", tone(440, 4, 48_000), 48_000, codec="aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(errors.AudioUndecodable):
        decode(path)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_stream_of_unknown_length(tmp_path, stated):
    """A recorder that writes to a pipe states no length, or the greatest."""
    path = tmp_path / "stream.wav"
    samples = (tone(440, 1, 16_000) * 32767).astype("<i2")
    path.write_bytes(wav_header(data_bytes=stated) + samples.tobytes())
    with decode(path, max_duration_seconds=10) as audio:
        assert audio.duration_seconds == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("data", [b"", wav_header()], ids=["no bytes", "header only"])
def test_nothing_inside_is_empty(tmp_path, data):
    path = tmp_path / "empty.wav"
    path.write_bytes(data)
    with pytest.raises(errors.AudioEmpty):
        decode(path)


UNDECODABLE = {
    "text": b"Dear sir, this is not audio at all. " * 50,
    "html": b"<!doctype html><html><body>no</body></html>",
    "zeros": bytes(100_000),
    "noise": np.random.default_rng(3).bytes(200_000),
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde",
    "zip": b"PK\x03\x04" + bytes(2_000),
    "half a header": wav_header()[:20],
    "unknown codec": wav_header(format_tag=0x6666, data_bytes=1000) + bytes(1000),
    "rate of 1 Hz": wav_header(rate=1, data_bytes=2000) + bytes(2000),
    "rate of 2 GHz": wav_header(rate=2_000_000_000, data_bytes=2000) + bytes(2000),
    "65535 channels": wav_header(channels=65_535, data_bytes=400_000) + bytes(400_000),
    "mp4 box of 2 GB": b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00M4A isom\x7f\xff\xff\xffmoov" + bytes(5_000),
}


@pytest.mark.parametrize("name", UNDECODABLE)
def test_refuses_what_is_no_audio(tmp_path, name):
    path = tmp_path / "claims.wav"
    path.write_bytes(UNDECODABLE[name])
    with pytest.raises(errors.AudioUndecodable):
        decode(path)


def test_refuses_missing_file_and_folder(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.wav"):
        with pytest.raises(errors.AudioUndecodable):
            decode(path)


def test_film_without_sound_is_undecodable(tmp_path):
    import av

    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=5)
        video.width = video.height = 64
        container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(video.encode(None))
    with pytest.raises(errors.AudioUndecodable, match="no sound track"):
        decode(path)


@needs_recordings
@pytest.mark.parametrize("name", ["awful.wav", "bad.wav", "evil.wav", "null.wav"])
def test_malformed_corpus(name):
    with pytest.raises((errors.AudioUndecodable, errors.AudioEmpty)):
        decode(REAL / "malformed" / name)


PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{path}\n#EXT-X-ENDLIST\n",
    "hls url": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "dash": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' "
    "mediaPresentationDuration='PT4S'><Period><AdaptationSet mimeType='audio/wav'><Representation id='1' "
    "bandwidth='1'><BaseURL>{path}</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlist_cannot_reach_other_files(tmp_path, kind):
    secret = owned_clips()[0].path
    path = tmp_path / "list.wav"
    path.write_text(PLAYLISTS[kind].format(path=secret))
    with pytest.raises(errors.AudioUndecodable):
        decode(path)


def test_stops_at_the_limit(tmp_path):
    path = write_audio(tmp_path / "a.wav", tone(440, 3, 16_000), 16_000, codec="pcm_s16le")
    with pytest.raises(errors.AudioTooLong, match="2 seconds"):
        decode(path, max_duration_seconds=2)
    with decode(path, max_duration_seconds=3) as audio:
        assert audio.duration_seconds == 3


def hours_of_silence(path, *, stated):
    """A FLAC of an hour in few bytes, whose header states another number of samples."""
    write_audio(path, np.zeros(3_600 * 8_000, np.float32), 8_000, codec="flac")
    data = bytearray(path.read_bytes())
    # STREAMINFO stands at byte 8; the number of samples is the low 36 bits of its bytes 13 to 17.
    data[8 + 13] &= 0xF0
    data[8 + 14 : 8 + 18] = struct.pack(">I", stated)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def long_silence(tmp_path_factory):
    return hours_of_silence(tmp_path_factory.mktemp("long") / "hour.flac", stated=0)


@pytest.fixture(scope="module")
def whole_seconds(long_silence):
    """What decoding all of it takes, here and now."""
    decode(owned_clips()[0].path).close()  # so that a process runs
    started = time.monotonic()
    decode(long_silence).close()
    return time.monotonic() - started


def test_bomb_with_unknown_length_stops_early(long_silence, whole_seconds):
    assert long_silence.stat().st_size < 1_000_000  # for 115 MB of PCM
    started = time.monotonic()
    with pytest.raises(errors.AudioTooLong):
        decode(long_silence, max_duration_seconds=60)
    assert time.monotonic() - started < min(2, whole_seconds / 2)  # a sixtieth of the work


def test_cancelling_stops_the_work(long_silence, whole_seconds):
    cancel, idle = threading.Event(), set(worker_pool().pids())
    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(decode, long_silence, cancel=cancel)
        wait_for(lambda: idle - set(worker_pool().pids()))
        (busy,) = idle - set(worker_pool().pids())
        cancel.set()
        started = time.monotonic()
        with pytest.raises(errors.Cancelled):
            work.result()
    assert time.monotonic() - started < min(1, whole_seconds / 2)
    with pytest.raises(ProcessLookupError):
        os.kill(busy, 0)


def test_killed_process_costs_nothing(long_silence):
    decode(owned_clips()[0].path).close()  # so that a process runs
    before, seconds = set(worker_pool().pids()), []

    def work():
        with decode(long_silence) as audio:
            seconds.append(audio.duration_seconds)

    assert kill_busy_worker(worker_pool(), work) is None
    with decode(long_silence) as audio:
        assert seconds == [audio.duration_seconds]
    assert before - set(worker_pool().pids())


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS[::3], ids=str)
def test_random_damage_is_heard_or_refused(tmp_path, name, codec, rate, layout):
    """What holds over tens of thousands of mutations is kept watch over with a few."""
    rng = np.random.default_rng(5)
    data = write_audio(tmp_path / name, tone(440, 1, rate), rate, codec=codec, layout=layout).read_bytes()
    for _ in range(30):
        damaged = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, min(len(data), int(rng.choice([200, len(data)]))), 12)
        damaged[places] = rng.integers(0, 256, 12)
        (tmp_path / name).write_bytes(damaged.tobytes())
        with contextlib.suppress(errors.AudioError), decode(tmp_path / name, max_duration_seconds=600) as audio:
            assert 0 < audio.duration_seconds <= 600


def test_huge_headers(tmp_path):
    plain = write_audio(tmp_path / "a.mp3", tone(440, 1, 44_100), 44_100, codec="libmp3lame").read_bytes()
    size = 20_000_000  # an ID3 tag, as a picture of that size makes it
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    frame = b"APIC" + struct.pack(">I", size - 10) + b"\0\0\0image/jpeg\0\3\0"
    tag = b"ID3\3\0\0" + synchsafe + frame
    path = tmp_path / "tagged.mp3"
    path.write_bytes(tag + bytes(size + 10 - len(tag)) + plain)
    with decode(path) as audio:
        assert audio.duration_seconds == pytest.approx(1.0, abs=0.1)


def test_many_chunks_before_the_sound(tmp_path):
    samples = (tone(440, 1, 16_000) * 32767).astype("<i2").tobytes()
    header = wav_header(data_bytes=len(samples))
    junk = b"".join(b"JUNK" + struct.pack("<I", 1_000) + bytes(1_000) for _ in range(5_000))
    path = tmp_path / "chunks.wav"
    path.write_bytes(header[:36] + junk + header[36:] + samples)
    with decode(path) as audio:
        assert audio.duration_seconds == 1


def test_float_infinities_do_not_spread(tmp_path):
    samples = tone(440, 1, 48_000)
    samples[1000:1010] = np.nan
    samples[2000] = np.inf
    path = tmp_path / "nan.wav"
    path.write_bytes(wav_header(rate=48_000, bits=32, format_tag=3, data_bytes=samples.nbytes) + samples.tobytes())
    with decode(path) as audio:
        assert dominant_hertz(audio.samples[8_000:]) == pytest.approx(440, abs=3)


LEAVINGS = """
import os, sys
from ml import errors
from ml.audio.decode import decode
with decode(sys.argv[1]) as audio:
    left = os.listdir(os.environ["TMPDIR"])
    assert audio.samples.any()
try:
    decode(sys.argv[2], max_duration_seconds=60)
except errors.AudioTooLong:
    print(left + os.listdir(os.environ["TMPDIR"]))
"""


def test_leaves_no_temporary_file(tmp_path, long_silence):
    """Neither of what it decoded, while that is used, nor of what it gave up. In a process with a folder of its own."""
    command = [sys.executable, "-c", LEAVINGS, owned_clips()[0].path, long_silence]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        command, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (told.stdout.strip(), told.returncode) == ("[]", 0), told.stderr
