"""Whisper's n-best, on both libraries, and an n-gram model that chooses among them."""

from dataclasses import replace

import pytest

pytest.importorskip("whisper", reason="openai-whisper comes with requirements-torch.txt")
import torch

import ml.stt
from ml import engines
from ml.stt.engines.base import Window
from ml.types import TranscriptionOptions
from tests.ml import tiny_models, tiny_whisper
from tests.ml.stt_support import owned_clips, pcm_of, silence

SAVE = {"ctranslate2": tiny_whisper.save_ctranslate2, "openai": tiny_whisper.save_openai}
CPU = {"device": "cpu", "compute_type": "float32", "threads": 1, "max_batch": 4}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module", params=SAVE)
def folder(request, tmp_path_factory):
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp(request.param)
    return SAVE[request.param](tiny_whisper.trained_whisper(), path, name=f"tiny-{request.param}", settings=CPU)


@pytest.fixture(scope="module")
def engine(folder):
    engine = engines.load(folder)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def heard(engine):
    """The first clip with what else it may have said."""
    (hypothesis,) = engine.recognise([Window(pcm_of(owned_clips()[0]), language="en", alternatives=5)])
    return hypothesis


def test_alternatives_have_scores(engine, heard):
    assert engine.capabilities.alternatives
    assert 2 <= len(heard.alternatives) <= 6
    scores = [other.score for other in heard.alternatives]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) < 0  # natural logarithms
    assert len({other.text for other in heard.alternatives}) == len(scores)
    assert (heard.text, heard.score) in {(other.text, other.score) for other in heard.alternatives}


def test_asking_for_them_changes_no_text(engine, heard):
    (plain,) = engine.recognise([Window(pcm_of(owned_clips()[0]), language="en")])
    assert plain.alternatives == ()
    assert replace(heard, alternatives=()) == plain


def test_batch_equals_single(engine):
    """Windows that want several, one, and none."""
    clips = owned_clips()[:3]
    windows = [Window(pcm_of(clip), alternatives=count) for clip, count in zip(clips, (5, 0, 1), strict=True)]
    windows.append(Window(silence(1.0), alternatives=5))
    for window, together in zip(windows, engine.recognise(windows), strict=True):
        (alone,) = engine.recognise([window])
        assert (together.text, len(together.alternatives)) == (alone.text, len(alone.alternatives))
        for one, other in zip(together.alternatives, alone.alternatives, strict=True):
            assert one.text == other.text
            assert one.score == pytest.approx(other.score, abs=0.02)


# ── The stage ───────────────────────────────────────────────────────────────────────────────────────────────────────


def save_lm(path, text, **settings):
    """A unigram model that likes the words of a text far better than others."""
    path.mkdir()
    words = sorted(set(text.lower().split()))
    lines = ["\\data\\", f"ngram 1={len(words) + 2}", "", "\\1-grams:", "-99 <s>", "-9 <unk>"]
    lines += [*(f"-0.5 {word}" for word in words), "", "\\end\\", ""]
    (path / "tiny.arpa").write_text("\n".join(lines), "utf-8")
    return tiny_models.write_manifest(path, task="lm", engine="arpa", format="arpa", name="tiny-lm", settings=settings)


@pytest.fixture
def transcribe(folder):
    """With the Whisper installed, and a language model that is given by its folder."""
    clip = owned_clips()[0].path
    ml.stt.install(folder)

    def run(lm=None, **options):
        if lm is not None:
            ml.stt.install(lm)
        options = TranscriptionOptions(model=folder.manifest.name, language_hint="en", word_timestamps=True, **options)
        try:
            return ml.stt.transcribe(clip, options)
        finally:
            if lm is not None:
                ml.stt.uninstall("tiny-lm", task="lm")

    yield run
    ml.stt.uninstall(folder.manifest.name)


def other_words(heard):
    """What else was heard, in as many words, of which one at least is another."""
    words = heard.text.split()
    return next(
        other.text for other in heard.alternatives if other.text != heard.text and set(other.text.split()) - set(words)
    )


def test_a_language_model_chooses(transcribe, heard, tmp_path):
    wanted = other_words(heard)
    plain = transcribe()
    assert (plain.text, "rescore" in plain.stages) == (heard.text, False)
    chosen = transcribe(save_lm(tmp_path / "strong", wanted, weight=5.0))
    assert (chosen.text, "rescore" in chosen.stages) == (wanted, True)
    words = chosen.segments[0].words
    assert [word.text for word in words] == wanted.split()
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_one_of_no_weight_changes_nothing(transcribe, heard, tmp_path):
    plain = transcribe()
    silent = transcribe(save_lm(tmp_path / "silent", other_words(heard), weight=0.0))
    assert "rescore" in silent.stages
    assert (silent.text, silent.segments, silent.confidence) == (plain.text, plain.segments, plain.confidence)


def test_the_stage_is_switched_as_any_other(transcribe, heard, tmp_path):
    off = transcribe(save_lm(tmp_path / "off", other_words(heard), weight=5.0), disable=("rescore",))
    assert (off.text, "rescore" in off.stages) == (heard.text, False)
