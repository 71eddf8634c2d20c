#!/usr/bin/env python3
"""Runs a Dockerfile's instructions where there is no container engine: overlay mounts and chroot. Needs root, Linux.

    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm /tmp/root
    python scripts/dry_run_dockerfile.py --target cpu --base /tmp/root --work /tmp/dry-run

Each stage is a folder on top of the one below, as an engine's layers are; FROM an image means --base. RUN lines run as
they stand, in a mount namespace of their own. Afterwards it is said which libraries of wheels miss one of the system's,
and the image's server speaks and hears, as its user, on a read-only root. Cache mounts, labels and VOLUME do nothing
here. The machine's ways to package registries (pip's configuration, certificates) are lent to RUN lines.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LENT = ("PIP_", "SSL_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
LENT_FILES = ("/etc/pip.conf", "/etc/xdg/pip", "/root/.config/pip/pip.conf", "/etc/resolv.conf", "/etc/hosts")
MISSING_LIBRARIES = (
    "find /opt/venv /app -name '*.so*' -type f -exec sh -c "
    '\'ldd "$1" 2>/dev/null | sed -n "s|^\\s*\\(.*\\) => not found|\\1 ($1)|p"\' _ {} \\;'
)


@dataclass
class Stage:
    name: str
    layers: list[Path]  # the uppermost first
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def instructions(text: str) -> list[tuple[str, str]]:
    """(NAME, the rest) of each; comments and line continuations as Docker reads them."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages_for(target: str, steps: list[tuple[str, str]]) -> set[str]:
    """The target and all that it stands on or copies from: an engine builds no others either."""
    uses: dict[str, set[str]] = {}
    for name, rest in steps:
        if name == "FROM":
            source, _, stage = rest.partition(" AS ")
            uses[stage] = {source}
        elif found := re.match(r"--from=(\S+)", rest):
            uses[stage].add(found[1])
    needed, more = set(), {target}
    while more:
        needed |= more
        more = {source for stage in more for source in uses.get(stage, ())} - needed
    return needed


class Build:
    def __init__(self, base: Path, work: Path, context: Path) -> None:
        self.base, self.work, self.context = base, work, context
        self.stages: dict[str, Stage] = {}
        self.arguments: dict[str, str] = {}
        self.stage: Stage

    def run(self, target: str) -> Stage:
        steps, wanted = instructions((self.context / "Dockerfile").read_text()), True
        needed = stages_for(target, steps)
        for name, rest in steps:
            if name == "FROM":
                wanted = rest.partition(" AS ")[2] in needed
            if not wanted:
                continue
            print(f"{name} {rest[:110]}", flush=True)
            getattr(self, f"_{name.lower()}", lambda _: None)(rest)
        return self.stages[target]

    # ── Instructions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _from(self, rest: str) -> None:
        source, _, name = rest.partition(" AS ")
        below = self.stages.get(source)
        upper = self.work / name
        upper.mkdir(parents=True)
        layers = [upper, *(below.layers if below else [self.base])]
        inherited = {
            "environment": dict(below.environment), "folder": below.folder, "user": below.user,
            "command": below.command, "health": below.health,
        } if below else {"environment": {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}}  # fmt: skip
        self.stage = self.stages[name] = Stage(name, layers, **inherited)  # type: ignore[arg-type]

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.arguments.setdefault(name, value)

    def _env(self, rest: str) -> None:
        for part in shlex.split(rest):
            name, _, value = part.partition("=")
            self.stage.environment[name] = re.sub(r"\$\{?(\w+)\}?", lambda m: self._value(m[1]), value)

    def _value(self, name: str) -> str:
        return self.stage.environment.get(name, self.arguments.get(name, ""))

    def _workdir(self, rest: str) -> None:
        self.stage.folder = rest
        (self.stage.layers[0] / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _user(self, rest: str) -> None:
        self.stage.user = rest

    def _cmd(self, rest: str) -> None:
        self.stage.command = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self.stage.health = json.loads(rest.partition("CMD ")[2])

    def _copy(self, rest: str) -> None:
        words = shlex.split(rest)
        source_stage = next((word.partition("=")[2] for word in words if word.startswith("--from=")), None)
        *sources, target = (word for word in words if not word.startswith("--"))
        into = self.stage.layers[0] / os.path.join(self.stage.folder, target).lstrip("/")
        into.mkdir(parents=True, exist_ok=True)
        for source in sources:
            if source_stage:
                self._copy_stage(self.stages[source_stage], source, into)
            elif source == ".":
                shutil.copytree(self.context, into, dirs_exist_ok=True, ignore=ignored(self.context), symlinks=True)
            else:
                shutil.copy2(self.context / source, into / source)

    def _copy_stage(self, stage: Stage, source: str, into: Path) -> None:
        for layer in reversed(stage.layers[:-1]):
            if (found := layer / source.lstrip("/")).is_dir():
                subprocess.run(["cp", "-a", f"{found}/.", str(into)], check=True)

    def _run(self, rest: str) -> None:
        command = re.sub(r"--mount=\S+\s*", "", rest)
        enter(self.stage, ["sh", "-c", command], work=self.work, lend=True)


def ignored(context: Path) -> Callable[[str, list[str]], list[str]]:
    """What .dockerignore keeps out, as shutil.copytree asks."""
    patterns = [line for line in (context / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]
    expressions = [re.compile(_expression(pattern)) for pattern in patterns]

    def ignore(folder: str, names: list[str]) -> list[str]:
        below = Path(folder).relative_to(context)
        return [name for name in names if any(e.fullmatch((below / name).as_posix()) for e in expressions)]

    return ignore


def _expression(pattern: str) -> str:
    parts = [re.escape(part).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*") for part in [pattern.rstrip("/")]]
    return parts[0]


def enter(
    stage: Stage, command: list[str], *, work: Path, lend: bool = False, user: str = "0:0", read_only: bool = False,
    mounts: dict[str, Path] | None = None, variables: dict[str, str] | None = None,
) -> None:  # fmt: skip
    """Runs a command inside the stage's file system. mounts: folders of this machine, by where they appear."""
    merged, scratch = work / ".merged", work / f".scratch-{stage.name}"
    for folder in (merged, scratch):
        folder.mkdir(exist_ok=True)
    upper, *lower = stage.layers
    places = {**(mounts or {}), **(lent_files() if lend else {})}
    script = [
        f"mount -t overlay overlay -o lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={scratch} {merged}",
        f"mount -t proc proc {merged}/proc || mount --rbind /proc {merged}/proc",
        f"mount --rbind /dev {merged}/dev",
        f"mount -t tmpfs -o mode=1777 tmpfs {merged}/tmp",
        *(line for inside, outside in places.items() for line in bound(merged, inside, outside)),
        *([f"mount -o remount,ro {merged}"] if read_only else []),
        f"exec chroot --userspec={user} {merged} env -i {assignments(stage, lend, variables)} "
        f"sh -c {shlex.quote(f'cd {stage.folder} && exec ' + shlex.join(command))}",
    ]
    subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join(script)], check=True)


def bound(merged: Path, inside: str, outside: Path) -> list[str]:
    target = f"{merged}{inside}"
    made = f"mkdir -p {target}" if outside.is_dir() else f"mkdir -p {os.path.dirname(target)}; touch {target}"
    return [made, f"mount --bind {outside} {target}"]


def lent_files() -> dict[str, Path]:
    named = [os.environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE", "PIP_FIND_LINKS")]
    return {path: Path(path) for path in {*LENT_FILES, *named} if path.startswith("/") and Path(path).exists()}


def assignments(stage: Stage, lend: bool, variables: dict[str, str] | None) -> str:
    lent = {name: value for name, value in os.environ.items() if lend and name.upper().startswith(LENT)}
    return shlex.join(f"{name}={value}" for name, value in {**lent, **stage.environment, **(variables or {})}.items())


SPEAK_AND_HEAR = """
import json, os, sys, urllib.request as web
def call(path, body, kind="application/json", **headers):
    request = web.Request("http://127.0.0.1:8000/api/v1" + path, body, {"Content-Type": kind, **headers})
    return json.load(web.urlopen(request, timeout=60))
login = {"email": "owner@acme.dev", "password": os.environ["SEED_PASSWORD"]}
key = {"Authorization": "Bearer " + call("/auth/login", json.dumps(login).encode())["access_token"]}
job = call("/tts/synthesize", json.dumps({"text": "One two three four five.", "format": "mp3"}).encode(), **key)
sound = web.urlopen(job["audio_url"]).read()
head = b'--x\\r\\nContent-Disposition: form-data; name="audio_file"; filename="a.mp3"\\r\\n\\r\\n'
form = head + sound + b"\\r\\n--x--\\r\\n"
print("heard:", call("/stt/transcribe", form, "multipart/form-data; boundary=x", **key)["text"])
"""


def try_out(stage: Stage, work: Path) -> None:
    """The image as it would run: its user, a read-only root, /data and /models writable, nothing else.

    Its server gets healthy, says something, hears it (children for engines and decoders included), and ends when told.
    """
    data = work / ".data"
    for folder in (data, data / "models"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, 10001, 10001)
    mounts = {"/data": data, "/models": data / "models"}
    settings = {"SECRET_KEY": "x" * 60, "ALLOWED_HOSTS": "127.0.0.1", "SEED_PASSWORD": "not the default", "HTTPS": "no"}
    script = (
        f"python3 manage.py release && {{ {shlex.join(stage.command)} & }} && server=$!; "
        "trap 'kill $server 2>/dev/null' EXIT; "
        f"for i in $(seq 60); do sleep 1; {shlex.join(stage.health)} 2>/dev/null && break; done; "
        f"python3 -c {shlex.quote(SPEAK_AND_HEAR)} && kill -TERM $server && wait $server"
    )
    enter(stage, ["sh", "-c", script], work=work, user=stage.user, read_only=True, mounts=mounts, variables=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="cpu")
    parser.add_argument(
        "--base", type=Path, default=Path("/"), help="A root file system with Python (default: this one)"
    )
    parser.add_argument("--work", type=Path, required=True, help="A folder that does not exist yet, for the layers.")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("Mounting and chroot need root.")
    work = arguments.work.resolve()
    work.mkdir(parents=True)
    stage = Build(arguments.base.resolve(), work, ROOT).run(arguments.target)
    print("Libraries that no wheel and no package brings:", flush=True)
    enter(stage, ["sh", "-c", MISSING_LIBRARIES], work=work)
    try_out(stage, work)
    print(f"{arguments.target}: built; as {stage.user} on a read-only root its server spoke, heard and ended.")


if __name__ == "__main__":
    main()
