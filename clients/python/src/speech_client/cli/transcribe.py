"""speech transcribe"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speech_client import Speech, SpeechError
from speech_client._http import Source
from speech_client._stt import TranscriptionOptions
from speech_client.cli.output import DONE, Bar, as_json, complain, writing
from speech_client.types import JobState, Transcription

QUEUED_FROM_BYTES = 20_000_000
"""The server takes larger files only as queued jobs (30 MB, by default)."""


def add(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "transcribe",
        parents=[common],
        help="write down recordings",
        description="Writes down recordings of any format, in the order in which they are named.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("files", nargs="+", metavar="FILE", help="- is stdin")
    parser.add_argument("-f", "--format", choices=("txt", "srt", "vtt", "json"), help="default txt, or by -o's name")
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="default: stdout")
    parser.add_argument("-d", "--directory", metavar="DIR", type=Path, help="a file for each recording there")
    parser.add_argument("--async", dest="queued", action="store_true", help="only begin; print the jobs' ids")
    parser.add_argument("-l", "--language", help="BCP-47, such as en")
    parser.add_argument("--model")
    parser.add_argument("--diarize", action="store_true", default=None, help="tell speakers apart")
    parser.add_argument("--speakers", type=int, help="how many there are")
    parser.add_argument("--channels", choices=("mix", "separate"), help="separate: each is a speaker's own")
    parser.add_argument("--words", dest="word_timestamps", action="store_true", default=None, help="times of words")
    parser.add_argument("--translate", action="store_true", help="into English")
    parser.add_argument("--prompt", help="what it is about, in its language")
    parser.add_argument("--hotwords", type=lambda text: text.split(","), help="phrases to favour, with commas")


@dataclass(frozen=True)
class Recording:
    """One of those that are transcribed. job: where it was queued."""

    name: str
    job: Transcription | None = None
    error: Exception | None = None


def run(speech: Speech, arguments: argparse.Namespace) -> int:
    arguments.format = arguments.format or _format(arguments)
    options = _options(arguments)
    many = len(arguments.files) > 1
    if not arguments.queued and not many and not _needs_queue(arguments.files[0]):
        recordings = iter([_attempt(arguments.files[0], lambda name: _send(speech, name, options, queued=False))])
    else:
        recordings = _queued(speech, arguments, options)
    code = DONE
    with _outputs(arguments) as write:
        for recording in recordings:
            if recording.error or recording.job is None:
                code = complain(recording.error or SpeechError("there is no result"), about=recording.name)
            else:
                write(recording.name, _written(speech, recording.job, arguments))
    return code


def _format(arguments: argparse.Namespace) -> str:
    suffix = Path(arguments.output).suffix.lstrip(".")
    return "json" if arguments.json else suffix if suffix in ("txt", "srt", "vtt", "json") else "txt"


def _options(arguments: argparse.Namespace) -> TranscriptionOptions:
    names = ("language", "model", "diarize", "speakers", "channels", "word_timestamps", "prompt", "hotwords")
    options = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if arguments.translate:
        options["task"] = "translate"
    return TranscriptionOptions(**options)  # type: ignore[typeddict-item]


def _needs_queue(name: str) -> bool:
    """A large file; or somebody looks on, who wants to see how far it is."""
    large = name != "-" and Path(name).is_file() and Path(name).stat().st_size > QUEUED_FROM_BYTES
    return large or sys.stderr.isatty()


def _send(speech: Speech, name: str, options: TranscriptionOptions, *, queued: bool) -> Transcription:
    source: Source = sys.stdin.buffer if name == "-" else name
    return speech.stt.transcribe(source, queued=queued, **options)


def _attempt(name: str, work: Callable[[str], Transcription]) -> Recording:
    """A recording that fails does not stop the others."""
    try:
        return Recording(name, job=work(name))
    except (SpeechError, OSError) as error:
        return Recording(name, error=error)


def _queued(speech: Speech, arguments: argparse.Namespace, options: TranscriptionOptions) -> Iterator[Recording]:
    """All are begun, then waited for one after the other. Whoever interrupts that, cancels them."""
    begun: list[Recording] = []
    for name in arguments.files:
        with Bar(name) as bar:
            bar.show(0, "sending")
            begun.append(_attempt(name, lambda name: _send(speech, name, options, queued=True)))
    if arguments.queued:
        yield from begun
        return
    waiting = list(begun)
    try:
        while waiting:
            recording = waiting[0]
            job = recording.job
            yield _attempt(recording.name, functools.partial(_wait, speech, job)) if job else recording
            waiting.pop(0)
    except (KeyboardInterrupt, GeneratorExit):
        for recording in waiting:
            if recording.job and not speech.jobs.get(recording.job).ended:  # what has ended would be deleted
                speech.jobs.cancel(recording.job)
        raise


def _wait(speech: Speech, job: Transcription, name: str) -> Transcription:
    with Bar(name) as bar:

        def show(state: JobState) -> None:
            bar.show(state.progress, state.stage or state.status)

        done = speech.jobs.wait(job, on_progress=show)
    if not isinstance(done, Transcription):
        raise SpeechError("the job is no transcription")
    return done


def _written(speech: Speech, job: Transcription, arguments: argparse.Namespace) -> str:
    if arguments.queued:
        return (as_json(job.raw) if arguments.json else job.job_id) + "\n"
    if arguments.format == "json":
        return as_json(job.raw) + "\n"
    if arguments.format == "txt" and not arguments.diarize and not arguments.channels:
        return f"{job.text or ''}\n"
    return speech.stt.export(job, arguments.format).rstrip("\n") + "\n"


@contextmanager
def _outputs(arguments: argparse.Namespace) -> Iterator[Callable[[str, str], None]]:
    """How to write what was heard in a recording: a file for each, or all of them one after the other."""
    if arguments.directory and not arguments.queued:
        arguments.directory.mkdir(parents=True, exist_ok=True)

        def separately(name: str, text: str) -> None:
            stem = "stdin" if name == "-" else Path(name).name
            with writing(str(arguments.directory / f"{stem}.{arguments.format}")) as file:
                file.write(text.encode())

        yield separately
        return
    headed = len(arguments.files) > 1 and not arguments.queued and arguments.format == "txt"
    with writing(arguments.output) as file:

        def together(name: str, text: str) -> None:
            file.write((f"{name}:\n{text}\n" if headed else text).encode())
            file.flush()

        yield together
