"""Colours, and the patterns they are laid on solids in.

Conventions
-----------
Colours are linear RGB in [0, 1]; :func:`srgb` takes the display values people think in (display curve: square root). A
pattern is a function of the solid's local coordinates (arrays x, y, z, see :mod:`builders.procedural.shapes`) and gives an
albedo (3, n), float32: channels first, so that arithmetic runs along long rows.
Heads and eyes have local axes x to the person's right, y down, z forward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Array = NDArray[np.floating[Any]]
Albedo = NDArray[np.floating[Any]]

# a fixed table: the tint of a brick is a function of which brick it is
_RANDOM = np.random.Generator(np.random.PCG64(7)).random(1024).astype(np.float32)


def srgb(red: float, green: float, blue: float) -> Colour:
    """Linear colour of display values in [0, 255]."""
    return (red / 255.0) ** 2, (green / 255.0) ** 2, (blue / 255.0) ** 2


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Colour at ``share`` of the way from the first to the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    """Darker (below 1) or lighter colour, kept in [0, 1]."""
    red, green, blue = (min(value * factor, 1.0) for value in colour)
    return red, green, blue


@dataclass(frozen=True)
class Paint:
    """How a solid looks. ``gloss`` in [0, 1] adds a highlight; ``glow`` in [0, 1] is the share that needs no light."""

    colours: tuple[Colour, ...]
    pattern: str = "plain"
    numbers: tuple[float, ...] = ()
    gloss: float = 0.0
    glow: float = 0.0


def hashed(i: Array, j: Array | float = 0.0) -> Array:
    """Random number in [0, 1) of integer cells (i, j), the same everywhere."""
    cells = np.asarray(i).astype(np.int32) * 73 + np.asarray(j).astype(np.int32) * 179
    return np.asarray(_RANDOM[cells & 1023])


def column(colour: Colour) -> NDArray[np.float32]:
    """Colour as an array (3, 1)."""
    return np.array(colour, dtype=np.float32)[:, None]


def between(first: Colour, second: Colour, share: Array) -> Albedo:
    """Colours (3, n) at ``share`` (n,) of the way from the first to the second."""
    start = column(first)
    return np.asarray(start + (column(second) - start) * share)


def blend(base: Albedo, colour: Colour, where: NDArray[np.bool_]) -> Albedo:
    """``base`` (3, n) with ``colour`` laid over it ``where`` (n,)."""
    return np.where(where, column(colour), base)


def flat(colour: Colour, count: int) -> Albedo:
    """One colour, (3, n)."""
    return np.broadcast_to(column(colour), (3, count))


def _plain(paint: Paint, x: Array, _y: Array, _z: Array) -> Albedo:
    return flat(paint.colours[0], len(x))


def _bands(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Bands across an axis: axis, bands per unit, share of the second colour."""
    axis, count, share = paint.numbers
    along = (x, y, z)[int(axis)] * (count / 2.0)
    return blend(flat(paint.colours[0], len(x)), paint.colours[1], along - np.floor(along) < share)


def _checks(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    count = paint.numbers[0]
    count *= 0.9999  # faces of boxes lie at exactly 1, which must not be the border of a cell
    parity = np.floor(x * count) + np.floor(y * count) + np.floor(z * count)
    return blend(flat(paint.colours[0], len(x)), paint.colours[1], parity % 2.0 == 1.0)


def _dots(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    count, radius = paint.numbers
    distance = sum((a * count - np.round(a * count)) ** 2 for a in (x, y, z))
    return blend(flat(paint.colours[0], len(x)), paint.colours[1], np.asarray(distance < radius * radius))


def _ribbon(paint: Paint, x: Array, _y: Array, z: Array) -> Albedo:
    width = paint.numbers[0]
    return blend(flat(paint.colours[0], len(x)), paint.colours[1], (np.abs(x) < width) | (np.abs(z) < width))


def _laid(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Top of a table, darker where things stand: half sizes of the top, then (x, z) of each thing, metres."""
    half_x, half_z, *feet = paint.numbers
    shade = np.ones_like(x)
    for foot_x, foot_z in zip(feet[::2], feet[1::2], strict=True):
        square = (x * half_x - foot_x) ** 2 + (z * half_z - foot_z) ** 2
        shade -= np.where(y < -0.5, 0.5 * np.exp(square * (-1.0 / 0.15**2)), 0.0).astype(x.dtype)
    return np.asarray(column(paint.colours[0]) * np.maximum(shade, 0.3))


def _wedges(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Sectors around the y axis, like a beach ball: number of sectors."""
    sector = np.floor(np.arctan2(x, z) * (paint.numbers[0] / (2.0 * np.pi)))
    colours = np.array(paint.colours, dtype=np.float32).T
    return blend(colours[:, sector.astype(np.int32) % len(paint.colours)], paint.colours[0], np.abs(y) > 0.93)


def _mottled(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Cells in random tints between the two colours: cells per unit (leaves, stone, knitwear)."""
    count = paint.numbers[0]
    share = hashed(np.floor(x * count) + 31.0 * np.floor(z * count), np.floor(y * count))
    return between(paint.colours[0], paint.colours[1], share)


def _strands(paint: Paint, x: Array, _y: Array, z: Array) -> Albedo:
    """Hair: random tints around the y axis; strands per radian."""
    strand = np.floor(np.arctan2(x, z) * paint.numbers[0])
    return between(paint.colours[0], paint.colours[1], hashed(strand))


def _picture(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Framed picture on a box's z faces: columns, rows, seed, frame width. Colours: frame, then what is painted with."""
    columns, rows, seed, frame = paint.numbers
    i, j = np.floor((x + 1.0) * columns / 2.0), np.floor((y + 1.0) * rows / 2.0)
    chosen = (hashed(i + 17.0 * seed, j) * (len(paint.colours) - 1)).astype(np.int32) + 1
    colours = np.array(paint.colours, dtype=np.float32).T
    edge = (np.abs(x) > 1.0 - frame) | (np.abs(y) > 1.0 - frame) | (np.abs(z) < 0.98)
    return blend(colours[:, chosen], paint.colours[0], edge)


def _window(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Window on a box's z faces. Colours: frame, sky below, sky above, ground."""
    frame, low, high, ground = paint.colours
    sky = between(low, high, np.clip((0.5 - y) / 1.5, 0.0, 1.0))
    view = blend(sky, ground, y > 0.45 + 0.12 * np.sin(5.0 * x + paint.numbers[0]))
    bars = (np.abs(x) > 0.92) | (np.abs(y) > 0.92) | (np.abs(x) < 0.04) | (np.abs(y + 0.2) < 0.03) | (np.abs(z) < 0.98)
    return blend(view, frame, bars)


def _clock(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Clock face on a drum's flat side. Colours: rim, face, hands; numbers: angles of the two hands."""
    rim, face, hands = paint.colours
    radius = np.hypot(x, z)
    albedo = blend(flat(rim, len(x)), face, (radius < 0.86) & (np.abs(y) > 0.9))
    marks = (radius > 0.68) & (radius < 0.8) & (np.abs(np.sin(6.0 * np.arctan2(x, z))) < 0.3)
    for angle, length, width in zip(paint.numbers, (0.62, 0.42), (0.05, 0.07), strict=True):
        along = x * np.sin(angle) + z * np.cos(angle)
        across = x * np.cos(angle) - z * np.sin(angle)
        marks |= (np.abs(across) < width) & (along > -0.1) & (along < length)
    return blend(albedo, hands, marks & (np.abs(y) > 0.9))


def _face(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Head: skin, hairline, brows, mouth, cheeks. Colours: skin, hair, lips, blush; numbers: smile, beard (0 or 1)."""
    skin, hair, lips, blush = paint.colours
    smile, beard = paint.numbers
    side = np.abs(x)
    front = z > 0.0
    warmth = np.exp(-((side - 0.52) ** 2 + (y - 0.22) ** 2) / 0.05) * np.where(front, np.float32(0.7), np.float32(0.0))
    albedo = between(skin, blush, warmth)
    if beard:
        jaw = (y > 0.34 - 0.25 * side + 0.25 * np.maximum(0.55 - side, 0.0)) & (z > -0.25)
        albedo = blend(albedo, mix(skin, hair, 0.75), jaw)
    albedo = blend(albedo, hair, y < -0.74 + 1.15 * np.clip(0.42 - z, 0.0, 1.0))
    brow = ((side - 0.40) / 0.23) ** 2 + ((y + 0.42 - 0.12 * (side - 0.40)) / 0.06) ** 2 < 1.0
    albedo = blend(albedo, scaled(hair, 0.7), brow & front)
    mouth = (x / 0.30) ** 2 + ((y - 0.57 + smile * x * x) / 0.065) ** 2 < 1.0
    return blend(albedo, lips, mouth & front)


def _eye(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Eyeball. Colours: white, iris, lid, lash; numbers: unit direction of the gaze in the head's frame, openness in [0, 1]."""
    white, iris, lid, lash = paint.colours
    gx, gy, gz, openness = paint.numbers
    towards = x * gx + y * gy + z * gz
    albedo = blend(flat(white, len(x)), scaled(iris, 0.35), towards > 0.79)
    albedo = blend(albedo, iris, towards > 0.84)
    albedo = blend(albedo, (0.004, 0.004, 0.004), towards > 0.945)
    # the upper lid follows the gaze, as in people: the white never shows above the iris
    upper = -0.25 - 0.55 * openness + 0.75 * max(gy, -0.2)
    albedo = blend(albedo, lash, y < upper + 0.16)
    return blend(albedo, lid, (y < upper) | (y > 0.82))


PATTERNS: dict[str, Callable[[Paint, Array, Array, Array], Albedo]] = {
    "plain": _plain,
    "bands": _bands,
    "checks": _checks,
    "dots": _dots,
    "ribbon": _ribbon,
    "laid": _laid,
    "wedges": _wedges,
    "mottled": _mottled,
    "strands": _strands,
    "picture": _picture,
    "window": _window,
    "clock": _clock,
    "face": _face,
    "eye": _eye,
}


def albedo_of(paint: Paint, x: Array, y: Array, z: Array) -> Albedo:
    """Albedo (3, n) of ``paint`` at local coordinates (n,) each."""
    return PATTERNS[paint.pattern](paint, x, y, z)
