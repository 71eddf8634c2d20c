"""`ml.tts.synthesize` with installed neural voices, end to end."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ml.tts
from ml import errors
from ml.tts import delivery, registry
from ml.tts.script import Run, Style, Utterance
from ml.types import Caller, SynthesisOptions
from tests.ml import tiny_voices
from tests.ml.test_tts_synthesis import fundamental

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and transformers warn about themselves

TEXT = "Hello there. How are you, Mr. Smith? It is fine."


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """A VITS on coqui-tts and a Kokoro on sherpa-onnx, at 22,050 and 24,000 hertz."""
    base = tmp_path_factory.mktemp("voices")
    speakers = [
        {"id": "ana", "speaker": "ana", "name": "Ana", "gender": "female", "language": "en-US"},
        {"id": "ben", "speaker": "ben", "name": "Ben", "gender": "male"},
    ]
    made = tiny_voices.coqui_vits(base / "vits", settings={"speakers": speakers})
    vits = tiny_voices.folder(
        made.path, name="tiny-vits", engine="coqui", format="vits", settings=dict(made.manifest.settings),
        languages=("en-US", "de"),
    )  # fmt: skip
    kokoro = tiny_voices.sherpa_styled(base / "kokoro", format="kokoro")
    for folder in (vits, kokoro):
        registry.install(folder)
    yield
    for name in ("tiny-vits", "tiny-kokoro"):
        registry.uninstall(name)


def chunks(text, **options):
    return list(ml.tts.synthesize(text, SynthesisOptions(**options)))


def speak(text, **options):
    """All samples, shape (samples,), int16."""
    return np.concatenate([chunk.samples for chunk in chunks(text, **options)])


def test_speaks_a_chunk_for_each_sentence():
    made = chunks(TEXT, voice="tiny-vits:ana")
    assert [chunk.text for chunk in made] == ["Hello there.", "How are you, Mr. Smith?", "It is fine."]
    assert {chunk.sample_rate for chunk in made} == {22050}
    assert all(chunk.samples.any() for chunk in made)
    # Sentences are parted by a pause, the last one ends as it was spoken.
    pause = round(delivery.PAUSE_SECONDS * 22050)
    assert [bool(chunk.samples[-pause:].any()) for chunk in made] == [False, False, True]


def test_the_first_chunk_comes_before_the_rest_is_spoken():
    stream = ml.tts.synthesize("One sentence that is spoken. " * 3000, SynthesisOptions(voice="tiny-vits:ana"))
    assert next(stream).duration_seconds < 10


@pytest.mark.parametrize("voice", ["tiny-vits:ana", "tiny-kokoro:ben"])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_resamples_to_the_rate_asked_for(voice, rate):
    native = chunks(TEXT, voice=voice)
    made = chunks(TEXT, voice=voice, sample_rate=rate)
    assert {chunk.sample_rate for chunk in made} == {rate}
    seconds = sum(chunk.duration_seconds for chunk in native)
    assert sum(chunk.duration_seconds for chunk in made) == pytest.approx(seconds, abs=0.005)
    assert ml.tts.output_sample_rate(SynthesisOptions(voice=voice)) == native[0].sample_rate


def test_volume_is_a_gain_that_saturates():
    normal, half, loud = (speak("Hello.", voice="tiny-kokoro:ben", volume=v).astype(int) for v in (1.0, 0.5, 2.0))
    assert np.abs(half - normal / 2).max() <= 1
    assert np.array_equal(loud, np.clip(2 * normal, -32768, 32767))


def test_speed_is_the_engines_and_pitch_is_made_up_for():
    normal = speak(TEXT, voice="tiny-vits:ana")
    assert 0.4 < len(speak(TEXT, voice="tiny-vits:ana", speed=2.0)) / len(normal) < 0.7
    higher = speak(TEXT, voice="tiny-vits:ana", pitch=4.0)
    assert len(higher) == pytest.approx(len(normal), rel=0.05)
    assert not np.array_equal(higher[: len(normal)], normal[: len(higher)])


def test_transposes_and_stretches_finished_sound_as_asked():
    from ml.tts.engines import espeak

    spoken = np.concatenate([c.samples for c in ml.tts.synthesize(TEXT, SynthesisOptions(voice="espeak:en-us+f2"))])
    higher = espeak.reshape(spoken, 22050, tempo=1.0, semitones=4.0)
    assert 12 * np.log2(fundamental(higher) / fundamental(spoken)) == pytest.approx(4.0, abs=0.7)
    assert len(espeak.reshape(spoken, 22050, tempo=2.0, semitones=0.0)) == pytest.approx(len(spoken) / 2, rel=0.02)


def test_thirty_two_concurrent_requests_with_two_voices_are_not_mixed():
    voices = ("tiny-vits:ana", "tiny-kokoro:ben", "tiny-vits:ben", "espeak:en-us")
    jobs = [(f"Request {number} says {number * 7}. Goodbye!", voices[number % 4]) for number in range(32)]
    alone = [speak(text, voice=voice).tobytes() for text, voice in jobs]
    together_at = threading.Barrier(32)

    def request(job):
        together_at.wait(30)
        caller = Caller(job[1])
        made = ml.tts.synthesize(job[0], SynthesisOptions(voice=job[1]), caller=caller)
        return b"".join(chunk.samples.tobytes() for chunk in made)

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(request, jobs)) == alone
    assert len(set(alone)) == 32


def test_cancelling_stops_the_speech():
    cancel = threading.Event()
    stream = ml.tts.synthesize(TEXT, SynthesisOptions(voice="tiny-vits:ana"), cancel=cancel)
    next(stream)
    cancel.set()
    with pytest.raises(errors.Cancelled):
        next(stream)
    assert speak("Still here.", voice="tiny-vits:ana").any()


# ── Which voice ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "voice"),
    [
        ({"model": "tiny-vits"}, "tiny-vits:ana"),
        ({"model": "tiny-kokoro", "language": "en"}, "tiny-kokoro:ana"),
        ({"model": "espeak-ng"}, "espeak:en-us"),
        ({"model": "tiny-vits", "voice": "tiny-vits:ben"}, "tiny-vits:ben"),
        ({"voice": "tiny-vits:ben", "language": "en-GB"}, "tiny-vits:ben"),
        ({"voice": "tiny-vits:ben", "language": "de-AT"}, "tiny-vits:ben@de"),
        ({"voice": "tiny-vits:ben@de"}, "tiny-vits:ben@de"),
        ({"language": "fr"}, "espeak:fr-fr"),
    ],
)
def test_finds_the_voice_over_all_models(options, voice):
    assert ml.tts.resolve(SynthesisOptions(**options)).id == voice


@pytest.mark.parametrize(
    ("options", "error", "param"),
    [
        ({"model": "gone"}, errors.UnknownModel, "model"),
        ({"voice": "tiny-vits:eve"}, errors.UnknownVoice, "voice"),
        ({"voice": "tiny-vits:ana+f2"}, errors.UnknownVoice, "voice"),
        ({"voice": "tiny-vits:ana", "model": "tiny-kokoro"}, errors.UnknownVoice, "voice"),
        ({"voice": "tiny-vits:ana", "language": "de"}, errors.LanguageNotSupported, "language"),
        ({"model": "tiny-kokoro", "language": "fr"}, errors.LanguageNotSupported, "language"),
        ({"voice": "tiny-vits:ana", "speed": 5.0}, errors.InvalidRequest, "speed"),
    ],
)
def test_refuses_options_by_name(options, error, param):
    with pytest.raises(error) as refused:
        ml.tts.synthesize("Hello.", SynthesisOptions(**options))
    assert refused.value.param == param


def test_lists_installed_voices_with_the_embedded_ones():
    voices = {voice.id: voice for voice in ml.tts.voices()}
    assert voices["tiny-vits:ben@de"].language == "de"
    assert voices["tiny-vits:ana"].gender == "female"
    assert voices["tiny-vits:ana"].engine == "coqui"
    assert "espeak:en-us" in voices
    assert all(ml.tts.resolve(SynthesisOptions(voice=voice)) == listed for voice, listed in voices.items())


def test_a_text_without_sounds_is_an_error_at_its_end():
    with pytest.raises(errors.InvalidRequest, match="no sounds"):
        chunks("ǂ ǂ", voice="tiny-vits:ana")


# ── SSML ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def ssml(body, voice="tiny-vits:ana"):
    return chunks(f"<speak>{body}</speak>", voice=voice, ssml=True)


def test_ssml_changes_voice_rate_and_volume_within_a_text():
    plain = ssml("One. Two.")
    assert len(ssml("<prosody rate='50%'>One. Two.</prosody>")[0].samples) > 1.6 * len(plain[0].samples)
    soft = ssml("<prosody volume='50%'>One.</prosody>")[0].samples
    assert np.abs(soft.astype(int)).max() == pytest.approx(np.abs(plain[0].samples.astype(int)).max() / 2, rel=0.05)
    ben = ssml("<voice name='tiny-vits:ben'>One. Two.</voice>")
    assert not np.array_equal(ben[0].samples, plain[0].samples)


def test_ssml_mixes_engines_of_different_rates_at_one_rate():
    made = ssml("One.<break time='500ms'/><voice name='tiny-kokoro:ana'>Two.</voice><lang xml:lang='fr'>Trois.</lang>")
    assert {chunk.sample_rate for chunk in made} == {22050}
    assert [chunk.text for chunk in made if chunk.text] == ["One.", "Two.", "Trois."]
    two = speak("Two.", voice="tiny-kokoro:ana")
    spoken = next(chunk for chunk in made if chunk.text == "Two.")
    assert spoken.duration_seconds == pytest.approx(len(two) / 24000, abs=0.25)


def test_ssml_keeps_the_speaker_where_he_speaks_the_language_and_finds_the_gender():
    base = {"voice": "tiny-vits:ben"}
    german = ssml("<lang xml:lang='de'>Hallo.</lang>", **base)
    assert np.array_equal(german[0].samples, speak("Hallo.", voice="tiny-vits:ben@de"))
    female = ssml("<voice gender='female'>Hello.</voice>", **base)
    assert np.array_equal(female[0].samples, speak("Hello.", voice="tiny-vits:ana"))


@pytest.mark.parametrize(
    "body",
    [
        "<phoneme alphabet='ipa' ph='həˈloʊ'/>",
        "<voice gender='neutral'>Hello.</voice>",
    ],
)
def test_refuses_beforehand_what_the_voice_cannot_do(body):
    with pytest.raises(errors.InvalidRequest) as refused:
        ml.tts.synthesize(f"<speak>{body}</speak>", SynthesisOptions(voice="tiny-vits:ana", ssml=True))
    assert refused.value.param == "text"


def test_say_as_is_spelt_out_in_the_one_place_of_normalisation():
    voice = ml.tts.resolve(SynthesisOptions(voice="tiny-vits:ana"))
    (run,) = delivery.normalised(Utterance((Run("A-1", Style(voice.id, say_as="characters")),)), voice).runs
    assert run.said.split() == ["A,", "one"]
    spelt, word = (
        len(part[0].samples) for part in map(ssml, ("<say-as interpret-as='characters'>cat</say-as>", "cat"))
    )
    assert spelt > word


def test_removing_a_model_ends_its_voices_and_not_the_server(tmp_path):
    registry.install(tiny_voices.sherpa_styled(tmp_path / "model", format="kitten", name="passing"))
    stream = ml.tts.synthesize(TEXT, SynthesisOptions(voice="passing:ana"))
    next(stream)
    registry.uninstall("passing")
    with pytest.raises(errors.InvalidRequest):
        list(itertools.islice(stream, 1))
    with pytest.raises(errors.UnknownVoice):
        chunks("Hello.", voice="passing:ana")
    assert speak("Hello.", voice="tiny-kokoro:ana").any()
