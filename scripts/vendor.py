"""Fetches the front-end parts at their pinned versions: `make vendor`. Only for whoever changes a version; needs npm.

What it writes is committed: static/vendor/ (served to browsers), tests/vendor/ (for tests alone), each part in a folder
of its own beside its licence. Every tarball is compared with the hash below before anything of it is used.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static" / "vendor"
TESTS = ROOT / "tests" / "vendor"
ICON_NAMES = ROOT / "scripts" / "icons.txt"


@dataclass(frozen=True, slots=True)
class Part:
    """One npm package. files: from a path in the tarball to a path in `folder`."""

    package: str
    version: str
    integrity: str  # sha512, in base64, as registries publish it
    folder: Path
    files: dict[str, str] = field(default_factory=dict)


_INTER = ("latin", "latin-ext", "cyrillic", "cyrillic-ext", "greek", "greek-ext", "vietnamese")

PARTS = (
    Part(
        "htmx.org",
        "2.0.11",
        "Thx/WtpeOQqSrqBCw/A1cwGJGg4UrVa3+sW0GmrM3p4gJgO89ecH4qtbnyzDDWFvBTqjnIMCgELTNt636dtamA==",
        STATIC / "htmx",
        {"dist/htmx.min.js": "htmx.min.js", "LICENSE": "LICENSE"},
    ),
    Part(
        "wavesurfer.js",
        "8.0.1",
        "h0OnRWSVTqIYLSw3/IVrBtsun/xw9L5u4FA3bjfSDTFMX/xswVWS1JwK4fFu3ulmxRUSHg8zQORl6zENG983eg==",
        STATIC / "wavesurfer",
        {"dist/wavesurfer.esm.js": "wavesurfer.js", "dist/plugins/regions.esm.js": "regions.js", "LICENSE": "LICENSE"},
    ),
    Part(
        "uplot",
        "1.6.32",
        "KIMVnG68zvu5XXUbC4LQEPnhwOxBuLyW1AHtpm6IKTXImkbLgkMy+jabjLgSLMasNuGGzQm/ep3tOkyTxpiQIw==",
        STATIC / "uplot",
        {"dist/uPlot.iife.min.js": "uplot.js", "dist/uPlot.min.css": "uplot.css", "LICENSE": "LICENSE"},
    ),
    Part(
        "@fontsource-variable/inter",
        "5.3.0",
        "OupL48va4JNofb97w6NYeF9S7W/kHNKM0Er8Dem5nqi4jeOLrVJDoE8tZEpnMJmtkvNbB1EIPPwHcdkF6b1oUA==",
        STATIC / "inter",
        {**{f"files/inter-{name}-wght-normal.woff2": f"{name}.woff2" for name in _INTER}, "LICENSE": "LICENSE"},
    ),
    Part(
        "lucide-static",
        "1.62.0",
        "WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==",
        STATIC / "lucide",
        {"LICENSE": "LICENSE"},
    ),
    Part(
        "axe-core",
        "4.14.1",
        "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        TESTS / "axe",
        {"axe.min.js": "axe.min.js", "LICENSE": "LICENSE"},
    ),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            archive = _fetch(part, Path(folder))
            for source, target in part.files.items():
                _write(part.folder / target, _read(archive, source))
            if part.package == "lucide-static":
                _write(part.folder / "sprite.svg", _sprite(archive).encode())
    _as_module(STATIC / "uplot" / "uplot.js", "uPlot")


def _fetch(part: Part, folder: Path) -> tarfile.TarFile:
    command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{part.package}@{part.version}"]
    name = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout.split()[-1]
    content = (folder / name).read_bytes()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != part.integrity:
        raise SystemExit(f"{part.package}@{part.version}: sha512 is {found}, expected {part.integrity}")
    return tarfile.open(fileobj=io.BytesIO(content))


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/{name}")
    if file is None:
        raise SystemExit(f"the package has no {name}")
    return file.read()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(re.sub(rb"\n//# sourceMappingURL=\S+\s*$", b"\n", content))


def _as_module(path: Path, name: str) -> None:
    """uPlot's own module is not minified (145 kB, against 51 kB): its script gets an export instead."""
    path.write_text(f"{path.read_text().rstrip()}\nexport default {name};\n")


def _sprite(archive: tarfile.TarFile) -> str:
    """The icons that scripts/icons.txt names, as one file of symbols."""
    names = [line for line in ICON_NAMES.read_text().split() if line]
    symbols = [_symbol(name, _read(archive, f"icons/{name}.svg").decode()) for name in sorted(set(names))]
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


def _symbol(name: str, svg: str) -> str:
    shapes = re.sub(r"\s*\n\s*", "", svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")])
    return f'<symbol id="{name}" viewBox="0 0 24 24">{shapes.replace(" />", "/>")}</symbol>'


if __name__ == "__main__":
    main()
