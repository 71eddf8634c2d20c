"""The optional grammars of nemo_text_processing, where requirements-nemo.txt is installed; without them, the rules."""

import os
import shutil
import subprocess
import sys

import pytest

from ml import errors, grammars
from ml.stt.text import itn
from ml.stt.text.itn import Rewrite
from ml.stt.text.itn_grammar import GrammarNormalizer, compare
from ml.tts import delivery
from ml.tts.script import Run, Style, Utterance
from ml.types import Voice, Word
from tests.ml.stt_support import ROOT, wait_for

needs_package = pytest.mark.skipif(not grammars.installed(), reason="needs requirements-nemo.txt")
BUILD_SECONDS = 600

ENGLISH = {
    "it weighs twenty three point five kilograms": "it weighs 23.5 kg",
    "Louis the fourteenth was king": "Louis the 14th was king",
    "we met at quarter past ten.": "we met at 10:15.",
    "it costs five hundred dollars, they say": "it costs $500, they say",
    "in nineteen eighty four i was born": "in 1984 i was born",
    "the weather is fine": "the weather is fine",
}
HINDI = {"तेईस किलोग्राम": "23 kg", "साढ़े तीन बजे मिलेंगे": "3:30 मिलेंगे", "आज मौसम अच्छा है": "आज मौसम अच्छा है"}


@pytest.fixture(autouse=True)
def off():
    yield
    if grammars.installed():
        grammars.configure(None)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Kept for the session: English takes some seconds, Hindi a minute."""
    return tmp_path_factory.mktemp("grammars")


def built(folder, direction, language):
    grammars.configure(folder)
    wait_for(lambda: grammars.ready(direction, language), BUILD_SECONDS)
    return grammars.ready(direction, language)


def test_nothing_is_imported_or_built_unless_it_is_wanted(tmp_path):
    assert grammars.ready("itn", "en") is None
    code = (
        "import sys; from ml.stt.text.itn import normalize; from ml.tts import delivery; from ml import grammars;"
        "print(normalize('twenty three apples', 'en'), grammars.ready('tn', 'en'));"
        "print([name for name in sys.modules if name.split('.')[0] in ('nemo_text_processing', 'pynini', 'pandas')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines() == ["23 apples None", "[]"]


@pytest.mark.skipif(grammars.installed(), reason="requirements-nemo.txt is installed")
def test_says_what_to_install(tmp_path):
    with pytest.raises(errors.EngineUnavailable, match=r"requirements-nemo\.txt"):
        grammars.configure(tmp_path)


@pytest.mark.parametrize(
    ("spoken", "written", "expected"),
    [
        ("paid five dollars now", "paid $5 now", [Rewrite(11, 13, "$5")]),
        ("may third twenty twenty four i paid", "may 3 2024i paid", [Rewrite(11, 15, "3 2024")]),
        ("one two", "one two", []),
        ("one two three four five six seven", "123-4567", []),
        ("so so", "so", []),
        ("twenty kilograms or ten pounds", "20 kg or 10 pounds", [Rewrite(10, 12, "20 kg"), Rewrite(13, 14, "10")]),
    ],
)
def test_what_became_of_which_words(spoken, written, expected):
    assert list(compare(10, spoken.split(), written.split())) == expected


def test_the_rules_stand_in_for_a_grammar_that_fails():
    class Fails:
        def write(self, texts):
            raise errors.EngineFailed("gone")

    words = [Word(text, at, at + 1.0, 0.5) for at, text in enumerate(("twenty", "three", "apples"))]
    normalizer = GrammarNormalizer(Fails(), itn.rules("en"))
    assert [word.text for word in itn.apply(words, normalizer.rewrites(words))] == ["23", "apples"]


def test_a_setting_without_the_package_stops_the_start():
    def check(value):
        environment = {**os.environ, "TEXT_GRAMMARS": value}
        command = [sys.executable, "manage.py", "check"]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)  # noqa: PLW1510

    wrong = check("guess")
    assert wrong.returncode != 0
    assert "TEXT_GRAMMARS must be one of rules, nemo" in wrong.stderr
    wanted = check("nemo")
    if not grammars.installed():
        assert wanted.returncode != 0
        assert "pip install -r requirements-nemo.txt" in wanted.stderr


@needs_package
def test_english(folder):
    built(folder, "itn", "en")
    assert {spoken: itn.normalize(spoken, "en") for spoken in ENGLISH} == ENGLISH
    words = [Word(text, at, at + 0.5, 0.8) for at, text in enumerate(["weighs", "twenty", "three", "kilograms."])]
    _, weight = itn.apply(words, itn.normalizer("en").rewrites(words))
    assert (weight.text, weight.start, weight.end) == ("23 kg.", 1.0, 3.5)


@needs_package
def test_what_was_built_is_read_again(folder, tmp_path):
    """In a second process at once; and what cannot be read is built anew."""
    grammar = built(folder, "itn", "en")
    (kept,) = [path for path in folder.iterdir() if path.name.startswith("itn-en-")]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    shutil.copytree(kept, tmp_path / kept.name)
    for file in (tmp_path / kept.name).iterdir():
        file.write_bytes(b"no grammar")
    other = built(tmp_path, "itn", "en")
    assert other is not grammar
    assert other.write(["twenty three kilograms"]) == ["23 kg"]


@needs_package
@pytest.mark.timeout(BUILD_SECONDS)
def test_hindi(folder):
    assert itn.normalize("तेईस किलोग्राम", "hi") == "23 किलोग्राम"  # by the rules, until the grammar is there
    built(folder, "itn", "hi")
    assert {spoken: itn.normalize(spoken, "hi") for spoken in HINDI} == HINDI


def spoken(text, voice):
    said = delivery.normalised(Utterance((Run(text, Style(voice.id)),)), voice)
    return "".join(run.said for run in said.runs)


@needs_package
@pytest.mark.timeout(BUILD_SECONDS)
def test_numbers_are_spoken_as_words(folder):
    voice = Voice("v", "V", "en-US", None, "sherpa", "m")
    written = " He paid $5.20 for 23 kg. "
    ours = " He paid five dollars and twenty cents for twenty three kilograms. "
    assert spoken(written, voice) == ours  # by the rules, until the grammar is there
    built(folder, "tn", "en")
    said = " He paid five dollars twenty cents for twenty three kilograms. "
    assert spoken(written, voice) == said
    assert spoken("Nothing to count.", voice) == "Nothing to count."
