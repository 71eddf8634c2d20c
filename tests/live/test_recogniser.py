"""Live recognition without the web: sound in, events out, by engines that hear as it comes and by one that does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from ml import errors, runtime, stt
from ml.audio.stream import decoding_processes
from ml.stt import live
from ml.stt.engines.streaming import Step, StepQueue, Urgency
from ml.types import TranscriptionOptions
from tests.live.models import EMBEDDED, STREAMING, WHISPER, installed
from tests.live.support import encoded
from tests.ml.stt_support import normalise, owned_clips, pcm_of, wait_for

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
ENGINES = (EMBEDDED, STREAMING, WHISPER)


@pytest.fixture(scope="module", autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("live")):
        yield


@pytest.fixture(scope="module")
def clips() -> dict:
    return {clip.path.name: clip for clip in owned_clips()}


def options(model: str = EMBEDDED, **fields) -> live.LiveOptions:
    transcription = fields.pop("transcription", {})
    return live.LiveOptions(transcription=TranscriptionOptions(model=model, **transcription), **fields)


class Listener:
    """A session and what it told."""

    def __init__(self, wanted: live.LiveOptions, **more) -> None:
        self.events: list[live.LiveEvent] = []
        self.session = live.recognizer.start(wanted, on_event=self.events.append, **more)

    def say(self, sound: bytes, piece: int = 3200) -> Listener:
        for start in range(0, len(sound), piece):
            self.session.push(sound[start : start + piece], timeout=100)
        return self

    def stop(self) -> Listener:
        self.session.stop()
        return self.closed()

    def closed(self) -> Listener:
        assert self.session.closed.wait(60)
        return self

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.of(live.Final) if final.text)


def heard(sound: bytes, wanted: live.LiveOptions, piece: int = 3200) -> Listener:
    return Listener(wanted).say(sound, piece).stop()


def pause(seconds: float) -> bytes:
    return bytes(2 * round(16_000 * seconds))


# ── What is heard ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ENGINES)
def test_events_of_an_utterance(clips, model):
    clip = clips["president.mp3"]
    sound = pcm_of(clip).tobytes() + pause(1)
    told = Listener(options(model)).say(sound[:80_000])
    if model != STREAMING:  # which hears no tones in the beginning
        wait_for(lambda: told.of(live.Partial), 60)
    told.say(sound[80_000:]).stop()
    kinds = [type(event).__name__ for event in told.events]
    assert kinds[:2] == ["Ready", "SpeechStarted"]
    assert kinds[-2:] == ["Final", "Closed"]
    assert kinds.count("Final") == 1
    (final,) = told.of(live.Final)
    assert (final.segment, final.model, told.events[0].model) == (0, model, model)
    assert final.text
    times = [time for word in final.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= final.start < final.end <= len(sound) / 32_000
    assert told.events[-1] == live.Closed("stopped", round(len(sound) / 32_000, 3))
    assert_stable_stays(told)


def assert_stable_stays(told: Listener) -> None:
    """Every partial begins with what was stable before it, and the final says those words."""
    finals = {final.segment: final for final in told.of(live.Final)}
    stable: dict[int, str] = {}
    for partial in told.of(live.Partial):
        before = stable.get(partial.segment, "")
        assert partial.stable.startswith(before)
        assert partial.text.startswith(partial.stable)
        stable[partial.segment] = partial.stable
    for segment, text in stable.items():
        said = "".join(filter(str.isalnum, finals[segment].text.lower()))
        assert said.startswith("".join(filter(str.isalnum, text.lower()))), (text, finals[segment].text)


@pytest.mark.parametrize("model", [STREAMING, WHISPER])
@pytest.mark.parametrize("name", ["weather.flac", "president.mp3"])
def test_final_equals_the_files(clips, model, name):
    told = heard(pcm_of(clips[name]).tobytes(), options(model, interim_results=False))
    file = stt.transcribe(clips[name].path, TranscriptionOptions(model=model))
    assert file.text
    assert told.text == file.text


def test_embedded_hears_what_was_said(clips):
    """Its live search is narrower than the one for files; on the same four clips both make few mistakes."""
    import jiwer

    said, understood = [], []
    for clip in clips.values():
        said.append(normalise(clip.text))
        understood.append(normalise(heard(pcm_of(clip).tobytes(), options()).text))
    assert jiwer.wer(said, understood) < 0.35, understood


def test_pauses_divide_and_times_go_on(clips):
    first, second = pcm_of(clips["weather.flac"]).tobytes(), pcm_of(clips["president.mp3"]).tobytes()
    told = heard(first + pause(1.2) + second + pause(1), options(WHISPER))
    finals = told.of(live.Final)
    assert [final.segment for final in finals] == [0, 1]
    assert finals[0].end <= len(first) / 32_000 + 0.3
    assert finals[1].start >= len(first) / 32_000 + 1
    assert finals[1].text.lower().startswith("the president")


@pytest.mark.parametrize("model", ENGINES)
def test_silence_and_noise_say_nothing(model):
    noise = np.random.default_rng(0).normal(0, 200, 16_000 * 3).astype("<i2").tobytes()
    told = heard(pause(2) + noise, options(model))
    assert [type(event).__name__ for event in told.events] == ["Ready", "Closed"]
    assert told.events[-1].audio_seconds == 5.0


def test_finalize_ends_the_utterance_at_once(clips):
    sound = pcm_of(clips["president.mp3"]).tobytes()
    told = Listener(options(WHISPER, endpointing=live.Endpointing(enabled=False)))
    told.say(sound[:96_000] + pause(1))  # a pause that would end it otherwise
    told.session.finalize()
    wait_for(lambda: told.of(live.Finalized), 60)
    assert len(told.of(live.Final)) == 1
    told.session.finalize()  # with nothing to end
    wait_for(lambda: len(told.of(live.Finalized)) == 2, 60)
    assert len(told.of(live.Final)) == 1
    told.stop()


@pytest.mark.parametrize("model", [EMBEDDED, WHISPER])
def test_clear_forgets_the_utterance_under_way(clips, model):
    sound = pcm_of(clips["president.mp3"]).tobytes()
    told = Listener(options(model)).say(sound[:64_000])
    wait_for(lambda: told.of(live.SpeechStarted), 60)
    told.session.clear()
    wait_for(lambda: told.of(live.Cleared), 60)
    assert [final.text for final in told.of(live.Final)] == [""]
    told.session.clear()  # with nothing to forget
    told.say(pause(1) + pcm_of(clips["weather.flac"]).tobytes()).stop()
    assert len(told.of(live.Cleared)) == 2
    assert "president" not in told.text.lower()
    assert [final.segment for final in told.of(live.Final)] == list(range(len(told.of(live.Final))))
    assert told.of(live.Final)[-1].text
    assert live.recognizer.sessions == 0


def test_long_speech_is_cut(clips):
    sound = b"".join(pcm_of(clip).tobytes()[8_000:-8_000] for clip in clips.values())
    wanted = options(STREAMING, endpointing=live.Endpointing(max_utterance_seconds=3, silence_seconds=2))
    told = heard(sound, wanted)
    ends = told.of(live.SpeechEnded)
    assert sum(end.cut for end in ends) >= 4
    assert [final.segment for final in told.of(live.Final)] == list(range(len(ends)))
    starts = [start.start for start in told.of(live.SpeechStarted)]
    assert all(end.end - start <= 3.1 for start, end in zip(starts, ends, strict=True))


def test_utterance_end_is_told_once(clips):
    sound = pcm_of(clips["weather.flac"]).tobytes()
    told = heard(sound + pause(3), options(WHISPER, endpointing=live.Endpointing(utterance_end_seconds=1.0)))
    (end,) = told.of(live.UtteranceEnd)
    assert end.last_word_end == told.of(live.Final)[0].end


def test_text_stages_run_as_for_files(clips):
    sound = pcm_of(clips["weather.flac"]).tobytes()
    plain = heard(sound, options(STREAMING, transcription={"itn": False, "punctuate": False}))
    written = heard(sound, options(STREAMING))
    file = stt.transcribe(clips["weather.flac"].path, TranscriptionOptions(model=STREAMING))
    assert written.text == file.text
    assert plain.text != written.text
    assert "punctuate" not in plain.session.stages
    assert set(written.session.stages) <= set(file.stages)


def test_redaction_shows_no_partials(clips):
    sound = pcm_of(clips["numbers.wav"]).tobytes()
    told = heard(sound, options(WHISPER, transcription={"redact": True}))
    assert not told.of(live.Partial)
    assert told.text


# ── Encodings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["pcm_s16le", "pcm_f32le", "mulaw", "alaw", "opus/ogg", "opus/webm"])
def test_encodings_say_the_same(clips, encoding):
    clip = clips["president.mp3"]
    sound = encoded(np.concatenate([pcm_of(clip), np.zeros(16_000, np.int16)]), encoding)
    told = heard(sound, options(WHISPER, encoding=encoding.partition("/")[0], interim_results=False), piece=777)
    assert normalise(told.text) == normalise(clip.text)
    assert told.events[-1].audio_seconds == pytest.approx(clip.duration_seconds + 1, abs=0.1)
    assert decoding_processes() == 0


@pytest.mark.parametrize("rate", [8_000, 11_025, 24_000, 44_100, 48_000])
def test_rates(clips, rate):
    import soxr

    clip = clips["president.mp3"]
    sound = soxr.resample(pcm_of(clip), 16_000, rate).tobytes()
    told = heard(sound, options(WHISPER, sample_rate=rate, interim_results=False), piece=1001)
    assert normalise(told.text) == normalise(clip.text)
    assert told.events[-1].audio_seconds == pytest.approx(clip.duration_seconds, abs=0.01)


@pytest.mark.parametrize("sound", [b"", b"\x00" * 5000, np.random.default_rng(1).bytes(50_000), b"OggS" * 1000])
def test_bytes_that_are_no_opus_end_the_session_alone(clips, sound):
    other = Listener(options(STREAMING, encoding="opus"))
    told = Listener(options(STREAMING, encoding="opus")).say(sound, 1000).stop()
    if sound:
        assert [type(failed.error) for failed in told.of(live.Failed)] == [errors.AudioUndecodable]
    else:
        assert not told.of(live.Failed)
    opus = encoded(pcm_of(clips["weather.flac"]), "opus/ogg")
    assert other.say(opus).stop().text
    assert decoding_processes() == 0


# ── Sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sessions_do_not_mix(clips):
    """Interleaved piece by piece, each hears what it hears alone."""
    sounds = {name: pcm_of(clip).tobytes() for name, clip in clips.items()}
    wanted = options(WHISPER, interim_results=False)
    alone = {name: heard(sound, wanted).text for name, sound in sounds.items()}
    sessions = {name: Listener(wanted) for name in sounds}
    for start in range(0, max(map(len, sounds.values())), 6400):
        for name, sound in sounds.items():
            sessions[name].session.push(sound[start : start + 6400])
    assert {name: session.stop().text for name, session in sessions.items()} == alone


@pytest.mark.parametrize("model", ENGINES)
def test_abort_frees_everything_at_any_moment(clips, model):
    sound = pcm_of(clips["president.mp3"]).tobytes()
    for moment in range(0, len(sound), len(sound) // 6):
        told = Listener(options(model)).say(sound[:moment])
        told.session.abort()
        assert told.closed().events[-1].reason == "aborted"
        told.session.push(sound)  # is taken, and heard by nobody
    assert live.recognizer.sessions == 0
    wait_for(lambda: runtime.pool.state(f"stt/{model}").users == 0)
    assert heard(sound, options(model)).text


def test_broken_engine_is_replaced_and_the_utterance_heard(clips):
    """Its process is killed while somebody speaks: the final comes from another one, of the same sound."""
    import os
    import signal

    sound = pcm_of(clips["president.mp3"]).tobytes()
    told = Listener(options(EMBEDDED)).say(sound[:64_000])
    wait_for(lambda: told.of(live.Partial), 60)
    with runtime.pool.acquire(f"stt/{EMBEDDED}") as engine:
        for pid in engine.streams.pids():
            os.kill(pid, signal.SIGKILL)
    told.say(sound[64_000:]).stop()
    assert not told.of(live.Failed)
    assert len(told.of(live.Final)) == 1
    assert "market" in told.text


def test_model_is_swapped_at_the_next_utterance(clips, tmp_path):
    from dataclasses import replace as changed

    from ml import artifacts
    from tests.ml import tiny_transducers

    tiny_transducers.save_streaming_transducer(tmp_path / "a", name="swapped")
    folder = artifacts.read(tmp_path / "a")
    stt.install(folder, priority=0)
    sound = pcm_of(clips["weather.flac"]).tobytes() + pause(1)
    told = Listener(options("swapped")).say(sound[:64_000])
    wait_for(lambda: told.of(live.SpeechStarted), 60)
    newer = changed(folder, manifest=changed(folder.manifest, version="2"))
    swapping = threading.Thread(target=stt.install, args=(newer,), kwargs={"priority": 0})
    swapping.start()
    swapping.join(60)
    told.say(sound[64_000:] + sound).stop()
    assert runtime.pool.state("stt/swapped").version == "2"
    assert len(told.of(live.Final)) == 2
    assert all(final.text for final in told.of(live.Final))
    stt.uninstall("swapped")


def test_who_sends_too_fast_is_held_back(clips):
    """Far more than the buffer, without a pause: all of it is heard."""
    sound = pcm_of(clips["weather.flac"]).tobytes() * 8
    told = Listener(options(STREAMING, buffer_seconds=1.0))
    assert not all(told.session.offer(sound[:32_000]) for _ in range(50))
    told.say(sound, 32_000).stop()
    assert told.events[-1].audio_seconds >= len(sound) / 32_000


def test_what_is_not_allowed_is_not_heard(clips):
    """`on_heard` is asked before more is heard; what came before it is final."""
    asked = []

    def allow(seconds: float) -> None:
        asked.append(seconds)
        if seconds > 3.0:
            raise PermissionError("no more")

    told = Listener(options(STREAMING), on_heard=allow).say(pcm_of(clips["president.mp3"]).tobytes()).closed()
    assert asked == sorted(asked)
    assert [type(event).__name__ for event in told.events[-3:]] == ["Final", "Failed", "Closed"]
    assert isinstance(told.events[-2].error, PermissionError)
    assert 2.5 < told.events[-1].audio_seconds <= 3.0


def test_length_is_limited(clips):
    told = Listener(options(STREAMING, max_seconds=2.5)).say(pcm_of(clips["president.mp3"]).tobytes()).closed()
    assert told.events[-1] == live.Closed("too_long", 2.5)
    assert len(told.of(live.Final)) == 1


@pytest.mark.parametrize(
    "wanted",
    [
        options(sample_rate=4000),
        options(encoding="mp3"),
        options("no-such-model"),
        options(transcription={"language_hint": "xx"}),
        options(transcription={"diarize": True}),
        options(transcription={"disable": ("decode",)}),
        options(endpointing=live.Endpointing(silence_seconds=0.01)),
        options(endpointing=live.Endpointing(max_utterance_seconds=float("nan"))),
    ],
)
def test_refuses_what_cannot_be(wanted):
    with pytest.raises(errors.InvalidRequest):
        Listener(wanted)
    assert live.recognizer.sessions == 0


def test_urgent_steps_go_first_in_small_rounds():
    rounds, begun, go = [], threading.Event(), threading.Event()

    def compute(steps: list[Step]) -> None:
        rounds.append([step.item for step in steps])
        begun.set()
        assert go.wait(30)
        for step in steps:
            step.future.set_result(step.item)

    queue = StepQueue(compute, name="test", width=2)
    futures = [queue.submit("first")]
    assert begun.wait(30)
    urgency = {"w": Urgency.IDLE, "x": Urgency.FIRST, "y": Urgency.FIRST}
    futures += [queue.submit(name, urgency=lambda name=name: urgency.get(name, Urgency.NONE)) for name in "wabxczy"]
    urgency["z"] = Urgency.LAST  # what waits already may become urgent
    go.set()
    assert [future.result(30) for future in futures] == ["first", *"wabxczy"]
    assert rounds == [["first"], ["x"], ["y"], ["z"], ["a", "b"], ["c"], ["w"]]
    queue.close()
    with pytest.raises(errors.EngineUnavailable):
        queue.submit("late")
