"""Around recognition: language, rescoring, confidence."""

from dataclasses import replace

import numpy as np
import pytest

import ml.stt
from ml import errors
from ml.artifacts import FileEntry, ModelFolder, ModelManifest
from ml.stt import language, registry
from ml.stt.confidence import calibrate, calibrate_segment, without_noise_words
from ml.stt.engines.base import EngineCapabilities, Hypothesis, Window
from ml.stt.engines.pocketsphinx import PocketSphinx
from ml.stt.helpers import arpa
from ml.stt.helpers import base as helpers
from ml.stt.helpers.arpa import ArpaModel
from ml.stt.text.rescoring import rescore
from ml.types import Segment, TranscriptionOptions, Word
from tests.ml.stt_support import normalise, owned_clips, pcm_of

DEFAULTS = TranscriptionOptions()
ENGLISH = EngineCapabilities(languages=frozenset({"en"}))

ARPA = r"""
\data\
ngram 1=5
ngram 2=3

\1-grams:
-0.5 <unk>
-99 <s> -0.3
-1.0 </s>
-0.7 whether -0.2
-1.5 weather -0.1

\2-grams:
-0.1 <s> whether
-2.0 <s> weather
-0.4 whether </s>

\end\
"""


@pytest.fixture(scope="module")
def heard():
    """The first clip's hypothesis with its n-best, from the real decoder."""
    engine = PocketSphinx(processes=1)
    try:
        (hypothesis,) = engine.recognise([Window(pcm_of(owned_clips()[0]), language="en", alternatives=20)])
    finally:
        engine.close()
    return hypothesis


# ── Language model ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_reads_arpa_with_back_off():
    model = ArpaModel(ARPA.splitlines())
    assert (len(model), model.order) == (8, 2)
    ln10 = np.log(10)
    assert model.log_probability(["whether"]) == pytest.approx((-0.1 - 0.4) * ln10)
    # "weather </s>" is not there: the back-off weight of "weather" and the probability of "</s>" alone.
    assert model.log_probability(["weather"]) == pytest.approx((-2.0 - 0.1 - 1.0) * ln10)
    assert model.log_probability(["Never"]) == pytest.approx((-0.3 - 0.5 - 1.0) * ln10)


def test_prunes_rare_ngrams():
    assert len(ArpaModel(ARPA.splitlines(), min_log10=-1.0)) == 7


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        ARPA.replace("\\end\\", ""),
        ARPA.replace("-0.7 whether", "x whether"),
        ARPA.replace("-0.1 <s>", "<s>"),
    ],
)
def test_refuses_what_is_not_arpa(text):
    with pytest.raises(errors.ModelInvalid):
        ArpaModel(text.splitlines())


def test_loads_a_model_folder(tmp_path):
    (tmp_path / "tiny.arpa").write_text(ARPA, "utf-8")
    manifest = ModelManifest(
        "lm", "ngram", "tiny", "1", "arpa", "arpa", ("en",), files={"tiny.arpa": FileEntry("0" * 64, len(ARPA))}
    )
    model = arpa.load(ModelFolder(tmp_path, manifest))
    assert len(model) == 8
    assert model.score([["weather"], []]) == pytest.approx(
        [0.5 * (model.log_probability(["weather"]) + 1.0), 0.5 * model.log_probability([])]
    )
    heavy = replace(manifest, settings={"weight": 2.0, "word_bonus": 0.0, "min_log10": -1.0})
    (score,) = arpa.load(ModelFolder(tmp_path, heavy)).score([["whether"]])
    assert score == pytest.approx(2.0 * model.log_probability(["whether"]))
    for settings in ({"weight": -1.0}, {"weights": 1.0}, {"word_bonus": float("nan")}):
        with pytest.raises(errors.ModelInvalid):
            arpa.load(ModelFolder(tmp_path, replace(manifest, settings=settings)))


def test_engine_gives_scored_alternatives(heard):
    assert 1 < len(heard.alternatives) <= 20
    scores = [alternative.score for alternative in heard.alternatives]
    assert all(np.isfinite(scores))
    assert len({alternative.text for alternative in heard.alternatives}) == len(heard.alternatives)
    assert heard.text in {alternative.text for alternative in heard.alternatives}


def prefers(text):
    """ARPA lines of a unigram model that likes these words far better than others."""
    words = sorted(set(text.split()))
    lines = [f"-0.5 {word}" for word in words]
    return ["\\data\\", f"ngram 1={len(words) + 2}", "", "\\1-grams:", "-99 <s>", "-9 <unk>", *lines, "", "\\end\\"]


def test_rescoring_takes_what_the_language_model_prefers(heard):
    other = next(
        a for a in heard.alternatives if len(a.text.split()) == len(heard.text.split()) and a.text != heard.text
    )
    helpers.register(helpers.HelperInfo("lm", "tiny", frozenset({"en"})), lambda: ArpaModel(prefers(other.text)))
    try:
        (best,) = rescore([heard], "en", DEFAULTS, ENGLISH)
    finally:
        helpers.unregister("lm", "tiny")
    assert best.text == other.text
    assert best.text == " ".join(word.text for word in best.words)
    edges = [edge for word in best.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (heard.words[0].start, heard.words[-1].end)


def test_rescoring_without_a_reason_changes_nothing(heard):
    (best,) = rescore([heard], "en", DEFAULTS, ENGLISH)
    assert best.text == heard.text


def test_hotwords_win_in_the_pipeline():
    path = owned_clips()[0].path
    plain = ml.stt.transcribe(path)
    assert "rescore" not in plain.stages
    favoured = ml.stt.transcribe(path, TranscriptionOptions(hotwords=("whether in the city",), word_timestamps=True))
    assert "rescore" in favoured.stages
    assert "whether in the city" in normalise(favoured.text)
    assert "whether in the city" not in normalise(plain.text)
    off = ml.stt.transcribe(path, TranscriptionOptions(hotwords=("whether in the city",), disable=("rescore",)))
    assert off.text == plain.text


# ── Language ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Hears:
    """An identification model that always hears the same."""

    def __init__(self, *guesses):
        self.guesses = [helpers.LanguageGuess(code, probability) for code, probability in guesses]

    def identify(self, samples):
        assert samples.dtype == np.int16
        assert 0 < len(samples) <= 30 * 16_000
        return self.guesses


@pytest.fixture
def hears():
    def install(*guesses):
        helpers.register(helpers.HelperInfo("language", "hears", frozenset()), lambda: Hears(*guesses))

    yield install
    helpers.unregister("language", "hears")


def test_without_hint_or_model_the_language_is_the_recognisers_own():
    assert not language.applies(DEFAULTS)
    resolution = registry.resolve(DEFAULTS)
    assert (resolution.language, resolution.language_confidence) == ("en-US", 0.0)


def test_a_model_tells_the_language_and_how_sure_it_is(hears):
    hears(("en", 0.83), ("de", 0.1))
    result = ml.stt.transcribe(owned_clips()[0].path)
    assert "language" in result.stages
    assert (result.language, result.language_confidence) == ("en-US", 0.83)
    hinted = ml.stt.transcribe(owned_clips()[0].path, TranscriptionOptions(language_hint="en-GB"))
    assert "language" not in hinted.stages
    assert (hinted.language, hinted.language_confidence) == ("en-GB", 1.0)


def test_a_language_that_nothing_recognises_is_no_error_and_no_pretence(hears):
    hears(("fi", 0.9), ("en", 0.06))
    resolution = language.identify([np.ones(16_000 * 40, np.int16)], registry.resolve(DEFAULTS), DEFAULTS)
    assert (resolution.language, resolution.language_confidence) == ("en-US", 0.06)


# ── Confidence ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_calibration_is_monotone_and_keeps_the_range():
    points = ((0.0, 0.1), (0.5, 0.7), (1.0, 0.95))
    values = [calibrate(raw, points) for raw in np.linspace(0, 1, 50)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0.1, 0.95)
    assert calibrate(0.3, ()) == 0.3
    segment = Segment(0, 3, "a b", 0.5, (Word("a", 0, 1, 0.5), Word("b", 1, 3, 1.0)))
    calibrated = calibrate_segment(segment, EngineCapabilities(languages=frozenset(), confidence_map=points))
    assert [word.confidence for word in calibrated.words] == [0.7, 0.95]
    assert calibrated.confidence == pytest.approx((0.7 + 2 * 0.95) / 3, abs=1e-4)


def test_words_that_noise_made_are_left_out():
    able = EngineCapabilities(languages=frozenset(), noise_word_confidence=0.15)
    hypothesis = Hypothesis("a b", (Word("a", 0, 1, 0.1), Word("b", 1, 2, 0.6)), 0.35)
    kept = without_noise_words(hypothesis, able)
    assert (kept.text, kept.words, kept.confidence) == ("b", hypothesis.words[1:], 0.6)
    assert without_noise_words(Hypothesis("a", hypothesis.words[:1], 0.1), able).text == ""
