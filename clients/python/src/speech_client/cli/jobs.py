"""speech jobs list|show|wait|cancel"""

from __future__ import annotations

import argparse
import itertools
from typing import get_args

from speech_client import JobFailed, NotFound, PermissionDenied, Speech
from speech_client.cli.output import DONE, FAILED, Bar, complain, say_json, table
from speech_client.types import Job, JobState, SpeechJob, Status, Task

FIELDS = (
    "task", "job_id", "status", "progress", "stage", "created_at", "finished_at", "filename", "voice", "language",
    "model", "model_used", "duration_seconds", "error", "audio_url", "text",
)  # fmt: skip


def add(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("jobs", help="look at jobs, wait for them, cancel them")
    actions = parser.add_subparsers(required=True, metavar="list|show|wait|cancel")

    listing = actions.add_parser("list", parents=[common], help="the newest")
    listing.set_defaults(run=run_list)
    listing.add_argument("--task", choices=get_args(Task), help="default: both")
    listing.add_argument("--status", choices=get_args(Status))
    listing.add_argument("-q", "--query", help="words of the text or the transcript")
    listing.add_argument("-n", "--number", type=int, default=20, help="how many (default 20)")

    show = actions.add_parser("show", parents=[common], help="all about one")
    show.set_defaults(run=run_show)
    show.add_argument("job", metavar="ID")
    show.add_argument("-f", "--format", choices=("txt", "srt", "vtt"), help="a transcription as text or subtitles")

    wait = actions.add_parser("wait", parents=[common], help="until they have ended; fails where one failed")
    wait.set_defaults(run=run_wait)
    wait.add_argument("jobs", metavar="ID", nargs="+")
    wait.add_argument("--within", type=float, metavar="SECONDS", help="the longest to wait for each")

    cancel = actions.add_parser("cancel", parents=[common], help="cancel what runs, delete what has ended")
    cancel.set_defaults(run=run_cancel)
    cancel.add_argument("jobs", metavar="ID", nargs="+")


def run_list(speech: Speech, arguments: argparse.Namespace) -> int:
    jobs = _newest(speech, arguments)
    if arguments.json:
        for job in jobs:
            say_json({"task": job.task, **job.raw})
    else:
        rows = [(job.job_id, job.task, job.status, _time(job), _about(job)) for job in jobs]
        table(rows, ("id", "task", "status", "created", "text"))
    return DONE


def _newest(speech: Speech, arguments: argparse.Namespace) -> list[Job]:
    """Of both tasks together; those that the key may see."""
    found: list[Job] = []
    tasks: tuple[Task, ...] = (arguments.task,) if arguments.task else get_args(Task)
    refused: list[PermissionDenied] = []
    size = max(1, min(100, arguments.number))
    for task in tasks:
        listed = speech.jobs.list(task, status=arguments.status, q=arguments.query, page_size=size)
        try:
            found += itertools.islice(listed, arguments.number)
        except PermissionDenied as refusal:
            refused.append(refusal)
    if len(refused) == len(tasks):
        raise refused[0]
    return sorted(found, key=_time, reverse=True)[: arguments.number]


def _time(job: JobState) -> str:
    return job.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if job.created_at else ""


def _about(job: Job) -> str:
    text = job.text or ""
    if job.error:
        text = job.error.message
    elif not isinstance(job, SpeechJob) and not text:
        text = job.filename
    return text[:80]


def run_show(speech: Speech, arguments: argparse.Namespace) -> int:
    if arguments.format:
        print(speech.stt.export(arguments.job, arguments.format).rstrip("\n"))
        return DONE
    _show(speech.jobs.get(arguments.job), arguments)
    return DONE


def _show(job: Job, arguments: argparse.Namespace) -> None:
    if arguments.json:
        say_json({"task": job.task, **job.raw})
        return
    known = {"task": job.task, **job.raw}
    values = [(name, known[name]) for name in FIELDS if known.get(name) not in (None, "")]
    table(values, ("field", "value"))


def run_wait(speech: Speech, arguments: argparse.Namespace) -> int:
    code = DONE
    for job_id in arguments.jobs:
        try:
            job = _wait(speech, job_id, arguments.within)
        except JobFailed as failure:
            job, code = failure.job, FAILED
            complain(failure, about=job_id)
        if arguments.json:
            say_json({"task": job.task, **job.raw})
        else:
            table([(job.job_id, job.status, _about(job))], ("id", "status", "text"))
    return code


def _wait(speech: Speech, job_id: str, within: float | None) -> Job:
    with Bar(job_id) as bar:
        return speech.jobs.wait(
            job_id, timeout=within, on_progress=lambda state: bar.show(state.progress, state.stage or state.status)
        )


def run_cancel(speech: Speech, arguments: argparse.Namespace) -> int:
    code = DONE
    for job_id in arguments.jobs:
        try:
            speech.jobs.cancel(job_id)
        except NotFound as error:
            code = complain(error, about=job_id)
    return code
