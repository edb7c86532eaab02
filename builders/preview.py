"""A contact sheet of a built dataset: each panorama with its head boxes, gaze and arcs, and a viewport on one person.

Conventions
-----------
Heads are yellow boxes; arcs from head to gaze are cyan; annotations are small white dots, the consensus a magenta ring.
Arcs are great circles: bent on the panorama, straight in the viewport, which is a pinhole view centred between head and gaze.
Colours are told apart in every common colour-vision deficiency, and the shapes differ too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset, Sample
from srgaze360.files import atomic_path, generator
from srgaze360.reproject import sphere_to_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAD, ARC, POINT, CONSENSUS = "#ffd400", "#25d0ff", "#ffffff", "#ff2fa0"
VIEW_SIZE = (480, 480)
VIEW_FOV = (np.radians(55.0), np.radians(120.0))
ARC_POINTS = 96


@dataclass(frozen=True)
class _Plane:
    """A picture of part of the sphere: where directions fall on it, and which of them it shows."""

    camera: Camera
    rotation: sphere.FloatArray

    def place(self, directions: sphere.FloatArray) -> sphere.FloatArray:
        """Pixels (n, 2) of directions (n, 3); NaN where the picture does not show them."""
        projection = self.camera.project(sphere.rotate(self.rotation.T, directions))
        shown = projection.valid & self.camera.contains(projection.pixels)
        return np.where(shown[:, None], projection.pixels, np.nan)


def choose(data: Dataset, count: int, seed: int) -> list[list[Sample]]:
    """Choose ``count`` panoramas, spread over suites, conditions and clusters; each is the list of people on it."""
    groups: dict[str, list[Sample]] = {}
    for sample in data.samples():
        groups.setdefault(sample.row["panorama_id"], []).append(sample)
    # a seam panorama may hold people of both its conditions; it is filed under the first
    by_condition: dict[tuple[str, str], list[str]] = {}
    for panorama, people in groups.items():
        by_condition.setdefault((people[0].row["suite"], people[0].row["condition"]), []).append(panorama)
    turns = Counter[str]()
    queues: list[tuple[int, str, list[str]]] = []
    for (suite, condition), names in sorted(by_condition.items()):
        queues.append((turns[suite], suite, generator(seed, suite, condition).permutation(names).tolist()))
        turns[suite] += 1
    queues.sort(key=lambda queue: queue[:2])  # the first condition of every suite, then the second of every suite, ...
    chosen: list[str] = []
    seen = Counter[str]()
    while len(chosen) < count and any(names for _, _, names in queues):
        for _, _, names in queues:
            if names and len(chosen) < count:
                name = min(names, key=lambda name: seen[groups[name][0].row["cluster_id"]])
                names.remove(name)
                seen[groups[name][0].row["cluster_id"]] += 1
                chosen.append(name)
    return [groups[name] for name in chosen]


def preview(data: Dataset, out: Path, *, count: int = 12, seed: int = 0) -> int:
    """Draw the contact sheet of ``data`` to the PNG file ``out``; returns the number of panoramas shown."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panoramas = choose(data, count, seed)
    columns = 2 if len(panoramas) > 1 else 1
    rows = -(-len(panoramas) // columns)
    with mpl.rc_context({"font.size": 9, "font.family": "sans-serif"}):
        figure = Figure(figsize=(9.0 * columns, 3.35 * rows + 0.55), facecolor="white", layout="constrained")
        figure.suptitle(
            f"{data.info.name} {data.info.version}: yellow head, cyan great-circle arc, white annotations, magenta consensus",
            fontsize=12,
        )
        grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=[2.0, 1.0] * columns)
        for axes in grid.flat:
            axes.set_axis_off()
        for index, people in enumerate(panoramas):
            row, column = divmod(index, columns)
            _draw(grid[row, 2 * column], grid[row, 2 * column + 1], people)
        with atomic_path(out) as temporary:
            figure.savefig(temporary, dpi=100)
    return len(panoramas)


def _draw(wide: Axes, view: Axes, people: Sequence[Sample]) -> None:
    panorama = people[0].panorama()
    row = people[0].row
    wide.imshow(panorama, interpolation="antialiased")
    wide.set_title(
        f"{row['suite']} / {row['condition']}  ({row['split']}, {row['background']} background)", loc="left", fontsize=10
    )
    plane = _Plane(Camera.equirectangular(panorama.shape[1]), np.eye(3))
    for person in people:
        _draw_person(wide, plane, person, linewidth=1.4)
    _limit(wide, panorama.shape[1], panorama.shape[0])
    person = max(people, key=lambda person: (person.gaze is not None, person.head_radius))
    centre = person.head if person.gaze is None else sphere.slerp(person.head, person.gaze, 0.5)
    lon, lat = sphere.lonlat_from_direction(centre)
    reach = 2.0 * person.head_radius + (0.0 if person.gaze is None else float(sphere.angle_between(person.head, person.gaze)))
    camera = Camera.from_fov("pinhole", *VIEW_SIZE, float(np.clip(1.5 * reach, *VIEW_FOV)), side="width")
    rotation = sphere.rotation_from_pose(lon, lat, 0.0)
    view.imshow(sphere_to_view(panorama, camera, rotation), interpolation="antialiased")
    for other in people:
        _draw_person(view, _Plane(camera, rotation), other, linewidth=2.0 if other is person else 1.0)
    _limit(view, *VIEW_SIZE)
    view.set_title(f"photo: fov {row['hfov_deg']:.0f}°, lat {row['pitch_deg']:.0f}°, {row['lens']}", loc="left", fontsize=10)


def _limit(axes: Axes, width: int, height: int) -> None:
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _draw_person(axes: Axes, plane: _Plane, person: Sample, linewidth: float) -> None:
    u0, v0, u1, v1 = person.head_box
    side = np.linspace(0.0, 1.0, 24)
    u = np.concatenate([u0 + (u1 - u0) * side, np.full(24, u1), u1 + (u0 - u1) * side, np.full(24, u0)])
    v = np.concatenate([np.full(24, v0), v0 + (v1 - v0) * side, np.full(24, v1), v1 + (v0 - v1) * side])
    outline = sphere.direction_from_lonlat(sphere.TWO_PI * (u - 0.5), np.pi * (0.5 - v))
    _plot_line(axes, plane, outline, HEAD, linewidth)
    if person.gaze is None:
        return
    _plot_line(axes, plane, sphere.great_circle_arc(person.head, person.gaze, ARC_POINTS), ARC, linewidth)
    if len(person.points):
        dots = plane.place(person.points)
        axes.plot(dots[:, 0], dots[:, 1], ".", color=POINT, markersize=3.5, markeredgecolor="black", markeredgewidth=0.4)
    ring = plane.place(person.gaze[None])
    axes.plot(ring[:, 0], ring[:, 1], "o", color=CONSENSUS, fillstyle="none", markersize=8.0, markeredgewidth=linewidth + 0.4)


def _plot_line(axes: Axes, plane: _Plane, directions: sphere.FloatArray, colour: str, linewidth: float) -> None:
    """Draw a line over a picture; it is broken where it leaves on one side of the seam and comes back on the other."""
    pixels = plane.place(directions)
    jumps = np.flatnonzero(np.abs(np.diff(pixels[:, 0])) > plane.camera.width / 2.0) + 1
    pixels = np.insert(pixels, jumps, np.nan, axis=0)
    axes.plot(pixels[:, 0], pixels[:, 1], color="black", linewidth=linewidth + 1.2, alpha=0.55, solid_capstyle="round")
    axes.plot(pixels[:, 0], pixels[:, 1], color=colour, linewidth=linewidth, solid_capstyle="round")
