"""speech models, voices, usage"""

from __future__ import annotations

import argparse

from speech_client import PermissionDenied, Speech
from speech_client.cli.output import DONE, say_json, table


def add(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    models = commands.add_parser("models", parents=[common], help="what recognises and speaks")
    models.set_defaults(run=run_models)

    voices = commands.add_parser("voices", parents=[common], help="who can speak")
    voices.set_defaults(run=run_voices)
    voices.add_argument("-l", "--language", help="only these, such as en or en-GB")

    usage = commands.add_parser("usage", parents=[common], help="what was used, and what is left")
    usage.set_defaults(run=run_usage)
    usage.add_argument("--days", type=int, default=30, help="today included (default 30)")


def run_models(speech: Speech, arguments: argparse.Namespace) -> int:
    models = speech.models()
    if arguments.json:
        say_json(models.raw)
        return DONE
    rows = [
        (model.task, model.name, model.version, model.engine, model.status, "default" if model.default else "")
        for model in sorted(models.models, key=lambda model: (model.task, model.name))
    ]
    table(rows, ("task", "name", "version", "engine", "status", ""))
    return DONE


def run_voices(speech: Speech, arguments: argparse.Namespace) -> int:
    voices = speech.tts.voices(**({"language": arguments.language} if arguments.language else {}))
    if arguments.json:
        say_json(voices.raw)
        return DONE
    rows = [(voice.id, voice.language, voice.gender, voice.name, voice.model) for voice in voices.voices]
    table(rows, ("id", "language", "gender", "name", "model"))
    return DONE


def run_usage(speech: Speech, arguments: argparse.Namespace) -> int:
    try:
        usage, quota = speech.usage(days=arguments.days), speech.quota()
    except PermissionDenied as refusal:
        refusal.args = ("Usage is a member's to see: put an access token into SPEECH_API_KEY.",)
        raise
    if arguments.json:
        say_json({"usage": usage.raw, "quota": quota.raw})
        return DONE
    days = [day for day in usage.daily if day.tts_jobs or day.stt_jobs or day.failed_jobs]
    rows = [(day.date, day.tts_characters, round(day.stt_seconds, 1), day.tts_jobs, day.stt_jobs) for day in days]
    total = ("total", usage.total_tts_characters, round(usage.total_stt_seconds, 1), "", usage.total_jobs)
    table([*rows, total], ("date", "characters", "seconds heard", "spoken", "heard"))
    return DONE
