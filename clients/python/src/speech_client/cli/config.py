"""Where the server is and who one is: from options, the environment, or a file. There is no log-in.

~/.config/speech/config.toml (SPEECH_CONFIG names another):

    url = "https://speech.example.com"
    api_key = "sp_…"
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from speech_client.cli.output import UsageProblem


@dataclass(frozen=True)
class Config:
    url: str | None = None
    api_key: str | None = None


def config_file() -> Path:
    if named := os.environ.get("SPEECH_CONFIG"):
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "speech" / "config.toml"


def load(url: str | None = None) -> Config:
    """url: of an option, which goes before the environment, which goes before the file."""
    in_file = _read(config_file())
    return Config(
        url=url or os.environ.get("SPEECH_URL") or in_file.url,
        api_key=os.environ.get("SPEECH_API_KEY") or in_file.api_key,
    )


def _read(path: Path) -> Config:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Config(**values)
    except FileNotFoundError:
        return Config()
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageProblem(f"{path}: {error}") from None
    except TypeError:
        raise UsageProblem(f"{path}: it knows url and api_key only.") from None
