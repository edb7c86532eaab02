"""The house: four wings that do not know each other on one ground floor, and the rules every file keeps."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
WINGS = ("builders", "annotation", "baselines", "leaderboard")
FILES = [path for folder in ("srgaze360", *WINGS) for path in sorted((REPOSITORY / folder).rglob("*.py"))]
NAMES = [path.relative_to(REPOSITORY).as_posix() for path in FILES]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module).partition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_wings_know_the_ground_floor_and_not_each_other(path: Path) -> None:
    place = path.relative_to(REPOSITORY).parts
    others = set(WINGS) - {place[0]}
    if place[:2] == ("srgaze360", "cli"):
        others = set()  # the front door drives every wing
    assert not others & set(imported(path))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_say_what_they_are_and_are_not_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(tree(path)), "a file opens with what it is"
    assert len(text.splitlines()) <= 450, "one concept per file"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_asserts_prints_or_pickles(path: Path) -> None:
    for node in ast.walk(tree(path)):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: users need an error they can act on"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"print", "eval", "exec"}, f"line {node.lineno}"
    assert not {"pickle", "dill", "joblib", "shelve"} & set(imported(path))


def test_listing_commands_imports_nothing_heavy() -> None:
    """What keeps ``--help`` fast: no array, image or table library is imported until a command runs."""
    script = (
        "import sys; sys.argv = ['srgaze360', '--help']\n"
        "from srgaze360.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'pandas', 'scipy', 'pyarrow', 'matplotlib', 'torch', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "leaderboard" in done.stdout
