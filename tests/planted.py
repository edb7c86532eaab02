"""Builds from listings made by hand, and where the planted dot is found on their panoramas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from photos import DOT, write_gazefollow

from builders.building.pipeline import SourceFolder, build, plan_build
from builders.panorama.compose import Job, Made, make_panorama
from builders.plan import Task, make_plan
from builders.recipe import Recipe, load_recipe
from builders.sources import gazefollow
from builders.sources.base import Listing, Source
from srgaze360 import sphere
from srgaze360.dataset import Dataset

WIDTH = 1024
PIXEL = sphere.TWO_PI / WIDTH
CELLS, AREAS = sphere.cell_directions(WIDTH, WIDTH // 2), sphere.cell_solid_angles(WIDTH, WIDTH // 2)
HEAD = (0, 255, 0)
SIZED = ("output.width=1024", "output.format=png")


def run(out: Path, recipe: Recipe, listing: Listing, root: Path, kind: str = "gazefollow") -> Dataset:
    """Build from a listing made by hand."""
    source = replace(gazefollow.SOURCE, kind=kind)
    assert isinstance(source, Source)
    folders = [SourceFolder(source, root, listing)]
    build(plan_build(recipe, folders, None), recipe, folders, None, out)
    return Dataset.open(out)


def dot_near(panorama: np.ndarray, label: sphere.FloatArray, colour: tuple[int, int, int] = DOT, within: float = 6.0) -> float:
    """Angle, in panorama pixels, from the label to the centre of gravity of the dot's colour around it."""
    near = CELLS @ label > np.cos(np.radians(within))
    pixels = panorama[near].astype(np.float64)
    tint = pixels @ (np.array(colour) / 255.0 - np.mean(colour) / 255.0)  # 0 for grey
    areas = np.broadcast_to(AREAS, near.shape)[near]
    weight = np.clip(tint - tint.max() / 3.0, 0.0, None) * areas
    assert tint.max() > 30.0, "no dot near the label"
    return float(sphere.angle_between(sphere.spherical_mean(CELLS[near], weight).direction, label)) / PIXEL


def one_photo(tmp_path: Path, **known: Any) -> tuple[Listing, Path]:
    write_gazefollow(tmp_path / "gf", test=1)  # 640 x 480
    listing = gazefollow.read(tmp_path / "gf", gazefollow.GazeFollowOptions())
    return replace(listing, photos=(replace(listing.photos[0], **known),)), tmp_path / "gf"


def canonical(*settings: str) -> Recipe:
    only = [f"suites.{name}=null" for name in load_recipe("suites").suites if name != "canonical"]
    return load_recipe("suites", [*SIZED, *only, *settings])


def make_all(root: Path, recipe: Recipe, listing: Listing, out: Path) -> list[tuple[Task, Made]]:
    """Carry out every task of a plan, without a build around it."""
    tasks = make_plan(recipe, {"gazefollow": listing}).tasks
    job = Job(recipe, {"gazefollow": root}, out)
    return [(task, make_panorama(task, job)) for task in tasks]


def only(*suites: str, sized: str = "output.width=256") -> list[str]:
    """Settings that leave some suites of recipe ``suites``, small."""
    return [sized, "output.format=png", *(f"suites.{name}=null" for name in load_recipe("suites").suites if name not in suites)]
