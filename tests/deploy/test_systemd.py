"""deploy/systemd, as systemd itself reads it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.checks import grace_problems, tool
from tests.platform_process import ROOT

FOLDER = ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in FOLDER.glob("*.service"))
EXPOSURE = "20"
"""Of systemd-analyze's scale to 100; a service without any hardening has 96."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """With this machine's Python for the one in /opt/speech, and one worker of many."""
    for path in (*FOLDER.glob("*.service"), *FOLDER.glob("*.target"), *FOLDER.glob("*.timer")):
        text = path.read_text().replace("/opt/speech/.venv/bin/python", sys.executable)
        (tmp_path / path.name.replace("@.", "@1.")).write_text(text)
    return sorted(tmp_path.iterdir())


def test_units_are_right_and_locked_down(units: list[Path]) -> None:
    assert len(units) == 6
    verified = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    ours = [line for line in verified.stderr.splitlines() if "speech" in line]
    assert ours == []
    for unit in units:
        if unit.suffix == ".service":
            command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", str(unit)]
            judged = subprocess.run(command, capture_output=True, text=True, check=False)
            assert judged.returncode == 0, judged.stdout


def test_settings_are_the_platforms_and_leave_time_to_end() -> None:
    example = (FOLDER / "speech.env.example").read_text()
    settings = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", example, flags=re.MULTILINE))
    known = set(re.findall(r"^([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert set(settings) <= known
    for name in ("speech-web.service", "speech-worker@.service"):
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string((FOLDER / name).read_text())
        assert not grace_problems(drain=int(settings["DRAIN_SECONDS"]), grace=int(unit["Service"]["TimeoutStopSec"]))
