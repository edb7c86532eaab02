"""Small builds, for tests of the pipeline: a shipped recipe at a small size, from photos with a dot at the gaze target."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from builders.building.pipeline import BuildReport, build, build_part, plan_build
from builders.commands import open_sources
from builders.recipe import load_recipe
from srgaze360.cli import main

SMALL = ("output.width=512", "output.format=png")
PLAIN = (*SMALL, "suites.mixed.draw.background=black", "suites.background.vary.background=[black, blur]")
TINY = ("output.width=128", "output.format=jpeg", "suites.mixed.draw.background=black")


class Ran(NamedTuple):
    """What a command ended with."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], *words: str) -> Ran:
    """Run the program with some words, in this process."""
    with patch.object(sys, "argv", ["srgaze360", *words]), pytest.raises(SystemExit) as ended:
        main()
    return Ran(int(ended.value.code or 0), *capsys.readouterr())


def many(copies: int) -> tuple[str, ...]:
    """Settings of recipe ``mixed`` under which a few photos make many shards."""
    return (*TINY, f"suites.mixed.copies={copies}")


def run_build(
    out: Path, *pairs: str, recipe: str = "suites", settings: tuple[str, ...] = PLAIN, workers: int = 1, **rest: Any
) -> BuildReport:
    loaded = load_recipe(recipe, settings)
    gaze, background = open_sources(pairs, loaded.sources)
    plan = plan_build(loaded, gaze, background, rest.get("limit"))
    run: Any = build_part if "part" in rest else build
    return run(plan, loaded, gaze, background, out, workers=workers, **rest)


def command(out: Path, *pairs: str, recipe: str = "mixed", settings: tuple[str, ...] = TINY, **options: Any) -> list[str]:
    """The words of a build after the program's name."""
    words = ["build", recipe, "--out", str(out)]
    words += [word for pair in pairs for word in ("--source", pair)] + [word for s in settings for word in ("--set", s)]
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def rejected(out: Path) -> list[dict[str, str]]:
    with (out / "rejected.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def files(out: Path) -> dict[str, bytes]:
    """Every file of a dataset by path, without the build's own records and the figure."""
    found = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes() for name, path in found.items() if not name.startswith(".build") and name != "conditions.png"
    }
