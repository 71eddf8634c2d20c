"""Both Whisper engines on one set of weights, trained to know the four clips of `tests/audio` by heart."""

import ctypes
import json
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("whisper", reason="openai-whisper comes with requirements-torch.txt")
import torch

from ml import artifacts, engines, errors
from ml.stt.engines import whisper, whisper_ctranslate2
from ml.stt.engines.base import Recognizer, Window
from ml.stt.engines.whisper_backend import FRAMES, Prompt, Search
from tests.ml import tiny_whisper
from tests.ml.stt_support import owned_clips, pcm_of, silence

FORMATS = ("ctranslate2", "openai")
SAVE = {"ctranslate2": tiny_whisper.save_ctranslate2, "openai": tiny_whisper.save_openai}
CPU = {"device": "cpu", "compute_type": "float32", "threads": 1}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def weights():
    torch.set_num_threads(1)
    return tiny_whisper.trained_whisper()


@pytest.fixture(scope="module")
def folders(weights, tmp_path_factory):
    base = tmp_path_factory.mktemp("whisper")
    return {kind: SAVE[kind](weights, base / kind, settings=CPU) for kind in FORMATS}


@pytest.fixture(scope="module")
def recognizers(folders):
    loaded = {kind: engines.load(folder) for kind, folder in folders.items()}
    yield loaded
    for engine in loaded.values():
        engine.close()


@pytest.fixture(params=FORMATS)
def kind(request):
    return request.param


@pytest.fixture
def engine(recognizers, kind):
    return recognizers[kind]


@pytest.fixture(scope="module")
def clips():
    return owned_clips()


def window_of(clip, **fields):
    return Window(pcm_of(clip), **fields)


def with_settings(folder, **settings):
    manifest = replace(folder.manifest, settings={**folder.manifest.settings, **settings})
    return replace(folder, manifest=manifest)


def load_with(folder, **settings):
    return engines.load(with_settings(folder, **settings))


def same(a, b):
    """Equal to what float32 arithmetic in another batch shape leaves equal."""
    assert (a.text, a.language) == (b.text, b.language)
    assert a.confidence == pytest.approx(b.confidence, abs=0.002)
    assert [word.text for word in a.words] == [word.text for word in b.words]
    for one, other in zip(a.words, b.words, strict=True):
        assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.021)
        assert one.confidence == pytest.approx(other.confidence, abs=0.01)


def test_recognises_what_was_said(engine, clips):
    assert isinstance(engine, Recognizer)
    heard = engine.recognise([window_of(clip) for clip in clips])
    assert [hypothesis.text for hypothesis in heard] == [clip.text for clip in clips]
    assert all(hypothesis.confidence > 0.9 for hypothesis in heard)


def test_detects_the_language_of_each_window(engine, clips):
    heard = engine.recognise([window_of(clip) for clip in clips])
    assert [hypothesis.language for hypothesis in heard] == ["en", "en", "de", "en"]
    assert all(hypothesis.language_confidence > 0.9 for hypothesis in heard)
    (named,) = engine.recognise([window_of(clips[0], language="en")])
    assert (named.language, named.language_confidence) == ("en", None)


def test_batch_equals_single(engine, clips):
    """Languages, prompts, lengths and silence mixed in one call."""
    windows = [
        *(window_of(clip) for clip in clips),
        window_of(clips[0], hotwords=(tiny_whisper.HOTWORD,)),
        window_of(clips[3], language="en", prompt="they spoke of the company before"),
        Window(silence(2.0)),
        Window(pcm_of(clips[1])[:16_000]),
        Window((tiny_whisper.noise(3.0, 0.02, seed=4) * 32767).astype(np.int16)),
    ]
    together = engine.recognise(windows)
    assert len(together) == len(windows)
    for window, hypothesis in zip(windows, together, strict=True):
        same(hypothesis, engine.recognise([window])[0])


def test_engines_agree(recognizers, clips):
    windows = [window_of(clip) for clip in clips]
    for ours, theirs in zip(*(recognizers[kind].recognise(windows) for kind in FORMATS), strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("random", [False, True])
def test_encoders_and_greedy_tokens_agree(folders, recognizers, weights, tmp_path, clips, random):
    """Trained weights leave no doubt, random ones every doubt: both must give the same tokens."""
    backends = {kind: engine._backend for kind, engine in recognizers.items()}
    if random:
        model = tiny_whisper.random_whisper(tiny_whisper.tiny_dims(), seed=3)
        backends = {kind: engines.load(SAVE[kind](model, tmp_path / kind, settings=CPU))._backend for kind in FORMATS}
    mels = np.stack([mel_of(recognizers["openai"], clip) for clip in clips])
    encoded = {kind: backend.encode(mels) for kind, backend in backends.items()}
    ours, theirs = (np.asarray(encoded[kind]) for kind in FORMATS)
    assert ours.shape == (4, 1500, 64)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    prompts = [Prompt((), "en", "transcribe")] * 4
    for search in (Search(30), Search(30, no_repeat_ngram=3)):
        drafts = [backends[kind].search(encoded[kind], prompts, search) for kind in FORMATS]
        for (one,), (other,) in zip(*drafts, strict=True):
            assert one.tokens == other.tokens
            assert one.log_prob == pytest.approx(other.log_prob, abs=2e-3)
            assert one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-3)


def mel_of(engine, clip):
    return engine._features(whisper._Request(window_of(clip), 0, FRAMES, (), "en"))


def test_features_are_whispers_own(recognizers, clips):
    from whisper.audio import log_mel_spectrogram, pad_or_trim

    for clip in clips:
        audio = torch.from_numpy(pcm_of(clip).astype(np.float32) / 32768)
        expected = log_mel_spectrogram(pad_or_trim(audio)).numpy()
        np.testing.assert_allclose(mel_of(recognizers["ctranslate2"], clip), expected, atol=2e-4)


def test_word_times_are_inside_and_in_order(engine, clips):
    for clip, hypothesis in zip(clips, engine.recognise([window_of(clip) for clip in clips]), strict=True):
        assert [word.text for word in hypothesis.words] == clip.text.split()
        starts = [word.start for word in hypothesis.words]
        assert starts == sorted(starts)
        assert all(0 <= word.start <= word.end <= clip.duration_seconds + 0.01 for word in hypothesis.words)
        assert all(0 <= word.confidence <= 1 for word in hypothesis.words)


def test_hotwords_and_prompt_change_the_spelling(engine, clips):
    plain, favoured, prompted = engine.recognise(
        [
            window_of(clips[0], language="en"),
            window_of(clips[0], language="en", hotwords=(tiny_whisper.HOTWORD,)),
            window_of(clips[0], language="en", prompt=tiny_whisper.HOTWORD),
        ]
    )
    assert tiny_whisper.USUAL in plain.text
    assert tiny_whisper.HOTWORD in favoured.text
    assert tiny_whisper.HOTWORD in prompted.text


def test_endless_prompts_are_cut(engine, clips):
    long = "the people walked along the river and " * 200
    (hypothesis,) = engine.recognise([window_of(clips[0], language="en", prompt=long, hotwords=("x" * 5000,))])
    assert len(hypothesis.text) < 500


def test_nothing_in_nothing(engine):
    windows = [Window(silence(seconds)) for seconds in (0, 0.01, 0.5, 30)]
    windows.append(Window(np.ones(100, np.int16)))
    for hypothesis in engine.recognise(windows):
        assert (hypothesis.text, hypothesis.words, hypothesis.confidence) == ("", (), 0.0)


@pytest.mark.parametrize("format", FORMATS)
def test_untrained_weights_invent_no_words(tmp_path, clips, format):
    """What they say is a loop or a guess under every threshold; what remains is short and unsure."""
    model = tiny_whisper.random_whisper(tiny_whisper.tiny_dims(), seed=1)
    engine = engines.load(SAVE[format](model, tmp_path / "m", settings=CPU))
    for hypothesis in engine.recognise([window_of(clip, language="en") for clip in clips[:2]]):
        assert whisper.compression_ratio(hypothesis.text) <= 2.4
        assert hypothesis.confidence < 0.05


@pytest.mark.parametrize("sampled", [(), (0.4,)])
def test_unsure_search_is_repeated(folders, kind, clips, sampled):
    """A threshold that nothing reaches makes every search follow, and the best is kept."""
    engine = load_with(folders[kind], log_prob_threshold=0.0, temperatures=list(sampled))
    (hypothesis,) = engine.recognise([window_of(clips[1], language="en")])
    assert hypothesis.text == clips[1].text


def test_beam_says_the_same(folders, kind, clips):
    engine = load_with(folders[kind], beam_size=5)
    windows = [window_of(clip) for clip in clips]
    assert [hypothesis.text for hypothesis in engine.recognise(windows)] == [clip.text for clip in clips]


def test_fitted_windows(folders, kind, clips):
    """Five or ten seconds of encoder instead of thirty, for weights that were trained with them."""
    engine = load_with(folders[kind], fitted_windows=True)
    assert [engine._encoder_frames(16_000 * seconds) for seconds in (1, 5, 6, 29)] == [500, 500, 1000, 3000]
    windows = [window_of(clip) for clip in clips]
    heard = engine.recognise(windows)
    assert [hypothesis.text for hypothesis in heard] == [clip.text for clip in clips]
    for window, hypothesis in zip(windows, heard, strict=True):
        same(hypothesis, engine.recognise([window])[0])


def test_int8_says_the_same(folders, clips):
    engine = load_with(folders["ctranslate2"], compute_type="default")
    windows = [window_of(clip) for clip in clips]
    heard = engine.recognise(windows)
    assert [hypothesis.text for hypothesis in heard] == [clip.text for clip in clips]
    for window, hypothesis in zip(windows, heard, strict=True):
        same(hypothesis, engine.recognise([window])[0])


def test_without_word_times(folders, kind, clips):
    engine = load_with(folders[kind], word_times=False)
    assert not engine.capabilities.word_times
    (hypothesis,) = engine.recognise([window_of(clips[0])])
    assert (hypothesis.text, hypothesis.words) == (clips[0].text, ())


def test_threads_share_an_engine(engine, clips):
    expected = engine.recognise([window_of(clip) for clip in clips])
    heard = {}
    threads = [
        threading.Thread(target=lambda i=i: heard.__setitem__(i, engine.recognise([window_of(clips[i])])[0]))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for place, hypothesis in enumerate(expected):
        same(heard[place], hypothesis)


def test_cancelled_before_it_computes(engine, clips):
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.Cancelled):
        engine.recognise([window_of(clips[0])], cancel=cancel)


def test_refuses_what_it_cannot(engine, clips):
    for window, expected in (
        (window_of(clips[0], language="fr"), errors.LanguageNotSupported),
        (Window(silence(31)), errors.InvalidRequest),
    ):
        with pytest.raises(expected):
            engine.recognise([window])


@pytest.mark.parametrize("format", FORMATS)
def test_english_only(tmp_path, clips, format):
    model = tiny_whisper.random_whisper(tiny_whisper.tiny_dims(tiny_whisper.ENGLISH_VOCABULARY))
    folder = SAVE[format](model, tmp_path / "m", languages=("en",), settings=CPU)
    engine = engines.load(folder)
    able = engine.capabilities
    assert (able.translation, able.language_detection, able.languages) == (False, False, {"en"})
    (hypothesis,) = engine.recognise([window_of(clips[0])])
    assert hypothesis.language == "en"
    with pytest.raises(errors.InvalidRequest):
        engine.recognise([window_of(clips[0], task="translate")])
    claimed = replace(folder, manifest=replace(folder.manifest, languages=("en", "de")))
    with pytest.raises(errors.ModelInvalid, match="English-only"):
        engines.load(claimed)


def small_vocabulary(path, **fields):
    """A CTranslate2 folder of a multilingual model with a vocabulary of its own, as training from nothing writes."""
    tokenizer = tiny_whisper.hf_tokenizer(words=False)
    dims = tiny_whisper.tiny_dims(tokenizer.get_vocab_size())
    return tiny_whisper.save_ctranslate2(
        tiny_whisper.random_whisper(dims), path, tokenizer=tokenizer, settings=CPU, **fields
    )


def test_a_vocabulary_of_its_own_does_not_make_a_model_english_only(tmp_path, clips):
    """The library tells by the number of tokens alone, and would leave language and task out of the prompts."""
    engine = engines.load(small_vocabulary(tmp_path / "m", languages=("de",)))
    backend = engine._backend
    assert backend._model.is_multilingual is False
    prompt = backend._prompt_tokens(Prompt((), "de", "transcribe"))
    names = ("<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>")
    assert [backend._tokenizer.id_to_token(token) for token in prompt] == list(names)
    assert engine.recognise([window_of(clips[0])])[0].language == "de"
    with pytest.raises(errors.ModelInvalid, match="cannot tell the languages"):
        engines.load(small_vocabulary(tmp_path / "two", languages=("en", "de")))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"beam": 5}, "unknown setting 'beam'"),
        ({"beam_size": "5"}, "must be of type int"),
        ({"beam_size": True}, "must be of type int"),
        ({"beam_size": 0}, "between 1 and 20"),
        ({"temperatures": [0.2, 3]}, "between 0 and 1"),
        ({"device": "tpu"}, "device"),
        ({"compute_type": "int3"}, "compute_type"),
        ({"window_step_seconds": float("nan")}, "between 1 and 30"),
    ],
)
def test_refuses_settings(folders, kind, settings, reason):
    with pytest.raises(errors.ModelInvalid, match=reason):
        load_with(folders[kind], **settings)


def test_capabilities_load_nothing(folders, kind):
    tell = __import__(engines.loader(folders[kind]).__module__, fromlist=["capabilities"]).capabilities
    told = tell(folders[kind].manifest)
    assert told.languages == {"en", "de"}
    assert told.translation
    assert told.max_batch == (4 if folders[kind].manifest.settings.get("fitted_windows") else 1)
    assert told.device == "cpu"


def broken(folder, path, change):
    """A copy with `change(path)` made to it, and a manifest that fits the files."""
    path.mkdir()
    for name in folder.manifest.files:
        (path / name).write_bytes((folder.path / name).read_bytes())
    change(path)
    manifest = replace(folder.manifest, files=artifacts.describe_files(path))
    return artifacts.ModelFolder(path, manifest)


BREAKS = {
    "ctranslate2": {
        "no model": lambda path: (path / "model.bin").unlink(),
        "empty model": lambda path: (path / "model.bin").write_bytes(b""),
        "other bytes": lambda path: (path / "model.bin").write_bytes(b"x" * 5000),
        "short model": lambda path: cut(path / "model.bin", 100_000),
        "no tokenizer": lambda path: (path / "tokenizer.json").unlink(),
        "no JSON": lambda path: (path / "tokenizer.json").write_text("{"),
        "other tokenizer": lambda path: (path / "tokenizer.json").write_text(json.dumps({"version": "1.0"})),
        "no vocabulary": lambda path: (path / "vocabulary.json").unlink(),
    },
    "openai": {
        "no model": lambda path: (path / "model.pt").unlink(),
        "empty model": lambda path: (path / "model.pt").write_bytes(b""),
        "other bytes": lambda path: (path / "model.pt").write_bytes(b"x" * 5000),
        "short model": lambda path: cut(path / "model.pt", 100_000),
        "code": lambda path: torch.save({"dims": print, "model_state_dict": {}}, path / "model.pt"),
        "no dims": lambda path: torch.save({"model_state_dict": {}}, path / "model.pt"),
        "huge dims": lambda path: torch.save(
            {"dims": {**vars(tiny_whisper.tiny_dims()), "n_text_state": 10**9}, "model_state_dict": {}},
            path / "model.pt",
        ),
        "no weights": lambda path: torch.save(
            {"dims": vars(tiny_whisper.tiny_dims()), "model_state_dict": {}}, path / "model.pt"
        ),
    },
}


def cut(file, size):
    file.write_bytes(file.read_bytes()[:size])


@pytest.mark.parametrize(("format", "name"), [(format, name) for format, breaks in BREAKS.items() for name in breaks])
def test_broken_folder_is_refused(folders, tmp_path, format, name):
    folder = broken(folders[format], tmp_path / "broken", BREAKS[format][name])
    with pytest.raises(errors.ModelInvalid):
        engines.load(folder)


def test_missing_gpu_library_is_named():
    try:
        ctypes.CDLL(whisper_ctranslate2.CUBLAS)
    except OSError:
        with pytest.raises(errors.EngineUnavailable, match="nvidia-cublas-cu12"):
            whisper_ctranslate2.load_cublas()
    else:
        whisper_ctranslate2.load_cublas()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compute_type", ["float32", "float16"])
def test_gpu_says_what_the_cpu_says(folders, recognizers, kind, clips, compute_type):
    windows = [*(window_of(clip) for clip in clips), window_of(clips[0], hotwords=(tiny_whisper.HOTWORD,))]
    engine = load_with(folders[kind], device="cuda", compute_type=compute_type)
    assert engine.capabilities.device == "cuda:0"
    for gpu, cpu in zip(engine.recognise(windows), recognizers[kind].recognise(windows), strict=True):
        assert (gpu.text, gpu.language) == (cpu.text, cpu.language)
        assert gpu.confidence == pytest.approx(cpu.confidence, abs=0.02)
        for one, other in zip(gpu.words, cpu.words, strict=True):
            assert (one.start, one.end) == pytest.approx((other.start, other.end), abs=0.1)
    engine.close()
