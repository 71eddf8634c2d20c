"""speech stream"""

from __future__ import annotations

import argparse
import queue
import sys
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import cast, get_args

from speech_client import LiveSession, Speech
from speech_client.cli.output import DONE, UsageProblem, say_json
from speech_client.live import Encoding, SessionOptions
from speech_client.types import Final, LiveEvent, Partial

CHUNK_SECONDS = 0.1
BYTES = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1, "opus": 1}


def add(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "stream",
        parents=[common],
        help="write down what is being said",
        description="Writes down speech as it comes: raw sound on stdin, a wav file at the pace of its sound, or the "
        "microphone. Finished sentences go to stdout; what is still open is shown on the terminal.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("file", nargs="?", help="a wav file; - for stdin; without it stdin, or the microphone")
    parser.add_argument("--rate", type=int, default=16_000, metavar="HERTZ", help="of raw sound (default 16000)")
    parser.add_argument("--encoding", choices=get_args(Encoding), default="pcm_s16le", help="of raw sound")
    parser.add_argument("--fast", action="store_true", help="a file as fast as the server hears")
    parser.add_argument("-l", "--language", help="BCP-47, such as en")
    parser.add_argument("--model")
    parser.add_argument("--hotwords", type=lambda text: text.split(","), help="phrases to favour, with commas")


@dataclass(frozen=True)
class Sound:
    chunks: Iterator[bytes]
    rate: int
    encoding: str


def run(speech: Speech, arguments: argparse.Namespace) -> int:
    with _source(arguments) as sound:
        names = ("language", "model", "hotwords")
        options = {name: value for name in names if (value := getattr(arguments, name))}
        chosen = SessionOptions(encoding=sound.encoding, sample_rate=sound.rate, **options)  # type: ignore[typeddict-item]
        with speech.stt.stream(**chosen) as session:
            session.feed(sound.chunks)
            try:
                _show(session, arguments)
            except KeyboardInterrupt:  # the first one ends the sound, not the words
                session.stop()
                _show(session, arguments)
    return DONE


def _show(session: LiveSession, arguments: argparse.Namespace) -> None:
    screen = sys.stderr.isatty() and not arguments.json
    for event in session:
        if arguments.json:
            say_json(event.raw)
            continue
        if screen:
            print(f"\r\033[K{_open_text(event)}", end="", file=sys.stderr, flush=True)
        if isinstance(event, Final) and event.text:
            print(event.text, flush=True)


def _open_text(event: LiveEvent) -> str:
    return event.text[-100:] if isinstance(event, Partial) else ""


@contextmanager
def _source(arguments: argparse.Namespace) -> Iterator[Sound]:
    if arguments.file not in (None, "-"):
        with _wave(arguments.file) as file:
            yield _of_wave(file, arguments)
    elif arguments.file is None and sys.stdin.isatty():
        with _microphone(arguments.rate) as chunks:
            yield Sound(chunks, arguments.rate, "pcm_s16le")
    else:
        yield Sound(_of_pipe(arguments), arguments.rate, arguments.encoding)


def _wave(name: str) -> wave.Wave_read:
    try:
        return wave.open(name, "rb")
    except (wave.Error, EOFError) as error:
        raise UsageProblem(f"{name} is no wav file ({error}). `speech transcribe` takes any.") from None


def _of_wave(file: wave.Wave_read, arguments: argparse.Namespace) -> Sound:
    if (file.getsampwidth(), file.getnchannels()) != (2, 1):
        raise UsageProblem(f"{arguments.file}: one channel of 16-bit sound is expected. `speech transcribe` takes any.")
    rate = file.getframerate()

    def chunks() -> Iterator[bytes]:
        began, sent = time.monotonic(), 0.0
        while data := file.readframes(round(rate * CHUNK_SECONDS)):
            yield data
            sent += len(data) / 2 / rate
            if not arguments.fast:
                time.sleep(max(0.0, began + sent - time.monotonic()))

    return Sound(chunks(), rate, "pcm_s16le")


def _of_pipe(arguments: argparse.Namespace) -> Iterator[bytes]:
    most = round(arguments.rate * CHUNK_SECONDS) * BYTES[arguments.encoding]
    pipe = cast(BufferedReader, sys.stdin.buffer)
    while data := pipe.read1(most):
        yield data


@contextmanager
def _microphone(rate: int) -> Iterator[Iterator[bytes]]:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: there is no PortAudio
        raise UsageProblem(
            f"the microphone needs sounddevice ({error}): pip install 'speech-platform-client[microphone]'. "
            "Or pipe sound in: ffmpeg -i … -f s16le -ac 1 -ar 16000 - | speech stream"
        ) from None
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    try:
        device = sounddevice.RawInputStream(
            samplerate=rate, channels=1, dtype="int16", blocksize=round(rate * CHUNK_SECONDS),
            callback=lambda data, *_: heard.put(bytes(data)),
        )  # fmt: skip
    except sounddevice.PortAudioError as error:
        raise UsageProblem(f"there is no microphone: {error}") from None
    with device:
        yield iter(heard.get, b"")
