"""Head boxes and directions as shapes on a flat picture, and back.

Conventions
-----------
Pixels are continuous, (0, 0) at the upper left corner of the picture, as everywhere in this project and in CVAT, Label Studio
(there in per cent of the size) and COCO's boxes; a pixel's centre is at one half. A tool that puts whole numbers on the centres
of pixels is half a pixel off: 0.09 degrees at 2048 pixels width.

Flat pictures do not wrap. A head box across the seam is two rectangles, left part (large x) first, which become one again
where they meet the two edges; a rectangle that runs over an edge, rotated or not, goes on at the other one. What moves a shape
by less than :data:`UNTOUCHED` is rounding: CVAT rounds to 0.01 pixel, and a right edge may be the sum of two rounded numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotation.edits import Box
from srgaze360 import headbox, sphere

UNTOUCHED = 0.02  # pixels
AT_EDGE = 1.0  # pixels: what is drawn up to an edge of the picture by hand ends this close to it

Rectangle = tuple[float, float, float, float]


def rectangles_of_box(box: Sequence[float], width: int, height: int) -> list[Rectangle]:
    """Rectangles (x0, y0, x1, y1) of a head box: one, or two where it crosses the seam."""
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in headbox.pixel_rectangles(box, width, height).tolist()]


def box_of_rectangles(rectangles: Sequence[Rectangle], width: int, height: int) -> Box:
    """The head box of one rectangle, or of two that meet at the seam.

    Raises
    ------
    ValueError
        It is none; the message is a clause that says why.
    """
    if len(rectangles) == 1:
        x0, y0, x1, y1 = rectangles[0]
    elif len(rectangles) == 2:
        second, first = sorted(rectangles)  # the left part of the head lies at the right edge of the picture
        if second[0] > AT_EDGE or first[2] < width - AT_EDGE or second[2] > first[0] + AT_EDGE:
            raise ValueError("has two head boxes that do not meet at the seam (is one of somebody new, copied with its id?)")
        x0, x1 = first[0], width + second[2]
        y0, y1 = min(first[1], second[1]), max(first[3], second[3])
    else:
        raise ValueError(f"has {len(rectangles)} head boxes")
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"has a head box without area ({x0:g}, {y0:g}, {x1:g}, {y1:g})")
    if y1 <= 0.0 or y0 >= height:
        raise ValueError(f"has a head box outside of the picture ({x0:g}, {y0:g}, {x1:g}, {y1:g})")
    v0, v1 = max(y0, 0.0) / height, min(y1, height) / height
    if x1 - x0 >= width - AT_EDGE:  # around a pole
        start = _turn(x0 / width) if len(rectangles) == 2 else 0.0
        return start, 0.0 if y0 <= AT_EDGE else v0, start + 1.0, 1.0 if y1 >= height - AT_EDGE else v1
    u0 = _turn(x0 / width)
    return u0, v0, u0 + (x1 - x0) / width, v1


def _turn(u: float) -> float:
    """A fraction of a turn in [0, 1)."""
    turn = u % 1.0
    return turn if turn < 1.0 else 0.0  # the remainder of a tiny negative number rounds up to 1


def upright(rectangle: Rectangle, rotation_deg: float, *, about_corner: bool) -> Rectangle:
    """The upright rectangle around one that was turned clockwise, about its upper left corner or about its middle."""
    x0, y0, x1, y1 = rectangle
    angle = np.radians(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # y is down: clockwise
    anchor = np.array([x0, y0] if about_corner else [(x0 + x1) / 2.0, (y0 + y1) / 2.0])
    corners = (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - anchor) @ turn.T + anchor
    low, high = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return low[0], low[1], high[0], high[1]


def pixel_of_point(lon_deg: float, lat_deg: float, width: int, height: int) -> tuple[float, float]:
    """Pixel of a direction; a pole keeps the longitude it is given with."""
    x, y = sphere.pixel_from_lonlat(np.radians(lon_deg), np.radians(lat_deg), width, height).tolist()
    return x, y


def point_of_pixel(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    """Longitude and latitude (degrees) of a pixel; beyond the left or right edge it goes on at the other one.

    Raises
    ------
    ValueError
        It lies above or below the picture; the message is a clause that says so.
    """
    if not -AT_EDGE <= y <= height + AT_EDGE:
        raise ValueError(f"has a gaze point outside of the picture ({x:g}, {y:g})")
    lon, lat = np.degrees(sphere.lonlat_from_pixel([x, min(max(y, 0.0), height)], width, height)).tolist()
    return lon, lat


def same_pixels(a: Sequence[float], b: Sequence[float], width: int) -> bool:
    """Whether shapes, as x, y, x, y ..., are the same but for rounding; x a width apart is the same place."""
    if len(a) != len(b):
        return False
    shift = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    turns = np.rint(shift[0] / width) * width  # all x of a shape together: one of full width is no shape of none
    shift[0::2] -= turns
    return bool(np.all(np.abs(shift) < UNTOUCHED))


def untouched_sides(written: Rectangle, drawn: Rectangle) -> Rectangle:
    """A rectangle that was drawn over a written one: sides that were not moved are exact."""
    x0, y0, x1, y1 = (a if abs(a - b) < UNTOUCHED else b for a, b in zip(written, drawn, strict=True))
    return x0, y0, x1, y1
