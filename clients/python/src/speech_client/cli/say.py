"""speech say"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, get_args

from speech_client import Speech, SpeechError
from speech_client._tts import Format, SynthesisOptions
from speech_client.cli.output import DONE, UsageProblem, say_json, write_all, writing

FORMATS = get_args(Format)
SUFFIXES = {"ogg": "opus", "oga": "opus", "raw": "pcm", "ul": "mulaw", "al": "alaw"}
PLAYERS = (
    ("ffplay", "-autoexit", "-nodisp", "-loglevel", "error", "-"),
    ("mpv", "--really-quiet", "-"),
    ("play", "-q", "-t", "wav", "-"),
    ("paplay", "/dev/stdin"),
    ("aplay", "-q", "-"),
)


def add(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "say", parents=[common], help="speak a text", description="Speaks a text, or what comes on stdin."
    )
    parser.set_defaults(run=run)
    parser.add_argument("text", nargs="*", help="without a text, or with -, stdin is spoken")
    parser.add_argument("-o", "--output", metavar="FILE", help="a file, or - for stdout; without it, a player")
    parser.add_argument("-f", "--format", choices=FORMATS, help="default: by the file's name")
    parser.add_argument("-v", "--voice", help="of `speech voices`")
    parser.add_argument("-l", "--language", help="BCP-47, such as en-GB")
    parser.add_argument("--model")
    parser.add_argument("--speed", type=float, help="0.25-4")
    parser.add_argument("--pitch", type=float, help="semitones, -12 to 12")
    parser.add_argument("--volume", type=float, help="0-2")
    parser.add_argument("--sample-rate", type=int, metavar="HERTZ")
    parser.add_argument("--ssml", action="store_true", default=None, help="the text is SSML")


def run(speech: Speech, arguments: argparse.Namespace) -> int:
    output = arguments.output or (None if sys.stdout.isatty() else "-")
    options = _options(arguments, output)
    player = [] if output else _player()
    with speech.tts.stream(_text(arguments.text), **options) as audio:
        target = writing(output) if output else playing(player)
        with target as file:
            write_all(audio, file)
        if arguments.json and output != "-":
            say_json({"job_id": audio.job_id, "output": output, **options})
    return DONE


def _text(words: list[str]) -> str:
    if words and words != ["-"]:
        return " ".join(words)
    if not words and sys.stdin.isatty():
        raise UsageProblem("what should be said? Give a text, or pipe one in.")
    return sys.stdin.read()


def _options(arguments: argparse.Namespace, output: str | None) -> SynthesisOptions:
    names = ("voice", "language", "model", "speed", "pitch", "volume", "sample_rate", "ssml")
    options = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return SynthesisOptions(format=arguments.format or _format_of(output), **options)  # type: ignore[typeddict-item]


def _format_of(output: str | None) -> Format:
    """By the name's end; wav for players, mp3 for pipes."""
    if output is None:
        return "wav"
    if output == "-":
        return "mp3"
    suffix = Path(output).suffix.lower().lstrip(".")
    named = SUFFIXES.get(suffix, suffix)
    if named not in FORMATS:
        raise UsageProblem(f"what format has {output}? Name one with --format: {', '.join(FORMATS)}.")
    return named  # type: ignore[return-value]


@contextlib.contextmanager
def playing(command: list[str]) -> Iterator[IO[bytes]]:
    """A player's stdin."""
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        with contextlib.suppress(BrokenPipeError):  # it was closed: it has heard enough
            yield process.stdin
            process.stdin.close()
    if process.returncode:
        raise SpeechError(f"{command[0]} has failed ({process.returncode})")


def _player() -> list[str]:
    """SPEECH_PLAYER names one, with its options."""
    if named := shlex.split(os.environ.get("SPEECH_PLAYER", "")):
        return named
    for command in PLAYERS:
        if shutil.which(command[0]):
            return list(command)
    names = ", ".join(command[0] for command in PLAYERS)
    raise UsageProblem(f"there is no player here ({names}): use -o FILE, or name one in SPEECH_PLAYER.")
