"""Model folders installed, routed, swapped and taken away, and requests that run meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import ml.stt
import ml.tts
from ml import devices, engines, errors, runtime
from ml.stt import recognition, registry
from ml.stt.engines.base import Window
from ml.stt.helpers import base as helpers
from ml.types import Caller, SynthesisOptions, TranscriptionOptions
from tests.ml import tone_engine
from tests.ml.runtime_support import WAIT, outcome
from tests.ml.stt_support import owned_clips, pcm_of, tone, wait_for
from tests.ml.tone_engine import ToneRecognizer, write_folder

EMBEDDED = "pocketsphinx-en-us"
ANYONE = Caller()


@pytest.fixture(autouse=True)
def tone_loader(monkeypatch):
    """Leaves no model behind."""
    for key, target in tone_engine.LOADER.items():
        monkeypatch.setitem(engines.LOADERS, key, target)
    ToneRecognizer.gate.set()
    yield
    ToneRecognizer.gate.set()
    for info in ml.stt.models():
        if info.engine == "tone":
            ml.stt.uninstall(info.name)
    wait_for(lambda: not [id_ for id_ in runtime.pool.memory_bytes() if "tone" in id_])
    tone_engine.calls.clear()
    tone_engine.closed.clear()


def windows(*hertz, **options):
    return [Window((tone(each, 0.5, 16_000) * 32767).astype(np.int16), **options) for each in hertz]


def hear(hertz=440, caller=ANYONE, **options):
    """What the platform makes of a tone: its text, and the rest."""
    resolution = ml.stt.resolve(TranscriptionOptions(**options))
    language = registry.primary_language(resolution.language) if resolution.language_confidence else None
    heard = recognition.recognise(windows(hertz, language=language), resolution, caller=caller)
    return heard.hypotheses[0].text, heard


# ── Installing and routing ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_installed_model_serves_and_loads_with_its_first_use(tmp_path):
    state = ml.stt.install(write_folder(tmp_path, "tiny"))
    assert (state.id, state.version, state.status, state.memory_bytes) == ("stt/tiny", "1", "registered", None)
    assert [info.name for info in ml.stt.models()] == ["tiny", EMBEDDED]
    assert ml.stt.resolve(TranscriptionOptions()).model.name == "tiny"
    assert runtime.pool.state("stt/tiny").status == "registered"
    result = ml.stt.transcribe(owned_clips()[0].path)
    assert result.model_used == "tiny"
    assert "v1" in result.text.lower()
    assert (result.fallback_reason, result.language) == (None, "en-GB")
    assert runtime.pool.state("stt/tiny").status == "ready"


def test_capabilities_are_the_manifests_over_the_engines(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny", languages=("hi", "en-IN"), capabilities={"punctuation": True}))
    (info,) = [info for info in ml.stt.models() if info.name == "tiny"]
    assert info.capabilities.languages == {"hi", "en"}
    assert (info.capabilities.punctuation, info.capabilities.word_times, info.capabilities.max_batch) == (True, True, 4)
    assert info.default_language == "hi"


@pytest.mark.parametrize(
    "fields",
    [
        {"capabilities": {"telepathy": True}},
        {"capabilities": {"punctuation": "yes"}},
        {"capabilities": {"max_batch": True}},
        {"settings": {"priority": "high"}},
        {"settings": {"fallback_confidence": 2}},
        {"settings": {"device": "cuda:99"}},
        {"settings": {"device": "quantum"}},
        {"settings": {"device": 7}},
        {"format": "unheard-of"},
        {"task": "tts"},
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path, fields):
    with pytest.raises(errors.ModelInvalid):
        ml.stt.install(write_folder(tmp_path, "tiny", **fields))
    assert "tiny" not in [info.name for info in ml.stt.models()]


def test_the_embedded_recognisers_name_is_its_own(tmp_path):
    with pytest.raises(errors.ModelInvalid):
        ml.stt.install(write_folder(tmp_path, EMBEDDED))
    with pytest.raises(errors.UnknownModel):
        ml.stt.uninstall(EMBEDDED)


def test_transducers_serve_first_unless_told_otherwise(tmp_path):
    ml.stt.install(write_folder(tmp_path, "a-plain"))
    ml.stt.install(write_folder(tmp_path, "b-transducer", format="transducer"))
    names = [info.name for info in ml.stt.resolve(TranscriptionOptions(language_hint="en")).candidates]
    assert names == ["b-transducer", "a-plain", EMBEDDED]
    ml.stt.install(write_folder(tmp_path, "c-first", settings={"priority": 40}))
    ml.stt.install(write_folder(tmp_path, "d-default"), default=True)
    ml.stt.install(write_folder(tmp_path, "e-last"), priority=1)
    names = [info.name for info in ml.stt.models()]
    assert names == ["d-default", "c-first", "b-transducer", "a-plain", "e-last", EMBEDDED]
    assert [info.name for info in ml.stt.resolve(TranscriptionOptions(language_hint="de")).candidates] == names[:-1]


def test_settings_for_routing_are_not_the_engines(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny", settings={"priority": 40, "keep_resident": True, "beam": 5}))
    hear()
    with runtime.pool.acquire("stt/tiny") as engine:
        assert engine.settings == {"beam": 5}
    assert runtime.pool.spec("stt/tiny").pinned


def test_helpers_are_installed_too(tmp_path):
    ml.stt.install(write_folder(tmp_path, "commas", task="punctuation"))
    assert runtime.pool.state("punctuation/commas").status == "registered"
    assert helpers.helper("punctuation", "en").punctuate("well") == "well."
    assert runtime.pool.state("punctuation/commas").status == "ready"
    ml.stt.uninstall("commas", task="punctuation")
    assert not helpers.installed("punctuation", "en")


# ── Swapping ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_version_takes_over_and_the_old_one_is_closed(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny"))
    assert hear()[0] == "v1 440 en"
    state = ml.stt.install(write_folder(tmp_path, "tiny", version="2", languages=("de",)))
    assert (state.version, state.status) == ("2", "ready")
    assert hear(language_hint="de")[0] == "v2 440 de"
    assert tone_engine.closed == ["1"]
    assert {info.version for info in ml.stt.models() if info.name == "tiny"} == {"2"}


def test_installing_the_same_folder_again_changes_only_its_place(tmp_path):
    folder = write_folder(tmp_path, "tiny")
    ml.stt.install(folder)
    hear()
    ml.stt.install(folder, priority=7, default=True)
    assert (ml.stt.models()[0].priority, ml.stt.models()[0].default) == (7, True)
    assert tone_engine.closed == []


def test_a_torn_version_is_refused_and_the_old_one_serves_on(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny"))
    hear()
    with pytest.raises(errors.ModelInvalid, match="torn"):
        ml.stt.install(write_folder(tmp_path, "tiny", version="2", settings={"broken": True}))
    assert hear()[0] == "v1 440 en"
    state = runtime.pool.state("stt/tiny")
    assert (state.version, state.status, state.last_error) == ("1", "ready", "the weights are torn")


def test_reloading_reads_the_folder_again(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny"), default=True)
    hear()
    write_folder(tmp_path, "tiny", languages=("en-US",), voice={"confidence": 0.5})
    assert ml.stt.reload("tiny").status == "ready"
    assert hear()[1].hypotheses[0].confidence == 0.5
    assert (ml.stt.models()[0].default_language, ml.stt.models()[0].default) == ("en-US", True)
    assert tone_engine.closed == ["1"]
    with pytest.raises(errors.UnknownModel):
        ml.stt.reload("nobody")
    with pytest.raises(errors.UnknownModel):
        ml.stt.uninstall("nobody")


def test_no_request_fails_through_five_swaps(tmp_path):
    """16 clients without a pause; every version serves, and memory comes back."""
    ml.stt.install(write_folder(tmp_path, "tiny", version="0"))
    served, done = threading.Semaphore(0), threading.Event()

    def client(number):
        seen, hertz = set(), 300 + 20 * number
        while not done.is_set():
            text, _ = hear(hertz, caller=Caller(f"tenant {number % 3}"))
            version, heard, _ = text.split()
            assert int(heard) == hertz
            seen.add(version)
            served.release()
        return seen

    with ThreadPoolExecutor(16) as threads:
        clients = [threads.submit(client, number) for number in range(16)]
        try:
            for version in "12345":
                assert all(served.acquire(timeout=WAIT) for _ in range(50))
                ml.stt.install(write_folder(tmp_path, "tiny", version=version))
            assert all(served.acquire(timeout=WAIT) for _ in range(50))
        finally:
            done.set()
        seen = set().union(*(each.result(WAIT) for each in clients))
    assert {"v0", "v5"} <= seen
    wait_for(lambda: sorted(tone_engine.closed) == ["0", "1", "2", "3", "4"])
    assert max(len(batch) for _, batch in tone_engine.calls) > 1


def test_who_uses_a_model_that_is_uninstalled_finishes(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny"))
    ToneRecognizer.gate.clear()
    with ThreadPoolExecutor(1) as threads:
        under_way = threads.submit(hear)
        wait_for(lambda: tone_engine.calls)
        ml.stt.uninstall("tiny")
        assert ml.stt.resolve(TranscriptionOptions()).model.name == EMBEDDED
        assert tone_engine.closed == []
        ToneRecognizer.gate.set()
        assert under_way.result(WAIT)[0] == "v1 440 en"
    wait_for(lambda: tone_engine.closed == ["1"])


# ── Falling back ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", ["engine_failed", "engine_unavailable", "engine_fault"])
def test_the_next_model_takes_over_from_one_that_fails(tmp_path, error):
    ml.stt.install(write_folder(tmp_path, "first", format="transducer", voice={"error": error}))
    ml.stt.install(write_folder(tmp_path, "second", version="2"))
    text, heard = hear(language_hint="de")
    assert (text, heard.model.name, heard.language) == ("v2 440 de", "second", "de")
    assert heard.fallback_reason.startswith("first failed (engine_")


def test_the_embedded_recogniser_takes_over_last(tmp_path):
    ml.stt.install(write_folder(tmp_path, "first", settings={"broken": True}))
    result = ml.stt.transcribe(owned_clips()[1].path)
    assert result.model_used == EMBEDDED
    assert result.fallback_reason == "first failed (engine_unavailable)."
    assert result.text == ml.stt.transcribe(owned_clips()[1].path, TranscriptionOptions(model=EMBEDDED)).text


def test_an_unsure_model_gives_way_to_one_that_is_sure(tmp_path):
    unsure = {"format": "transducer", "voice": {"confidence": 0.3}, "settings": {"fallback_confidence": 0.5}}
    ml.stt.install(write_folder(tmp_path, "first", **unsure))
    assert hear()[1].model.name == "first"  # the embedded recogniser is no better
    ml.stt.install(write_folder(tmp_path, "second", version="2"))
    _, heard = hear()
    assert heard.model.name == "second"
    assert heard.fallback_reason == "first was unsure (confidence 0.30, under 0.5)."
    ml.stt.install(write_folder(tmp_path, "second", version="3", **{**unsure, "format": "plain"}))
    _, heard = hear()  # nobody is sure: the preferred one stands
    assert (heard.model.name, heard.fallback_reason) == ("first", None)


def test_a_model_that_was_named_is_not_exchanged(tmp_path):
    ml.stt.install(write_folder(tmp_path, "first", voice={"error": "engine_failed"}))
    ml.stt.install(write_folder(tmp_path, "second"))
    with pytest.raises(errors.EngineFailed):
        hear(model="first")


def test_what_the_caller_did_wrong_is_not_tried_elsewhere(tmp_path):
    ml.stt.install(write_folder(tmp_path, "first", voice={"error": "invalid_parameter"}))
    assert type(outcome(hear)) is errors.InvalidRequest
    assert len(tone_engine.calls) == 1


# ── Batching ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_windows_of_one_recording_and_of_several_callers_share_batches(tmp_path):
    ml.stt.install(write_folder(tmp_path, "tiny"))
    hear()
    tone_engine.calls.clear()
    resolution = ml.stt.resolve(TranscriptionOptions(language_hint="en"))
    several = [100 + 20 * n for n in range(20)]

    def transcribe(tenant):
        heard = recognition.recognise(windows(*several, language="en"), resolution, caller=Caller(tenant))
        return [int(hypothesis.text.split()[1]) for hypothesis in heard.hypotheses]

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(transcribe, "abc"))
    assert results == [several] * 3
    assert max(len(batch) for _, batch in tone_engine.calls) == 4
    assert len(tone_engine.calls) < 40


def test_the_embedded_engines_results_are_those_of_the_engine_alone():
    shortest = sorted(owned_clips(), key=lambda clip: clip.duration_seconds)[:2]
    samples = [pcm_of(clip)[:48_000] for clip in shortest]
    engine = ml.stt.registry.engine(EMBEDDED)
    alone = [engine.recognise([Window(each, language="en")])[0] for each in samples]
    resolution = ml.stt.resolve(TranscriptionOptions(language_hint="en"))

    def ask(each):
        window = Window(each, language="en")
        return recognition.recognise([window], resolution, caller=Caller(str(id(each)))).hypotheses[0]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(ask, samples)) == alone


def test_speech_goes_through_the_pool_and_the_batcher():
    chunks = list(ml.tts.synthesize("Hello there.", SynthesisOptions(), caller=Caller("acme", "realtime")))
    assert chunks[0].samples.any()
    assert runtime.pool.state("tts/espeak-ng").status == "ready"
    (queue,) = [queue for queue in runtime.batcher.stats() if queue.model_id == "tts/espeak-ng"]
    assert queue.succeeded >= 1


def test_the_embedded_engines_stay_loaded():
    assert runtime.pool.spec(f"stt/{EMBEDDED}").pinned
    assert runtime.pool.spec("tts/espeak-ng").pinned


def test_devices():
    assert devices.resolve("cpu") == "cpu"
    assert devices.resolve() == ("cuda:0" if devices.cuda_devices() else "cpu")
    with pytest.raises(errors.ModelInvalid):
        devices.resolve("cuda:42")
    with pytest.raises(errors.ModelInvalid):
        devices.resolve("gpu")
    assert 0 < devices.resident_bytes() < devices.host_memory_bytes()
