"""The command `speech`.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong request, 3 credential, 4 limit or
quota, 5 unreachable or too late, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from speech_client import Speech, SpeechError, __version__
from speech_client.cli import config, info, jobs, say, stream, transcribe
from speech_client.cli.output import BROKEN_PIPE, INTERRUPTED, UsageProblem, complain, silence_stdout

EPILOG = """\
The server and the credential come from SPEECH_URL and SPEECH_API_KEY, or from ~/.config/speech/config.toml:
  url = "https://speech.example.com"
  api_key = "sp_…"

exit codes: 0 done, 1 failed, 2 wrong request, 3 credential, 4 limit or quota, 5 unreachable or too late,
130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="JSON, a line for each result")
    common.add_argument("--url", metavar="URL", help="of the server")
    common.add_argument("--timeout", type=float, metavar="SECONDS", help="that the server may be silent")
    top = argparse.ArgumentParser(
        prog="speech",
        description="Speech to text and text to speech on a speech platform.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"speech {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (say, transcribe, stream, jobs, info):
        module.add(commands, common)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; its exit code."""
    named = parser().parse_args(arguments)
    try:
        settings = config.load(named.url)
        options = {"timeout": named.timeout} if named.timeout else {}
        with Speech(settings.url, settings.api_key, **options) as speech:
            code: int = named.run(speech, named)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        silence_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (SpeechError, UsageProblem, OSError, ValueError) as error:
        return complain(error)
