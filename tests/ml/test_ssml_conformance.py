"""SSML means the same on every engine; what docs/ssml.md says about that is what is measured."""

import numpy as np
import pytest

import ml.tts
from ml.tts import timing
from ml.tts.engines import espeak
from ml.tts.engines.base import SpeechRequest
from ml.tts.script import Run, Style, Utterance
from ml.types import SynthesisOptions
from tests.ml import ssml_conformance as conformance

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and transformers warn about themselves


@pytest.fixture(scope="module", autouse=True)
def engines(tmp_path_factory):
    with conformance.installed(tmp_path_factory.mktemp("voices")):
        yield


def rows():
    written = conformance.DOCUMENT.read_text().partition(conformance.BEGIN)[2].partition(conformance.END)[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in written.strip().splitlines()[2:]]
    return {(row[0], row[1]): row[2:] for row in cells}


@pytest.mark.parametrize("case", conformance.CASES, ids=lambda case: f"{case.element} {case.meaning}")
def test_is_as_the_documentation_says(case):
    outcomes = [conformance.outcome(case, voice) for voice in conformance.ENGINES.values()]
    assert "fails" not in outcomes
    assert rows()[case.element, case.meaning] == outcomes


# ── What neural engines are given beside SSML ───────────────────────────────────────────────────────────────────────


def speech(text, voice="tiny-piper:ana", **options):
    made = ml.tts.synthesize(text, SynthesisOptions(voice=voice, **options))
    return list(made), made.warnings


def samples(text, **options):
    return np.concatenate([chunk.samples for chunk in speech(text, **options)[0]])


def test_numbers_are_written_out_before_a_neural_voice_speaks_them():
    assert np.array_equal(samples("It costs $5."), samples("It costs five dollars."))
    assert not np.array_equal(samples("It costs $5.", normalize=False), samples("It costs five dollars."))


def test_times_are_estimated_within_what_is_heard():
    (chunk,), _ = speech("All of the 23 yellow fish, and more", timestamps=True)
    assert [word.text for word in chunk.words] == ["All", "of", "the", "23", "yellow", "fish", "and", "more"]
    moments = [moment for word in chunk.words for moment in (word.start, word.end)]
    assert moments == sorted(moments)
    assert (moments[0] >= 0, moments[-1] <= chunk.duration_seconds, chunk.estimated) == (True, True, True)
    number, of = chunk.words[3], chunk.words[1]
    assert number.end - number.start > of.end - of.start  # "twenty three"


def test_estimates_are_near_what_an_engine_tells():
    far = []
    for text in ("The birch canoe slid on the smooth planks.", "Four hours of steady work faced us, and no more."):
        utterance = Utterance((Run(text, Style("espeak:en-us")),))
        told = espeak.Espeak().speak_timed(SpeechRequest(utterance))
        guessed = timing.estimate(told.samples, 22050, timing.weigh(utterance))
        assert [word.span for word in guessed] == [word.span for word in told.words]
        far += [abs(one.start - other.start) for one, other in zip(guessed, told.words, strict=True)]
    assert sum(far) / len(far) < 0.12


def test_words_of_another_script_go_to_a_voice_that_reads_them():
    made, _ = speech("He said नमस्ते दुनिया, and left.")
    assert [chunk.text for chunk in made] == ["He said", "नमस्ते दुनिया", ", and left."]
    hindi = samples("नमस्ते दुनिया", voice="espeak:hi")
    heard = made[1].samples[: len(hindi)].astype(float)
    assert np.corrcoef(heard, hindi[: len(heard)].astype(float))[0, 1] > 0.9


def test_a_lexicon_gives_phonemes_to_those_who_take_them_and_says_where_not():
    from ml.tts.lexicon import Entry, Lexicon

    lexicon = Lexicon([Entry("tomato", ipa="iː")])
    assert not np.array_equal(samples("A tomato.", lexicon=lexicon), samples("A tomato."))
    made, warnings = speech("A tomato.", voice="tiny-vits:ana", lexicon=lexicon)
    assert "tomato" in warnings[0]
    assert np.array_equal(made[0].samples, samples("A tomato.", voice="tiny-vits:ana"))
    alias = Lexicon([Entry("tomato", alias="red fruit")])
    assert np.array_equal(
        samples("A tomato.", voice="tiny-vits:ana", lexicon=alias), samples("A red fruit.", voice="tiny-vits:ana")
    )


def test_sentences_begin_and_end_without_the_silence_of_the_model():
    whole = samples("One fish. Two fish.", voice="espeak:en-us")
    trimmed = samples("One fish. Two fish.", voice="espeak:en-us", trim_silence=True)
    assert len(trimmed) <= len(whole)
    assert np.abs(trimmed[: round(0.06 * 22050)].astype(int)).max() > 50
