"""A contact sheet of a built dataset: each panorama with its head boxes, gaze and arcs, and a viewport on one person.

What is drawn, and in which colours, is said in :mod:`srgaze360.drawing`. The viewport is a pinhole view centred between
head and gaze.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset, Sample
from srgaze360.drawing import Pen, Plane, draw_people, save, show, style
from srgaze360.files import generator
from srgaze360.reproject import sphere_to_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEW_SIZE = (480, 480)
VIEW_FOV = (np.radians(55.0), np.radians(120.0))
PEN = Pen(line=1.4, halo=1.2, square=8.0, ring=8.0, dot=3.5)
BOLD_PEN = Pen(line=2.0, halo=1.2, square=8.0, ring=8.0, dot=3.5)


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
    from matplotlib.figure import Figure

    panoramas = choose(data, count, seed)
    columns = 2 if len(panoramas) > 1 else 1
    rows = -(-len(panoramas) // columns)
    with style(9.0):
        figure = Figure(figsize=(9.0 * columns, 3.35 * rows + 0.55), layout="constrained")
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
        save(figure, out, dpi=100)
    return len(panoramas)


def _draw(wide: Axes, view: Axes, people: Sequence[Sample]) -> None:
    panorama = people[0].panorama()
    row = people[0].row
    show(wide, panorama)
    wide.set_title(
        f"{row['suite']} / {row['condition']}  ({row['split']}, {row['background']} background)", loc="left", fontsize=10
    )
    draw_people(wide, Plane.panorama(panorama.shape[1]), people, PEN)
    person = max(people, key=lambda person: (person.gaze is not None, person.head_radius))
    centre = person.head if person.gaze is None else sphere.slerp(person.head, person.gaze, 0.5)
    lon, lat = sphere.lonlat_from_direction(centre)
    reach = 2.0 * person.head_radius + (0.0 if person.gaze is None else float(sphere.angle_between(person.head, person.gaze)))
    camera = Camera.from_fov("pinhole", *VIEW_SIZE, float(np.clip(1.5 * reach, *VIEW_FOV)), side="width")
    plane = Plane(camera, sphere.rotation_from_pose(lon, lat, 0.0))
    show(view, sphere_to_view(panorama, camera, plane.rotation))
    draw_people(view, plane, [other for other in people if other is not person], PEN)
    draw_people(view, plane, [person], BOLD_PEN)
    view.set_title(f"photo: fov {row['hfov_deg']:.0f}°, lat {row['pitch_deg']:.0f}°, {row['lens']}", loc="left", fontsize=10)
