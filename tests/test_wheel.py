"""The wheel installs into a fresh environment and works there, far from the checkout."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def run(command: list[str | Path], cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY], tmp_path)
    wheel = next(tmp_path.glob("*.whl"))
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / "bin"
    run([binaries / "python", "-m", "pip", "install", "--quiet", "-c", REPOSITORY / "constraints.txt", wheel], tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "Everything is in order." in run([binaries / "srgaze360", "doctor"], elsewhere)
    assert "mixed" in run([binaries / "srgaze360", "recipes", "list"], elsewhere)
    run([binaries / "srgaze360", "demo", "--photos", "20", "--steps", "2", "--out", elsewhere / "demo"], elsewhere)
    assert (elsewhere / "demo" / "board" / "index.html").stat().st_size > 10_000
    assert str(REPOSITORY) not in run([binaries / "python", "-c", "import srgaze360; print(srgaze360.__file__)"], elsewhere)
