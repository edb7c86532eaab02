"""Drawing people on pictures of the sphere: head boxes, great-circle arcs from head to gaze, annotations, consensus.

Conventions
-----------
Heads are yellow squares, arcs cyan lines, annotations small white dots, the consensus a magenta ring; everything has a dark
halo. Colours are told apart in every common colour-vision deficiency, and the shapes differ too. Arcs are great circles: bent
on the panorama, straight in a pinhole view. Sizes are points, angles radians. Figures are made without pyplot, from
matplotlib's own defaults and without dates, so that the same dataset gives the same bytes whatever the user has configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from srgaze360.dataset import Sample
    from srgaze360.images import UInt8Array

HEAD, ARC, POINT, CONSENSUS = "#ffd400", "#25d0ff", "#ffffff", "#ff2fa0"
INK, PAPER = "#24292f", "#ffffff"
ARC_POINTS = 96
STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "text.parse_math": False,  # a condition's name is not a formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "svg.hashsalt": "srgaze360",
}


@dataclass(frozen=True)
class Pen:
    """Sizes of what is drawn, points. A head of angular radius below ``box_from`` is a square of fixed size, not its box."""

    line: float
    halo: float
    square: float
    ring: float
    dot: float
    box_from: float = 0.0


@dataclass(frozen=True)
class Plane:
    """A picture of part of the sphere: where directions fall on it, and which of them it shows."""

    camera: Camera
    rotation: sphere.FloatArray

    @classmethod
    def panorama(cls, width: int) -> Plane:
        """A whole panorama, ``width`` pixels wide."""
        return cls(Camera.equirectangular(width), np.eye(3))

    def pixels(self, directions: sphere.FloatArray) -> sphere.FloatArray:
        """Pixels (n, 2) of directions (n, 3), within the picture or beyond its sides; NaN where the lens does not see them."""
        return self.camera.project(sphere.rotate(self.rotation.T, directions)).pixels

    def place(self, directions: sphere.FloatArray) -> sphere.FloatArray:
        """Pixels (n, 2) of directions (n, 3); NaN where the picture does not show them."""
        pixels = self.pixels(directions)
        return np.where(self.camera.contains(pixels)[:, None], pixels, np.nan)


def style(size: float) -> AbstractContextManager[None]:
    """The look of a figure whose base type is ``size`` points, free of the user's own settings; a context manager."""
    from matplotlib.style import context

    return context(["default", {**STYLE, "font.size": size}])


def save(figure: Figure, out: Path, dpi: int) -> None:
    """Write a figure to the PNG file ``out``, atomically and without a word on when or by what it was made."""
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=dpi, metadata={"Software": None})


def show(axes: Axes, picture: UInt8Array) -> None:
    """Show a picture in its own pixels."""
    axes.imshow(picture, interpolation="antialiased", extent=(0, picture.shape[1], picture.shape[0], 0))


def draw_people(axes: Axes, plane: Plane, people: Sequence[Sample], pen: Pen) -> None:
    """Draw heads, arcs and gaze of ``people`` over a picture: all arcs first, so that no line hides a head or a target."""
    targets = [(person, person.gaze) for person in people if person.gaze is not None]
    for person, gaze in targets:
        draw_line(axes, plane, sphere.great_circle_arc(person.head, gaze, ARC_POINTS), ARC, pen)
    for person in people:
        if person.head_radius >= pen.box_from:
            draw_line(axes, plane, box_outline(person.head_box), HEAD, pen)
        else:
            draw_mark(axes, plane, person.head, "s", HEAD, pen.square, pen)
    for person, gaze in targets:
        draw_points(axes, plane, person.points, pen)
        draw_mark(axes, plane, gaze, "o", CONSENSUS, pen.ring, pen)
    axes.set_xlim(0, plane.camera.width)
    axes.set_ylim(plane.camera.height, 0)


def box_outline(box: tuple[float, float, float, float], samples: int = 24) -> sphere.FloatArray:
    """Directions (n, 3) around a head box given in fractions of the panorama."""
    u0, v0, u1, v1 = box
    side = np.linspace(0.0, 1.0, samples)
    flat = np.zeros(samples)
    u = np.concatenate([u0 + (u1 - u0) * side, u1 + flat, u1 + (u0 - u1) * side, u0 + flat])
    v = np.concatenate([v0 + flat, v0 + (v1 - v0) * side, v1 + flat, v1 + (v0 - v1) * side])
    return sphere.direction_from_pixel(np.stack([u, v], axis=-1), 1, 1)


def draw_points(axes: Axes, plane: Plane, directions: sphere.FloatArray, pen: Pen) -> None:
    """Draw the dots of annotations (m, 3), if the pen has a dot."""
    if len(directions) and pen.dot:
        x, y = plane.place(directions).T
        axes.plot(x, y, ".", color=POINT, markersize=pen.dot, markeredgecolor="black", markeredgewidth=0.4)


def draw_mark(axes: Axes, plane: Plane, direction: sphere.FloatArray, shape: str, colour: str, size: float, pen: Pen) -> None:
    """Draw an open mark around a direction; nothing where the picture does not show it."""
    for edge, width in (("black", pen.line + pen.halo), (colour, pen.line)):
        draw_spot(axes, plane, direction, shape, color=edge, fillstyle="none", markersize=size, markeredgewidth=width)


def draw_spot(axes: Axes, plane: Plane, direction: sphere.FloatArray, shape: str, **how: Any) -> None:  # noqa: ANN401
    """Draw a mark at a direction with matplotlib's arguments ``how``; at a panorama's seam it goes on at the other side."""
    x, y = plane.place(direction[None])[0]
    turns = (-1, 0, 1) if plane.camera.is_panorama else (0,)
    axes.plot([x + turn * plane.camera.width for turn in turns], [y] * len(turns), shape, **how)


def draw_line(
    axes: Axes, plane: Plane, directions: sphere.FloatArray, colour: str, pen: Pen, stroke: str = "-", halo: float = 0.55
) -> None:
    """Draw a line over a picture; it is broken where it leaves on one side of the seam and comes back on the other.

    ``stroke`` is matplotlib's style of the line, ``halo`` the opacity of what is dark around it.
    """
    pixels = plane.pixels(directions)
    jumps = np.flatnonzero(np.abs(np.diff(pixels[:, 0])) > plane.camera.width / 2.0) + 1
    x, y = np.insert(pixels, jumps, np.nan, axis=0).T
    axes.plot(x, y, color="black", linewidth=pen.line + pen.halo, alpha=halo, solid_capstyle="round")
    axes.plot(x, y, stroke, color=colour, linewidth=pen.line, solid_capstyle="round")
