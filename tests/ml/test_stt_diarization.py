"""Who says what: by a tiny real model, by channels, and in every form in which a transcript is written."""

import io
import wave
from collections.abc import Iterator

import numpy as np
import pytest

import ml.stt
from ml import errors
from ml.audio.decode import decode
from ml.stt import diarization, registry
from ml.stt.diarization import Speakers
from ml.stt.helpers.speakers import SpeakerTurn
from ml.stt.subtitles import render
from ml.types import Segment, TranscriptionOptions, Word
from tests.ml.stt_support import normalise, owned_clips, pcm_of, write_audio

RATE = 16_000


def clip(name):
    """(n,) int16"""
    return pcm_of(next(clip for clip in owned_clips() if clip.path.stem == name))


def write(path, *channels):
    """Channels (n,) int16 as a wav file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(len(channels))
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        writer.writeframes(np.stack(channels, axis=1).astype("<i2").tobytes())
    path.write_bytes(file.getvalue())
    return path


def deep(samples):
    """Muffled: to the tiny model another voice than `bright` speech."""
    spectrum = np.fft.rfft(samples.astype(float))
    spectrum[np.fft.rfftfreq(len(samples), 1 / RATE) > 2_500] = 0
    return _loud(np.fft.irfft(spectrum, len(samples)))


def bright(samples):
    for share in (0.97, 0.5):
        samples = samples - share * np.concatenate([[0.0], samples[:-1]])
    return _loud(samples)


def _loud(samples):
    return (samples / np.abs(samples).max() * 22_000).astype(np.int16)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("onnx", reason="onnx comes with requirements-dev.txt")
    from tests.ml import tiny_helpers

    return tiny_helpers.save_diarization(tmp_path_factory.mktemp("diarizer") / "m")


@pytest.fixture
def diarizer(folder) -> Iterator[None]:
    registry.install(folder)
    yield
    registry.uninstall(folder.manifest.name, task="diarization")


# ── By a model ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_tells_two_voices_apart(diarizer, tmp_path):
    first, second = deep(clip("numbers")[: 2 * RATE]), bright(clip("weather"))
    path = write(tmp_path / "two.wav", np.concatenate([first, silence(1), second, silence(1), first]))
    told = []
    options = TranscriptionOptions(diarize=True, speakers=2, word_timestamps=True)
    transcript = ml.stt.transcribe(path, options, on_segment=told.append)
    assert [segment.speaker for segment in transcript.segments] == ["speaker_1", "speaker_2", "speaker_1"]
    assert "the people walked along the river" in transcript.segments[1].text
    assert tuple(told) == transcript.segments
    assert transcript.channels == 1
    names = transcript.stages
    assert names.index("vad") < names.index("diarize") < names.index("recognise")
    assert transcript.timings["diarize"] > 0

    srt, vtt, txt = (render(transcript, name) for name in ("srt", "vtt", "txt"))
    opening = transcript.segments[1].text[:20]
    assert f"speaker_2: {opening}" in srt
    assert f"<v speaker_2>{opening}" in vtt
    assert txt.splitlines()[1] == f"speaker_2: {transcript.segments[1].text}"
    assert [line.partition(":")[0] for line in txt.splitlines()] == ["speaker_1", "speaker_2", "speaker_1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_segment_in_which_the_speaker_changes_is_cut_there(diarizer, tmp_path):
    first, second = deep(clip("numbers")[: 2 * RATE]), bright(clip("weather")[RATE // 4 : 3 * RATE])
    path = write(tmp_path / "close.wav", np.concatenate([first, second]))
    plain = ml.stt.transcribe(path, TranscriptionOptions(punctuate=False, itn=False, word_timestamps=True))
    options = TranscriptionOptions(diarize=True, punctuate=False, itn=False, word_timestamps=True)
    transcript = ml.stt.transcribe(path, options)
    assert len(plain.segments) < len(transcript.segments)
    assert transcript.text.lower() == plain.text.lower()
    assert {segment.speaker for segment in transcript.segments} == {"speaker_1", "speaker_2"}
    change = len(first) / RATE
    for segment in transcript.segments:
        assert (segment.speaker == "speaker_1") == ((segment.start + segment.end) / 2 < change)
        assert " ".join(word.text for word in segment.words) == segment.text
    edges = [edge for segment in transcript.segments for edge in (segment.start, segment.end)]
    assert edges == sorted(edges)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_silence_has_no_speakers(diarizer, tmp_path):
    transcript = ml.stt.transcribe(write(tmp_path / "s.wav", silence(2)), TranscriptionOptions(diarize=True))
    assert (transcript.text, transcript.segments) == ("", ())
    assert "diarize" not in transcript.stages


# ── Turns and words ─────────────────────────────────────────────────────────────────────────────────────────────────


def spoken(text, *times, separator=" "):
    texts = text.split() if separator else list(text)
    words = tuple(Word(word, start, start + 0.4, 0.8) for word, start in zip(texts, times, strict=True))
    return Segment(words[0].start, words[-1].end, text, 0.8, words)


def turns(*found):
    return Speakers(tuple(SpeakerTurn(*turn) for turn in found))


def parts(speakers, segment):
    return [(part.speaker, part.text) for part in speakers.divide(segment)]


def test_words_go_to_whoever_speaks_most_of_them():
    speakers = turns((0.0, 1.1, 4), (1.0, 3.0, 2))
    segment = spoken("so it is, says she", 0.0, 0.5, 0.9, 1.4, 1.9)
    assert parts(speakers, segment) == [("speaker_1", "so it"), ("speaker_2", "is, says she")]
    assert parts(speakers, spoken("and then", 2.5, 3.5)) == [("speaker_2", "and then")]  # nearest
    assert parts(speakers, spoken("yes", 0.1)) == [("speaker_1", "yes")]


def test_a_word_within_anothers_sentence_stays_there():
    speakers = turns((0.0, 3.0, 0), (1.0, 1.5, 1))
    overlapped = spoken("nobody stops me here", 0.0, 1.0, 1.6, 2.2)
    assert parts(speakers, overlapped) == [("speaker_1", "nobody stops me here")]


def test_parts_have_their_own_times_words_and_confidences():
    segment = Segment(0.0, 2.0, "Yes. No!", 0.5, (Word("Yes.", 0.0, 0.5, 0.9), Word("No!", 1.0, 2.0, 0.3)))
    yes, no = turns((0.0, 0.8, 0), (0.8, 2.0, 1)).divide(segment)
    assert (yes.start, yes.end, yes.text, yes.confidence) == (0.0, 0.5, "Yes.", 0.9)
    assert (no.start, no.end, no.text, no.confidence, no.words) == (1.0, 2.0, "No!", 0.3, segment.words[1:])


def test_scripts_without_spaces_are_cut_between_words():
    speakers = turns((0.0, 1.0, 0), (1.0, 2.0, 1))
    assert parts(speakers, spoken("你好再见", 0.0, 0.5, 1.0, 1.5, separator="")) == [
        ("speaker_1", "你好"),
        ("speaker_2", "再见"),
    ]


def test_what_has_no_words_of_its_own_goes_to_one_speaker():
    speakers = turns((0.0, 1.0, 0), (1.0, 3.0, 1))
    assert parts(speakers, Segment(0.5, 2.5, "as a whole", 0.9)) == [("speaker_1", "as a whole")]
    rewritten = Segment(0.0, 0.9, "20", 0.9, (Word("twenty", 0.0, 0.9, 0.9),))
    assert parts(speakers, rewritten) == [("speaker_2", "20")]
    assert parts(turns(), Segment(0.0, 1.0, "nobody", 0.9)) == [(None, "nobody")]


# ── By channels ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """Two people on two channels, the second of whom speaks first."""
    late, early = clip("numbers")[: 2 * RATE], clip("weather")
    length = len(early) + len(late)
    left, right = np.zeros(length, np.int16), np.zeros(length, np.int16)
    right[: len(early)] = early
    left[-len(late) :] = late
    return write(tmp_path_factory.mktemp("call") / "call.wav", left, right)


def test_each_channel_is_a_speaker(call):
    shares = []
    told = []
    transcript = ml.stt.transcribe(
        call, TranscriptionOptions(channels="separate", itn=False), on_segment=told.append,
        progress=lambda share, stage: shares.append(share),
    )  # fmt: skip
    assert [segment.speaker for segment in transcript.segments] == ["speaker_2", "speaker_1"]
    weather, numbers = (normalise(segment.text) for segment in transcript.segments)
    assert weather == "the weather in the city was warm and the people walked along the river"
    assert "three four" in numbers
    assert transcript.channels == 2
    assert transcript.duration_seconds == pytest.approx(6.74, abs=0.05)
    assert transcript.text == " ".join(segment.text for segment in transcript.segments)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert [segment.text for segment in told] == [segment.text for segment in transcript.segments]
    assert "diarize" not in transcript.stages


def test_the_seconds_of_all_channels_are_counted(call):
    seconds = []

    class Enough(Exception):
        pass

    def stop(duration):
        seconds.append(duration)
        raise Enough

    with pytest.raises(Enough):
        ml.stt.transcribe(call, TranscriptionOptions(channels="separate"), on_duration=stop)
    assert seconds == [pytest.approx(2 * 6.74, abs=0.1)]


def test_one_channel_is_refused(tmp_path):
    path = write(tmp_path / "mono.wav", clip("numbers"))
    for diarize in (False, True):
        with pytest.raises(errors.ChannelsUnsuitable, match="one channel") as refused:
            ml.stt.transcribe(path, TranscriptionOptions(channels="separate", diarize=diarize))
        assert (refused.value.param, refused.value.status) == ("channels", 422)


def test_channels_that_carry_the_same_sound_are_refused(tmp_path):
    sound = clip("numbers")
    noise = np.random.default_rng(0).integers(-20, 20, len(sound))
    for other in (sound, sound + noise):
        with pytest.raises(errors.ChannelsUnsuitable, match="same sound"):
            ml.stt.transcribe(write(tmp_path / "d.wav", sound, other), TranscriptionOptions(channels="separate"))
    nobody = ml.stt.transcribe(
        write(tmp_path / "s.wav", silence(1), silence(1)), TranscriptionOptions(channels="separate")
    )
    assert nobody.segments == ()  # silence is nobody's


def test_too_many_channels_are_refused(tmp_path):
    path = write(tmp_path / "many.wav", *(silence(0.5) for _ in range(9)))
    with pytest.raises(errors.ChannelsUnsuitable, match="9 channels"):
        ml.stt.transcribe(path, TranscriptionOptions(channels="separate"))


def test_decodes_one_channel(tmp_path):
    left, right = clip("numbers"), clip("weather")[: len(clip("numbers"))]
    path = write(tmp_path / "two.wav", left, right)
    for channel, wanted in enumerate((left, right)):
        with decode(path, channel=channel) as audio:
            assert np.abs(audio.samples.astype(int) - wanted).max() <= 1
            assert audio.source.channels == 2
    with decode(path, channel=2) as audio:
        assert not audio.samples.any()
    for layout, codec in (("5.1", "flac"), ("stereo", "libmp3lame")):
        suffix = {"flac": ".flac", "libmp3lame": ".mp3"}[codec]
        surround = write_audio(tmp_path / f"a{suffix}", left[:RATE] / 32768, RATE, codec=codec, layout=layout)
        with decode(surround, channel=1) as audio:
            assert audio.samples.any()


# ── Options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"diarize": True}, "diarize"),  # no model is installed
        ({"channels": "apart"}, "channels"),
        ({"speakers": 2}, "speakers"),
        ({"speakers": 2, "channels": "separate", "diarize": True}, "speakers"),
        ({"diarize": True, "speakers": 0}, "speakers"),
        ({"diarize": True, "speakers": diarization.MAX_SPEAKERS + 1}, "speakers"),
    ],
)
def test_refuses_before_anything_is_computed(options, param):
    with pytest.raises(errors.InvalidRequest) as refused:
        ml.stt.transcribe("/nowhere", TranscriptionOptions(**options))
    assert refused.value.param == param
    assert refused.value.status == 400


def test_channels_need_no_model():
    assert ml.stt.resolve(TranscriptionOptions(channels="separate", diarize=True)).model
