"""Recipes that render their own source: no source is needed, nothing is rendered twice, the name is earned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from building import run_command

from builders.building.rendered import render_sources
from builders.building.verify import verify
from builders.recipe import load_recipe
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError

FEW = ("rendered.photos=10", "rendered.panoramas=8", "rendered.backgrounds=3", "output.width=128")
WORDS = [word for setting in FEW for word in ("--set", setting)]


def test_the_procedural_benchmark_needs_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("build", "procedural-benchmark", "--out", str(tmp_path / "out"), "--workers", "1", "--json", *WORDS)
    first = run_command(capsys, *words)
    assert first.code == 0, first.err
    info = json.loads(first.out)["info"]
    assert info["name"] == "procedural-benchmark-custom"  # it was changed
    assert {source["kind"] for source in info["sources"]} == {"procedural"}
    assert info["backgrounds"][0]["photos"] >= 1
    assert {"mixed", "rendered", "rotated"} <= set(info["suites"])
    assert verify(tmp_path / "out") == []
    rendered = Dataset.open(tmp_path / "out").select(suite="rendered").annotations
    assert set(rendered["source_image"].str.partition("/")[0]) == {"panoramas"}
    assert rendered["gaze_lon_deg"].notna().all()

    scenes = next((tmp_path / "out" / ".build").glob("rendered-*"))
    times = {path: path.stat().st_mtime_ns for path in scenes.rglob("*.jpg")}
    again = run_command(capsys, *words, "--overwrite")
    assert again.code == 0, again.err
    assert json.loads(again.out)["info"]["pixel_digest"] == info["pixel_digest"]
    assert {path: path.stat().st_mtime_ns for path in scenes.rglob("*.jpg")} == times, "scenes were rendered again"


def test_a_folder_that_holds_something_else_is_not_rendered_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for more in ([], ["--overwrite"]):
        ran = run_command(capsys, "build", "procedural-benchmark", "--out", str(tmp_path), *WORDS, *more)
        assert ran.code == 2
        assert "thesis.tex" in ran.err
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_recipe_that_renders_nothing_wants_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="Expected a recipe that renders its source, found 'mixed'"):
        render_sources(load_recipe("mixed"), tmp_path)
    ran = run_command(capsys, "build", "mixed", "--out", str(tmp_path / "out"))
    assert ran.code == 2
    assert "Expected at least one --source with gaze labels, found none" in " ".join(ran.err.split())
