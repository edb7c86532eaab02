"""The front door: commands as people type them, exit codes, and errors of one paragraph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from photos import write_gazefollow, write_panoramas

from srgaze360.cli import COMMANDS, load_command


def run(*words: str | Path, debug: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "srgaze360", *(["--debug"] if debug else []), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_has_help(name: str) -> None:
    command = load_command(name)
    assert command.help


def test_help_lists_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_wrong_use_is_exit_code_2_and_says_so() -> None:
    assert run("biuld").returncode == 2
    done = run("recipes", "show", "mixd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: Expected the name of a shipped recipe")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback() -> None:
    done = run("recipes", "show", "mixd", debug=True)
    assert "Traceback" in done.stderr


def test_doctor_finds_this_machine_fit() -> None:
    done = run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["sampler"].endswith("exact")
    assert "gazefollow" in report["sources"]


def test_the_builders_journey(tmp_path: Path) -> None:
    write_gazefollow(tmp_path / "gf", test=3, scale=4)
    write_panoramas(tmp_path / "pano")
    checked = run("sources", "check", "gazefollow", tmp_path / "gf", "--images", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["splits"]["test"] == {"photos": 3, "people": 3, "in_frame": 3, "annotations": 9}
    sources = ("--source", f"gazefollow={tmp_path / 'gf'}", "--source", f"panoramas={tmp_path / 'pano'}")
    dry = run("build", "mixed", *sources, "--out", tmp_path / "out", "--dry-run")
    assert json.loads(dry.stdout)["panoramas"] == 3
    assert not (tmp_path / "out").exists()
    built = run("build", "mixed", *sources, "--out", tmp_path / "out", "--set", "output.width=256", "--json")
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["info"]["name"] == "mixed-custom"
    assert run("verify", tmp_path / "out").returncode == 0
    drawn = run("preview", tmp_path / "out", "--out", tmp_path / "sheet.png", "--count", "2")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "sheet.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    next((tmp_path / "out" / "panoramas").rglob("*.jpg")).unlink()
    spoilt = run("verify", tmp_path / "out")
    assert spoilt.returncode == 1
    assert "missing" in spoilt.stdout


def test_incomplete_sources_say_what_to_obtain(tmp_path: Path) -> None:
    planted = write_gazefollow(tmp_path / "gf", test=2, scale=4)
    (tmp_path / "gf" / planted[0].path).unlink()
    done = run("sources", "check", "gazefollow", tmp_path / "gf")
    assert done.returncode == 1
    assert "missing photos: 1" in done.stdout
    assert "To obtain it: GazeFollow" in done.stderr
