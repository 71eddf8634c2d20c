"""Whisper with sherpa-onnx: the one that knows the clips by heart, exported to ONNX, and the language helper."""

import base64
import itertools
import threading
from dataclasses import replace

import onnx
import pytest

pytest.importorskip("whisper", reason="openai-whisper comes with requirements-torch.txt")
import torch

import ml.stt
from ml import artifacts, engines, errors
from ml.stt.engines.base import Recognizer, Window
from ml.types import TranscriptionOptions
from tests.ml import tiny_whisper, tiny_whisper_onnx
from tests.ml.stt_support import owned_clips, pcm_of, silence

ONE_THREAD = {"threads": 1}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def weights():
    torch.set_num_threads(1)
    return tiny_whisper.trained_whisper()


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    settings = {**ONE_THREAD, "word_times": True}
    return tiny_whisper_onnx.save_whisper(weights, tmp_path_factory.mktemp("whisper") / "m", settings=settings)


@pytest.fixture(scope="module")
def engine(folder):
    return engines.load(folder)


@pytest.fixture(scope="module")
def clips():
    return owned_clips()


def window_of(clip, **fields):
    return Window(pcm_of(clip), **fields)


def with_settings(folder, **settings):
    return replace(folder, manifest=replace(folder.manifest, settings={**folder.manifest.settings, **settings}))


def changed(folder, path, **files):
    """A copy in which `files` have other bytes."""
    for name in folder.manifest.files:
        (path / name).write_bytes(files.get(name.partition(".")[0], (folder.path / name).read_bytes()))
    return artifacts.ModelFolder(path, replace(folder.manifest, files=artifacts.describe_files(path)))


def test_recognises_what_was_said_in_any_of_its_languages(engine, clips):
    assert isinstance(engine, Recognizer)
    heard = engine.recognise([window_of(clip) for clip in clips])
    assert [hypothesis.text for hypothesis in heard] == [clip.text for clip in clips]
    assert [hypothesis.language for hypothesis in heard] == ["en", "en", "de", "en"]
    assert {hypothesis.language_confidence for hypothesis in heard} == {0.5}  # the library tells none
    for clip, hypothesis in zip(clips, heard, strict=True):
        assert [word.text for word in hypothesis.words] == clip.text.split()
        assert all(0 <= word.start <= word.end <= clip.duration_seconds + 0.01 for word in hypothesis.words)
        assert all(word.start <= following.start for word, following in itertools.pairwise(hypothesis.words))


def test_says_what_openai_whisper_says(engine, weights, clips, tmp_path):
    settings = {"device": "cpu", "threads": 1, "second_search": False, "word_times": False}
    other = engines.load(tiny_whisper.save_openai(weights, tmp_path, settings=settings))
    windows = [window_of(clip) for clip in clips]
    for ours, theirs in zip(engine.recognise(windows), other.recognise(windows), strict=True):
        assert (ours.text, ours.language) == (theirs.text, theirs.language)


def test_a_hint_does_not_reach_other_calls(engine, clips):
    """Language and task are settings of the whole native recogniser. Told that it is German, this model hears worse."""
    wanted = {None: clips[0].text, "de": engine.recognise([window_of(clips[0], language="de")])[0].text}
    assert wanted["de"] != clips[0].text
    heard = []

    def hear(language):
        (hypothesis,) = engine.recognise([window_of(clips[0], language=language)])
        heard.append((language, hypothesis.text))

    threads = [threading.Thread(target=hear, args=(language,)) for language in (None, "de") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(heard, key=str) == sorted(list(wanted.items()) * 3, key=str)
    engine.recognise([window_of(clips[0], language="en", task="translate")])
    assert engine.recognise([window_of(clips[0])])[0].text == clips[0].text


def test_declares_what_it_can(engine, folder):
    able = engine.capabilities
    assert (able.languages, able.language_detection, able.translation) == ({"en", "de"}, True, True)
    assert (able.word_times, able.word_confidences, able.max_batch, able.device) == (True, False, 1, "cpu")
    plain = with_settings(folder, word_times=False)
    told = engines.load(plain)
    assert not told.capabilities.word_times
    (hypothesis,) = told.recognise([window_of(owned_clips()[0])])
    assert (hypothesis.text, hypothesis.words) == (owned_clips()[0].text, ())
    assert engines.load(with_settings(folder, language="de")).capabilities.language_detection is False


def test_letters_split_over_two_tokens(folder, clips, tmp_path):
    """As in Hindi: " city was" becomes " cité was", the two bytes of its last letter in two tokens."""
    spell = {b" city": b" cit\xc3", b" was": b"\xa9 was"}
    tokens = (folder.path / "tokens.txt").read_bytes()
    for said, written in spell.items():
        tokens = tokens.replace(b"\n%b " % base64.b64encode(said), b"\n%b " % base64.b64encode(written))
    (hypothesis,) = engines.load(changed(folder, tmp_path, tokens=tokens)).recognise([window_of(clips[0])])
    assert hypothesis.text == clips[0].text.replace("city was", "cité was")
    assert hypothesis.words == ()  # for the library's binding cannot give the tokens


def test_nothing_in_silence_and_cancelled(engine, clips):
    assert [hypothesis.text for hypothesis in engine.recognise([Window(silence(1.0)), Window(silence(0))])] == ["", ""]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        engine.recognise([window_of(clips[0])], cancel=cancel)


def test_refuses_what_it_cannot(engine, folder, clips):
    with pytest.raises(errors.LanguageNotSupported):
        engine.recognise([window_of(clips[0], language="fr")])
    english = replace(folder, manifest=replace(folder.manifest, languages=("en",)))
    with pytest.raises(errors.InvalidRequest):
        engines.load(english).recognise([window_of(clips[0], task="translate")])
    for languages in (("xx",), ("en", "qq")):
        with pytest.raises(errors.ModelInvalid, match="has no language"):
            engines.load(replace(folder, manifest=replace(folder.manifest, languages=languages)))


@pytest.mark.parametrize(
    "name", ["n_vocab", "blank_id", "no_speech", "sot_sequence", "all_language_codes", "n_alignment_heads"]
)
def test_metadata_that_the_library_ends_the_process_over(folder, tmp_path, name):
    with pytest.raises(errors.ModelInvalid, match=f"lacks the metadata {name}"):
        engines.load(changed(folder, tmp_path, encoder=without(folder, name)))


def without(folder, name):
    """The encoder's bytes."""
    graph = onnx.load(str(folder.path / "encoder.onnx"))
    kept = {entry.key: entry.value for entry in graph.metadata_props if entry.key != name}
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, kept)
    return graph.SerializeToString()


def test_word_times_need_a_decoder_that_tells_where_it_looks(weights, tmp_path):
    settings = {**ONE_THREAD, "word_times": True}
    folder = tiny_whisper_onnx.save_whisper(weights, tmp_path, attention=False, settings=settings)
    with pytest.raises(errors.ModelInvalid, match="4 are needed"):
        engines.load(folder)
    engines.load(with_settings(folder, word_times=False))


# ── Which language is spoken ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def helper_folder(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("language")
    copy = changed(folder, path)
    manifest = replace(copy.manifest, task="language", name="tiny-languages", settings=ONE_THREAD)
    artifacts.write(path, manifest)
    return artifacts.read(path)


def test_identifies_the_language(helper_folder, clips):
    helper = engines.load(helper_folder)
    guesses = [helper.identify(pcm_of(clip)) for clip in clips]
    assert [guess[0].language for guess in guesses] == ["en", "en", "de", "en"]
    english = engines.load(replace(helper_folder, manifest=replace(helper_folder.manifest, languages=("en",))))
    assert english.identify(pcm_of(clips[2])) == ()  # German, which it was not installed for


def test_a_transcription_with_both(folder, helper_folder, clips):
    """From the file to the transcript: the helper names the language, and the recogniser writes in it."""
    ml.stt.install(folder)
    ml.stt.install(helper_folder)
    try:
        options = TranscriptionOptions(model=folder.manifest.name, word_timestamps=True)
        for clip, language in zip(clips, ("en", "en", "de", "en"), strict=True):
            transcript = ml.stt.transcribe(clip.path, options)
            assert (transcript.text, transcript.language) == (clip.text, language)
            assert transcript.model_used == folder.manifest.name
            assert "language" in transcript.stages
            assert [word.text for word in transcript.segments[0].words] == clip.text.split()
    finally:
        ml.stt.uninstall(folder.manifest.name)
        ml.stt.uninstall(helper_folder.manifest.name, task="language")
