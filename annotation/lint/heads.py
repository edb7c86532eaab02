"""Rules of heads: boxes that are boxes, directions inside them, sizes that a head can have, one person once.

Conventions
-----------
Boxes follow :mod:`srgaze360.headbox`. A box has one fault: the first of :data:`FAULTS` that is true of it, and rules that need
sound boxes leave the others out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.lint.labels import BOX, HEAD, PERSON, PHOTO, Labels
from annotation.lint.registry import Found, rule
from srgaze360 import headbox, sphere
from srgaze360.sphere import BoolArray, FloatArray

FAULTS = ("inverted", "empty", "outside", "full-width")
# A region that does not contain a pole is seen from it within half a turn if it bulges outwards, as heads do; strong lenses
# bend the sides of a box a little.
WIDEST = 0.6
LIKELY_WIDTH = 0.25  # of a turn: a box that is narrower across the seam was meant to cross it
LARGEST_DEG = 45.0  # angular radius: a head of 12 cm radius 12 cm away
# Radius over the half side of the box, the larger one, away from the poles: 1 for a square, down to 1/2 for a thin or a turned
# one, above 1 never but for the bulge of a strong lens.
RADIUS_RATIO = (0.35, 1.35)
FROM_POLE_DEG = 20.0
SAME_HEAD = 0.25  # of the smaller radius: heads nearer to each other than that are one head


def box_faults(boxes: FloatArray) -> NDArray[np.intp]:
    """Number in :data:`FAULTS` of the fault of each box (n, 4); their count where there is none."""
    u0, v0, u1, v1 = boxes.T
    reaches_pole = (u1 == u0 + 1.0) & ((v0 == 0.0) | (v1 == 1.0)) & (v1 - v0 < 0.5)  # and does not fill half of the sphere
    true_of = [
        (u1 < u0) | (v1 < v0),
        (u1 == u0) | (v1 == v0),
        (u0 < 0.0) | (u0 >= 1.0) | (u1 > u0 + 1.0) | (v0 < 0.0) | (v1 > 1.0),
        (u1 - u0 > WIDEST) & ~reaches_pole,
    ]
    return np.asarray(np.select(true_of, list(range(len(FAULTS))), default=len(FAULTS)), dtype=np.intp)


def sound_boxes(labels: Labels) -> BoolArray:
    """Rows (n,) whose boxes have no fault."""
    return np.asarray(box_faults(labels.boxes) == len(FAULTS))


def _told(labels: Labels, row: int) -> str:
    u0, v0, u1, v1 = labels.boxes[row].tolist()
    return f"box is ({u0:.6g}, {v0:.6g}, {u1:.6g}, {v1:.6g})"


def _with_fault(labels: Labels, fault: str) -> BoolArray:
    return np.asarray(box_faults(labels.boxes) == FAULTS.index(fault))


@rule("head-box-inverted", "error", needs=BOX, fix="Swap the sides; where the box crosses the seam, add 1 to u1.")
def inverted(labels: Labels) -> Iterator[Found]:
    """The sides of a head box are in order: u0 < u1 and v0 < v1."""

    def evidence(row: int) -> str:
        u0, _, u1, _ = labels.boxes[row]
        width = u1 + 1.0 - u0
        seam = u1 < u0 and width < LIKELY_WIDTH
        return _told(labels, row) + (f"; with u1 + 1 it crosses the seam and is {width:.4f} of a turn wide" if seam else "")

    yield from labels.found(_with_fault(labels, "inverted"), evidence)


@rule("head-box-empty", "error", needs=BOX, fix="Draw the box again, or remove the person.")
def empty(labels: Labels) -> Iterator[Found]:
    """A head box has width and height."""
    yield from labels.found(_with_fault(labels, "empty"), lambda row: _told(labels, row))


@rule("head-box-outside", "error", needs=BOX, fix="Bring u0 into [0, 1), u1 within one turn of it, v0 and v1 into [0, 1].")
def outside(labels: Labels) -> Iterator[Found]:
    """A head box lies on the panorama: 0 <= u0 < 1, u1 <= u0 + 1, 0 <= v0, v1 <= 1."""
    yield from labels.found(_with_fault(labels, "outside"), lambda row: _told(labels, row))


@rule("head-box-full-width", "error", needs=BOX, fix="If it crosses the seam, swap its sides and add 1 to u1.")
def full_width(labels: Labels) -> Iterator[Found]:
    """A head box spans most of the longitudes only where the head contains a pole, and then all of them up to the pole."""

    def evidence(row: int) -> str:
        u0, _, u1, _ = labels.boxes[row]
        return f"{_told(labels, row)}, {u1 - u0:.4f} of a turn wide; sorted across the seam it would be {u0 + 1.0 - u1:.4f}"

    yield from labels.found(_with_fault(labels, "full-width"), evidence)


@rule("head-outside-box", "error", needs=[*BOX, *HEAD], fix="Draw the box again, or take the head's direction from it.")
def outside_box(labels: Labels) -> Iterator[Found]:
    """The head's direction lies in its box."""
    rows = np.flatnonzero(sound_boxes(labels))
    inside = headbox.contains_direction(_widened(labels.boxes[rows]), labels.heads[rows])
    lon, lat = labels.numbers(*HEAD).T
    yield from labels.found(rows[~inside], lambda row: f"head at ({lon[row]:.4f}, {lat[row]:.4f}) deg, {_told(labels, row)}")


def _widened(boxes: FloatArray, by: float = 1e-7) -> FloatArray:
    """Boxes a little larger, for what was rounded."""
    u0, v0, u1, v1 = boxes.T
    left = np.mod(u0 - by, 1.0)
    wide = np.minimum(u1 - u0 + 2.0 * by, 1.0)
    return np.stack([left, np.maximum(v0 - by, 0.0), left + wide, np.minimum(v1 + by, 1.0)], axis=-1)


@rule("head-size", "error", needs=["head_radius_deg"], fix="Draw the box again, or remove the person.")
def size(labels: Labels) -> Iterator[Found]:
    """A head has a radius above 0 and not larger than any head would show (45 degrees)."""
    radius = labels.numbers("head_radius_deg")
    yield from labels.found((radius <= 0.0) | (radius > LARGEST_DEG), lambda row: f"head_radius_deg is {radius[row]:.6g}")


@rule("head-radius", "error", needs=[*BOX, "head_radius_deg"], fix="Compute head_radius_deg from the box, or draw it again.")
def radius_of_box(labels: Labels) -> Iterator[Found]:
    """The head's radius is that of its box."""
    radius = labels.numbers("head_radius_deg")
    u0, v0, u1, v1 = labels.boxes.T
    lat = 90.0 - 90.0 * (v0 + v1)
    half = np.maximum(180.0 * (u1 - u0) * np.cos(np.radians(lat)), 90.0 * (v1 - v0))
    told = sound_boxes(labels) & (np.abs(lat) + half < 90.0 - FROM_POLE_DEG) & (radius > 0.0) & (radius <= LARGEST_DEG)
    ratio = np.divide(radius, half, out=np.ones_like(radius), where=told)
    off = told & ((ratio < RADIUS_RATIO[0]) | (ratio > RADIUS_RATIO[1]))
    yield from labels.found(
        off, lambda row: f"head_radius_deg is {radius[row]:.4g}, half of the box's larger side {half[row]:.4g} deg"
    )


@rule("head-outside-photo", "error", needs=[*HEAD, *PHOTO], fix="Correct the head's direction, or the photo's pose.")
def outside_photo(labels: Labels) -> Iterator[Found]:
    """The head lies in the photo that the person is on."""
    rows = np.flatnonzero(labels.cameras.known())
    beyond = labels.cameras.beyond(rows, labels.pixels(rows, labels.heads[rows]))
    off = dict(zip(rows.tolist(), beyond.tolist(), strict=True))
    yield from labels.found(rows[beyond > slack(labels)[rows]], lambda row: outside_by(off[row]))


def slack(labels: Labels) -> FloatArray:
    """Pixels (n,) by which a direction may lie outside its photo: what rounding to 1e-5 of its sides does."""
    return np.asarray(1e-5 * labels.cameras.sizes().max(axis=1))


def outside_by(pixels: float) -> str:
    """Evidence for something that lies outside its photo."""
    return "the lens does not show that direction" if np.isinf(pixels) else f"{pixels:.4g} photo pixels outside of its photo"


@rule("repeated-person", "error", needs=PERSON, fix="Remove one of the rows.")
def repeated_person(labels: Labels) -> Iterator[Found]:
    """A person of a photo is on a panorama once."""
    codes = pd.Series(labels.codes("panorama_id", *PERSON))
    persons = [labels.texts(name) for name in PERSON]
    yield from labels.found(
        codes.duplicated().to_numpy(), lambda row: f"person {'/'.join(str(column[row]) for column in persons)} is there already"
    )


@rule("repeated-head", "warning", needs=[*HEAD, "head_radius_deg", *PERSON], fix="If it is one person, remove one of the rows.")
def repeated_head(labels: Labels) -> Iterator[Found]:
    """Two people of a panorama do not have the same head."""
    home, person = labels.codes("panorama_id"), labels.codes(*PERSON)
    radius = np.radians(labels.numbers("head_radius_deg"))
    order = np.argsort(home, kind="stable")
    reasons: dict[int, str] = {}
    for step in range(1, int(np.bincount(home, minlength=1).max())):
        a, b = order[:-step], order[step:]
        a, b = a[home[a] == home[b]], b[home[a] == home[b]]
        small, large = np.minimum(radius[a], radius[b]), np.maximum(radius[a], radius[b])
        near = sphere.angle_between(labels.heads[a], labels.heads[b]) < SAME_HEAD * small
        near &= (large < (1.0 + SAME_HEAD) * small) & (person[a] != person[b])
        for first, second in zip(a[near].tolist(), b[near].tolist(), strict=True):
            reasons.setdefault(second, f"its head is that of {labels.sample_ids[first]}")
    yield from labels.told(reasons)
