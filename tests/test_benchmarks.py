"""Every measurement stands in the table that says how to run it."""

from __future__ import annotations

import ast
import re

from tests.platform_process import ROOT

FOLDER = ROOT / "benchmarks"
FILES = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"}


def table() -> dict[str, list[str]]:
    """File → its other cells."""
    lines = (FOLDER / "README.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_every_benchmark_is_listed_with_all_that_one_needs_to_know() -> None:
    assert set(table()) == FILES
    for name, cells in table().items():
        assert len(cells) == 5, name
        assert all(cells), name


def test_commands_name_their_file() -> None:
    for name, (_, command, *_) in table().items():
        runs = "__main__" in (FOLDER / name).read_text()
        assert runs == (f"benchmarks/{name}" in command or f"-m benchmarks.{name[:-3]}" in command), name


def test_what_is_named_elsewhere_exists() -> None:
    """In the documentation and in comments."""
    sources = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ml/**/*.py"), *ROOT.glob("tests/**/*.py")]
    for path in sources:
        for name in re.findall(r"benchmarks[/.](\w+)(?:\.py\b|`| )", path.read_text()):
            assert f"{name}.py" in FILES, (path, name)


def test_each_says_what_it_measures() -> None:
    for name in FILES:
        assert ast.get_docstring(ast.parse((FOLDER / name).read_text())), name
