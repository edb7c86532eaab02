"""Rooms without people, as background panoramas: furnished scenes whose figures have left. Files are PNG, 2:1."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2

from builders.procedural.layout import sample_scene
from builders.procedural.render import render_panorama
from builders.procedural.scene import Scene
from srgaze360.console import silent
from srgaze360.errors import InputError
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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"Expected an empty or a new folder for background panoramas; {out} holds something. Name another one."
        )
    make = partial(_write_room, out, seed, width)
    if workers == 1:
        for index in range(count):
            progress(make(index))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for done in pool.map(make, range(count)):
            progress(done)


def _write_room(out: Path, seed: int, width: int, index: int) -> int:
    room = without_people(sample_scene(seed, FIRST_SCENE + index, "around"))
    write_image(out / f"room-{index:04d}.png", render_panorama(room, width, supersample=2))
    return 1
