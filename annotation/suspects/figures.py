"""Plots of suspects, for a page and for a paper: scores, what models missed labels by, and pictures of the worst labels.

Conventions
-----------
Those of :mod:`srgaze360.figures`; angles are degrees. Plots are saved as PNG and SVG, with the numbers in them as CSV beside.
Pictures show a label as :mod:`srgaze360.drawing` does, every model's answer in blue and their consensus in orange, on the
panorama and on a pinhole view that is centred between label and consensus, or on the label where they are too far apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annotation.suspects.run import Suspects
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Sample
from srgaze360.drawing import CONSENSUS, HEAD, POINT, Pen, Plane, draw_people, draw_spot, save, show, style
from srgaze360.figures import GRID, INK, PALETTE, STYLE, WIDTH_IN, save_figure
from srgaze360.files import write_text
from srgaze360.reproject import sphere_to_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = 6  # worst labels that are drawn
TYPE, DPI, ROW_IN = 7.0, 150, 2.45
ANSWER, TOGETHER = "#56b4e9", "#ff7f0e"
PEN = Pen(line=1.1, halo=1.0, square=5.0, ring=6.5, dot=3.0, box_from=np.radians(1.0))
VIEW = (np.radians(50.0), np.radians(110.0))


def write_suspects(found: Suspects, folder: Path) -> list[Path]:
    """Write ``suspects.csv``, ``scores`` (PNG, SVG and CSV) and ``worst.png`` into ``folder``."""
    write_text(folder / "suspects.csv", found.table().to_csv(index=False, lineterminator="\n"))
    with mpl.rc_context(STYLE):
        figure, data = scores_figure(found)
        files = save_figure(figure, folder, "scores")
    write_text(folder / "scores.csv", data.to_csv(index=False, lineterminator="\n"))
    with style(TYPE):
        save(worst_figure(found), folder / "worst.png", DPI)
    return [folder / "suspects.csv", *files, folder / "scores.csv", folder / "worst.png"]


def scores_figure(found: Suspects) -> tuple[Figure, pd.DataFrame]:
    """How many labels have which quality; what models missed each label by against what is usual for it."""
    figure = Figure(figsize=(WIDTH_IN, 3.0), layout="constrained")
    scores, missed = figure.subplots(1, 2)
    edges = np.linspace(0.0, 1.0, 41)
    counts, _ = np.histogram(found.quality, edges)
    scores.stairs(counts, edges, fill=True, color=PALETTE[0])
    scores.axvline(found.below, color=PALETTE[5], linestyle="--", linewidth=1.2)
    scores.yaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    scores.set_xlim(0.0, 1.0)
    scores.set_xlabel("quality of a label")
    scores.set_ylabel("labels")

    known = ~np.isnan(found.opinion.residual)
    usual, residual = (np.degrees(one[known]) for one in (found.opinion.scale, found.opinion.residual))
    residual = np.maximum(residual, 0.1)
    for chosen, colour, mark, name in (
        (~found.suspect[known], PALETTE[0], ".", "others"),
        (found.suspect[known], PALETTE[5], "x", f"quality below {found.below:g}"),
    ):
        missed.plot(usual[chosen], residual[chosen], mark, color=colour, markersize=3.5, alpha=0.6, label=name, rasterized=True)
    if len(usual):
        ends = [usual.min(), usual.max()]
        missed.plot(ends, ends, color=INK, linewidth=1.0, label="as usual")
    missed.set_xscale("log")
    missed.set_yscale("log")
    plain = mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}")
    for axis in (missed.xaxis, missed.yaxis):
        axis.set_major_formatter(plain)
        axis.set_minor_formatter(mpl.ticker.NullFormatter())
    missed.set_xlabel("usual angle (degrees)")
    missed.set_ylabel("angle from the models' consensus\nto the label (degrees)")
    missed.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.2, handletextpad=0.4)
    data = pd.DataFrame({"quality_from": edges[:-1], "quality_to": edges[1:], "labels": counts})
    return figure, data


# --- pictures ---------------------------------------------------------------------------------------------------------


def worst_figure(found: Suspects) -> Figure:
    """The worst labels, each once: the panorama, and a view of label and consensus."""
    rows: list[int] = []
    shown: set[int] = set()
    for row in found.order.tolist():
        if found.label[row] not in shown and len(rows) < PICTURES:
            rows.append(row)
            shown.add(found.label[row])
    figure = Figure(figsize=(WIDTH_IN, 0.3 + ROW_IN * len(rows)), layout="constrained")
    marks: dict[str, tuple[str, str, Literal["full", "none"]]] = {
        "label": ("o", CONSENSUS, "none"),
        "annotation": (".", POINT, "full"),
        "head": ("s", HEAD, "none"),
        "models": ("o", ANSWER, "full"),
        "their consensus": ("D", TOGETHER, "full"),
    }
    keys = [
        Line2D([], [], linestyle="none", marker=mark, color=colour, fillstyle=fill, label=name,
               markeredgecolor=colour if fill == "none" else "black", markeredgewidth=1.2 if fill == "none" else 0.6)
        for name, (mark, colour, fill) in marks.items()
    ]  # fmt: skip
    figure.legend(handles=keys, loc="outside upper left", ncols=len(keys), handletextpad=0.3)
    people = list(found.people.samples())
    for (whole, near), row in zip(figure.subplots(len(rows), 2, width_ratios=[2.0, 1.0], squeeze=False), rows, strict=True):
        _draw(whole, near, found, row, people[row])
    return figure


def _draw(whole: Axes, near: Axes, found: Suspects, row: int, person: Sample) -> None:
    panorama = person.panorama()
    consensus = found.opinion.consensus[row]
    answers = found.opinions.directions[row][found.opinions.asked[row]]
    label = found.labels[row]
    middle = sphere.spherical_mean(np.stack([label, np.where(np.isnan(consensus), label, consensus)])).direction
    if not sphere.angle_between(label, middle) < VIEW[1] / 2.0:  # too far apart for one view, or antipodes
        middle = label
    reach = 2.4 * sphere.angle_between(middle, np.stack([label, person.head]))
    camera = Camera.from_fov("pinhole", 480, 480, float(np.clip(reach.max(), *VIEW)))
    view = Plane(camera, sphere.rotation_from_pose(*sphere.lonlat_from_direction(middle), 0.0))
    pictures = (panorama, np.asarray(sphere_to_view(panorama, view.camera, view.rotation), dtype=np.uint8))
    for axes, plane, picture in zip((whole, near), (Plane.panorama(panorama.shape[1]), view), pictures, strict=True):
        show(axes, picture)
        edge = {"markeredgecolor": "black", "markeredgewidth": 0.6}
        for answer in answers:
            draw_spot(axes, plane, answer, "o", color=ANSWER, markersize=4.0, **edge)
        if not np.isnan(consensus).any():
            draw_spot(axes, plane, consensus, "D", color=TOGETHER, markersize=5.0, **edge)
        draw_people(axes, plane, [person], PEN)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color(GRID)
    why = [f"quality {found.quality[row]:.3f}"]
    if not np.isnan(found.opinion.residual[row]):
        missed, usual = np.degrees([found.opinion.residual[row], found.opinion.scale[row]])
        why.append(f"models miss it by {missed:.0f}°, usually {usual:.0f}°")
    why += found.findings[row]
    whole.set_title(f"{person.sample_id}: {', '.join(why)}", loc="left")
