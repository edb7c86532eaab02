"""Rooms without people, as background panoramas: furnished scenes whose figures have left. Files are PNG, 2:1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from builders.procedural.layout import sample_scene
from builders.procedural.render import render_panorama
from builders.procedural.scene import Scene
from builders.procedural.spread import check_empty, spread
from srgaze360.console import silent
from srgaze360.images import write_image

WIDTH = 1024
BACKGROUNDS = 10  # rooms made unless told otherwise: every split gets two or more
FIRST_SCENE = 1_000_000  # far from the scenes of photos: a background shows no room that a photo was taken in


def without_people(scene: Scene) -> Scene:
    """The scene after everybody has left, with what they held."""
    gone = {entity for figure in scene.figures for entity in (figure.entity, figure.held)}
    return replace(scene, figures=(), solids=tuple(solid for solid in scene.solids if solid.entity not in gone))


def write_background_panoramas(
    out: Path, count: int, seed: int, *, width: int = WIDTH, workers: int = 1, progress: Callable[[int], None] = silent
) -> None:
    """Render ``count`` rooms without people to ``out`` as panoramas, a function of ``seed`` alone.

    Raises
    ------
    InputError
        ``out`` holds something.
    """
    check_empty(out, "background panoramas")
    for done in spread(partial(_write_room, out, seed, width), range(count), workers):
        progress(done)


def _write_room(out: Path, seed: int, width: int, index: int) -> int:
    room = without_people(sample_scene(seed, FIRST_SCENE + index, "around"))
    write_image(out / f"room-{index:04d}.png", render_panorama(room, width, supersample=2))
    return 1
