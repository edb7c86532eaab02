"""Recipes that render their own source: no source is needed, nothing is rendered twice, the name is earned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from building import run_command

from builders.building import rendered
from builders.building.rendered import pictures, render_sources
from builders.building.verify import verify
from builders.recipe import load_recipe
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError

FEW = ("rendered.photos=10", "rendered.panoramas=8", "rendered.backgrounds=3", "output.width=128")
WORDS = [word for setting in FEW for word in ("--set", setting)]
# suites of many conditions, built elsewhere; what is left has photos on empty spheres and in rooms, and rendered panoramas
FEWER = [word for suite in ("fov", "latitude", "lens", "tilt16", "roll") for word in ("--set", f"suites.{suite}=null")]


def test_the_procedural_benchmark_needs_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("build", "procedural-benchmark", "--out", str(tmp_path / "out"), "--workers", "1", "--json", *WORDS, *FEWER)
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


class Renderers:
    """What stands for the two renderers: writes a file that says what was asked for, and keeps count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.fails = False
        monkeypatch.setattr(rendered, "write_gazefollow_folder", self.photos)
        monkeypatch.setattr(rendered, "write_background_panoramas", self.rooms)

    def photos(self, out: Path, photos: int, seed: int, *, panoramas: int, width: int, **rest: Any) -> None:
        self._write(out, f"{photos} photos, {panoramas} panoramas of {width}, seed {seed}")
        rest["progress"](photos + panoramas)

    def rooms(self, out: Path, count: int, seed: int, **rest: Any) -> None:
        self._write(out, f"{count} rooms, seed {seed}")
        rest["progress"](count)

    def _write(self, out: Path, what: str) -> None:
        self.calls.append(what)
        out.mkdir(parents=True, exist_ok=True)  # the real ones take an empty folder, too
        (out / "half.jpg").touch()
        if self.fails:
            raise KeyboardInterrupt
        (out / "what").write_text(what)


def test_scenes_are_rendered_once_for_each_setting_and_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renderers = Renderers(monkeypatch)
    seen: dict[str, str] = {}
    for changes in ((), ("rendered.seed=1",), ("rendered.photos=9",), ("rendered.backgrounds=2",), ("output.width=256",)):
        recipe = load_recipe("procedural-benchmark", [*FEW, *changes])
        wanted = recipe.rendered
        assert wanted is not None
        expected = [
            f"{wanted.photos} photos, {wanted.panoramas} panoramas of {recipe.output.width}, seed {wanted.seed}",
            f"{wanted.backgrounds} rooms, seed {wanted.seed}",
        ]
        assert pictures(recipe) == wanted.photos + wanted.panoramas + wanted.backgrounds
        for turn in range(2):
            done: list[int] = []
            renderers.calls.clear()
            sources = dict(pair.split("=", 1) for pair in render_sources(recipe, tmp_path, advance=done.append))
            assert renderers.calls == (expected if turn == 0 else [])
            assert [(Path(sources[kind]) / "what").read_text() for kind in ("procedural", "panoramas")] == expected
            assert sum(done) == pictures(recipe), "what is found counts as done"
        assert seen.setdefault(sources["procedural"], str(changes)) == str(changes), "another recipe's scenes"
    none = load_recipe("procedural-benchmark", [*FEW, "rendered.backgrounds=0"])
    assert [pair.partition("=")[0] for pair in render_sources(none, tmp_path)] == ["procedural"]


def test_rooms_that_were_left_half_done_are_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renderers = Renderers(monkeypatch)
    recipe = load_recipe("procedural-benchmark", FEW)
    renderers.fails = True
    monkeypatch.setattr(rendered, "write_gazefollow_folder", lambda out, *_, **__: out.mkdir(parents=True))
    with pytest.raises(KeyboardInterrupt):
        render_sources(recipe, tmp_path)
    renderers.fails = False
    rooms = Path(render_sources(recipe, tmp_path)[1].partition("=")[2])
    assert (rooms / "what").is_file()
    assert [path.name for path in rooms.parent.iterdir() if "partial" in path.name] == []


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


def test_parts_do_not_render_the_same_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", "procedural-benchmark", "--out", str(tmp_path / "out"), "--workers", "1", *WORDS]
    early = run_command(capsys, *words, "--shard", "1/2")
    assert early.code == 2
    assert "Run the same command once with --dry-run in place of --shard" in " ".join(early.err.split())
    assert run_command(capsys, *words, "--dry-run").code == 0
    assert run_command(capsys, *words, "--shard", "1/2").code == 0
