"""What a User-Agent header says, for people: `Firefox on Linux`. A guess, for recognising one's own devices."""

from __future__ import annotations

import re

_PROGRAMS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("python-httpx", "Python"),
    ("python-requests", "Python"),
    ("curl/", "curl"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def describe(user_agent: str) -> str:
    """The program and the system; the program's own name where it is none of the usual; empty for nothing."""
    program = next((name for mark, name in _PROGRAMS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if not program:
        match = re.match(r"[\w.-]{1,40}", user_agent)
        program = match[0] if match else ""
    return f"{program} on {system}" if program and system else program or system
