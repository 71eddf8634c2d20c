"""PocketSphinx with models other than the wheel's: made here of its own files, grammars and small dictionaries."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ml import engines, errors
from ml.stt.engines.base import Window
from ml.stt.engines.pocketsphinx import Decoder
from ml.stt.engines.pocketsphinx_live import LIVE_SEARCH
from tests.ml.stt_support import owned_clips, pcm_of

DIGITS = "one two three four five six seven eight nine ten"
GRAMMAR = f"#JSGF V1.0;\ngrammar digits;\npublic <digits> = ({DIGITS.replace(' ', ' | ')})+;\n"
NAME = {"engine": "pocketsphinx", "format": "sphinx", "name": "sphinx"}


def wheel():
    import pocketsphinx

    return Path(pocketsphinx.get_model_path()) / "en-us"


def dictionary_of(words):
    kept = [line for line in (wheel() / "cmudict-en-us.dict").read_text().splitlines() if line.split("(")[0].split()]
    return "\n".join(line for line in kept if line.split()[0].split("(")[0] in words) + "\n"


def write_manifest(path, **fields):
    from tests.ml.tiny_models import write_manifest

    pytest.importorskip("torch")
    return write_manifest(path, **{**NAME, **fields})


@pytest.fixture
def digits():
    return next(clip for clip in owned_clips() if clip.text == DIGITS)


def heard_by(folder, clip):
    engine = engines.load(folder)
    try:
        (hypothesis,) = engine.recognise([Window(pcm_of(clip), language=min(engine.capabilities.languages))])
        return hypothesis
    finally:
        engine.close()


def test_grammar(tmp_path, digits):
    """Only what it allows can be heard, and so all ten digits are."""
    (tmp_path / "digits.gram").write_text(GRAMMAR)
    (tmp_path / "digits.dict").write_text(dictionary_of(DIGITS.split()))
    hypothesis = heard_by(write_manifest(tmp_path), digits)
    assert hypothesis.text == DIGITS
    assert [word.text for word in hypothesis.words] == DIGITS.split()


def test_decoders_that_share_a_language_model_hear_alike():
    """A word that the model lacks stays unknown to those who share it."""
    first = Decoder(LIVE_SEARCH)
    second = Decoder(LIVE_SEARCH, language_model=first.language_model)
    clip = next(clip for clip in owned_clips() if "president" in clip.text)
    sound = pcm_of(clip).tobytes()
    assert second.decode(sound) == first.decode(sound)


def test_what_led_to_speech_is_not_searched_and_lets_it_begin_at_once():
    decoder = Decoder(LIVE_SEARCH)
    sound = pcm_of(next(clip for clip in owned_clips() if "president" in clip.text)).tobytes()
    start, before = 16_000, 12_800  # bytes: the first word begins at 0.5 s
    piece = sound[start : start + 11_200]  # 0.35 s, shorter than the head
    assert decoder.hear(piece) == []
    decoder.end(0)
    (first, *_) = decoder.hear(piece, before=sound[start - before : start])
    assert first[1] < 0.2  # counted from where the utterance began
    decoder.end(0)
    assert decoder.hear(piece, before=None)  # nothing led to it, and nothing is waited for
    decoder.end(0)


def test_acoustic_model_and_language_model(tmp_path, digits):
    """A whole model in a folder: acoustics, dictionary, and an ARPA model of the digits in turn."""
    shutil.copytree(wheel() / "en-us", tmp_path / "acoustic")
    (tmp_path / "digits.dict").write_text(dictionary_of(DIGITS.split()))
    (tmp_path / "digits.lm").write_text(arpa(DIGITS.split()))
    folder = write_manifest(tmp_path, languages=("en-GB",), settings={"processes": 1, "language_weight": 8.0})
    assert heard_by(folder, digits).text == DIGITS


def arpa(words):
    every = ["<s>", "</s>", *words]
    share = -np.log10(len(every))
    unigrams = "".join(f"{share:.4f}\t{word}\t0.0\n" for word in every)
    pairs = list(zip(["<s>", *words], [*words, "</s>"], strict=True))
    bigrams = "".join(f"-0.05\t{one} {two}\n" for one, two in pairs)
    return (
        f"\\data\\\nngram 1={len(every)}\nngram 2={len(pairs)}\n\n"
        f"\\1-grams:\n{unigrams}\n\\2-grams:\n{bigrams}\n\\end\\\n"
    )


@pytest.mark.parametrize(
    ("files", "settings", "reason"),
    [
        ({"g.gram": "digits"}, {}, "no JSGF grammar"),
        ({"g.gram": "#JSGF V1.0;\ngrammar g;\nimport <com.other.*>;\npublic <a> = one;"}, {}, "may not import"),
        ({"g.gram": "#JSGF V1.0;\ngrammar g;\n<a> = one;"}, {}, "no public rule"),
        ({"g.gram": "#JSGF V1.0;\ngrammar g;\npublic <a> = (one"}, {}, "cannot be loaded"),
        ({"g.gram": ""}, {}, "missing or empty"),
        ({"g.gram": GRAMMAR, "a.lm": arpa(["one"])}, {}, "both a language model and a grammar"),
        ({"a.lm": "words"}, {}, "no ARPA"),
        ({"a.lm": "\\data\\\nngram 1=5\n\n\\1-grams:\nx y\n"}, {}, "cannot be loaded"),
        ({"a.bin": "words"}, {}, "cannot be loaded"),
        ({"a.dict": "one W AH N\ntwo\n"}, {}, "line 2: a word needs its phones"),
        ({"mdef": "x"}, {}, "has no file 'means'"),
        ({"mdef": "x", "means": "x", "variances": "x", "transition_matrices": "x"}, {}, "cannot be loaded"),
        ({"a.dict": "one W AH N\n", "b.dict": "one W AH N\n"}, {}, "which of"),
        ({"g.gram": GRAMMAR}, {"beam": 1}, "unknown setting 'beam'"),
        ({"g.gram": GRAMMAR}, {"grammar": "../g.gram"}, "has no file"),
    ],
)
def test_broken_folder_is_refused(tmp_path, files, settings, reason):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(errors.ModelInvalid, match=reason):
        engines.load(write_manifest(tmp_path, settings=settings))
