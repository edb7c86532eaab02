"""The picture of qualitative panels: a row per person with words, the panorama, and a view towards the target.

Conventions
-----------
On the left stand who is shown, how far off each method was (great-circle distance to the consensus, degrees) and, below, how
far the annotators are from each other, as in the row *human* of a board; then the whole panorama; then a pinhole view centred
on the target, upright, wide enough for the head and near answers. Dotted on the panorama is the frame of the view; dashed on
the view are the circles 10° and 30° around the target. Arcs are great circles from the head. The truth is white, the head
yellow; methods have colours of Okabe and Ito (2008), told apart by people with any kind of colour vision, and a mark each.
Sizes are inches on a page 7 inches wide; no type is smaller than 7 points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from leaderboard.plots import MARKERS, Drawn, short_name
from leaderboard.protocols import LABELS, PRIMARY
from leaderboard.scoring import HUMAN
from srgaze360 import sphere
from srgaze360.cameras import Camera
from srgaze360.dataset import Dataset, Sample
from srgaze360.drawing import (
    ARC_POINTS,
    HEAD,
    PAPER,
    POINT,
    Pen,
    Plane,
    box_outline,
    draw_line,
    draw_mark,
    draw_points,
    draw_spot,
    show,
)
from srgaze360.figures import WIDTH_IN
from srgaze360.reproject import sphere_to_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from srgaze360.images import UInt8Array

MARKS = MARKERS[2:]
COLOURS = ("#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#0072b2")  # sky, vermilion, green, purple, orange, blue
TRUTH = POINT
DPI, TYPE = 300, 7.0
TEXT_IN, HEIGHT_IN, GAP_IN = 0.98, 1.96, 0.06  # column of text, height of a row's pictures, space between
LINE_IN = 0.145  # from one line of text to the next
VIEW_FOV, VIEW_MARGIN = (np.radians(50.0), np.radians(110.0)), 1.2
CIRCLES = np.radians([10.0, 30.0])
PEN = Pen(line=1.1, halo=1.0, square=5.0, ring=6.5, dot=3.0, box_from=np.radians(1.0))
THIN = Pen(line=0.6, halo=0.6, square=0.0, ring=0.0, dot=0.0)
MARK = 4.5  # points
LETTER_IN = 0.59 * TYPE / 72.0  # letters of this typeface are 0.59 of its size wide, on average
_DOT: dict[str, Any] = {"marker": ".", "markersize": PEN.dot + 1.0, "markeredgecolor": "black", "markeredgewidth": 0.4}
HEAT, HEAT_OPACITY = "inferno", 0.65


class Method(NamedTuple):
    """Answers of a method to n people: directions (n, 3), distances (n,) in degrees, NaN where the target is unknown."""

    label: str
    file: Path
    directions: sphere.FloatArray
    distances: sphere.FloatArray


class Chosen(NamedTuple):
    """A row of the picture: why this person is shown, and at which place among the people of the suite it stands."""

    why: str
    place: int


class Panels(NamedTuple):
    """What is drawn.

    People of a suite, their targets (n, 3), methods, the metric that orders people and its values (n,), who is shown, how far
    the annotators of each of those are from each other (degrees, each against the consensus of the others; NaN for a single
    one), and the first method's heatmaps (n, H, W) where they are to be drawn.
    """

    rows: Dataset
    targets: sphere.FloatArray
    methods: list[Method]
    by: str
    score: sphere.FloatArray
    chosen: list[Chosen]
    humans: list[float]
    heatmaps: NDArray[np.float16] | None


# --- the picture ------------------------------------------------------------------------------------------------------


def panels_figure(panels: Panels) -> Drawn:
    """The figure, to be made and saved under :func:`srgaze360.drawing.style`, and its numbers: a row per person and method."""
    people = list(panels.rows.samples())
    lines = _legend(panels)
    top = 0.04 + LINE_IN * (len(lines) + (panels.heatmaps is not None)) + 0.24
    height = top + len(panels.chosen) * (HEIGHT_IN + GAP_IN)
    figure = Figure(figsize=(WIDTH_IN, height))

    def place(left: float, down: float, width: float) -> Axes:
        box = (left / WIDTH_IN, 1.0 - (down + HEIGHT_IN) / height, width / WIDTH_IN, HEIGHT_IN / height)
        axes: Axes = figure.add_axes(box, xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return axes

    wide, near = TEXT_IN + GAP_IN, TEXT_IN + 2.0 * (HEIGHT_IN + GAP_IN)
    for number, entries in enumerate(lines):
        _draw_legend(figure, entries, 1.0 - (0.04 + LINE_IN * number) / height)
    if panels.heatmaps is not None:
        _draw_scale(figure, 0.04 + LINE_IN * len(lines), short_name(panels.methods[0].label))
    for left, title in ((wide, "panorama"), (near, "view towards the target")):
        figure.text(left / WIDTH_IN, 1.0 - (top - 0.05) / height, title, va="bottom", weight="bold")
    for number, (one, human) in enumerate(zip(panels.chosen, panels.humans, strict=True)):
        down = top + number * (HEIGHT_IN + GAP_IN)
        sample, target = people[one.place], panels.targets[one.place]
        answers = [method.directions[one.place] for method in panels.methods]
        whole, view = Plane.panorama(2 * round(HEIGHT_IN * DPI)), view_plane(sample.head, target, answers)
        heat = None if panels.heatmaps is None else panels.heatmaps[one.place].astype(np.float32)
        panorama = sample.panorama()
        for left, width, plane in ((wide, 2.0 * HEIGHT_IN, whole), (near, HEIGHT_IN, view)):
            axes = place(left, down, width)
            show(axes, _picture(panorama, heat, plane))
            if plane is whole:
                draw_line(axes, plane, _frame(view), TRUTH, THIN, ":", halo=0.4)
            else:
                for radius in CIRCLES:
                    draw_line(axes, plane, _circle(target, radius), TRUTH, THIN, "--", halo=0.4)
            draw_answers(axes, plane, sample, target, answers)
        _write(place(GAP_IN, down, TEXT_IN - GAP_IN), panels, one, human, sample, view)
    shown = zip(panels.chosen, panels.humans, strict=True)
    return Drawn(figure, pd.DataFrame([row for one, human in shown for row in _numbers(panels, one, human, people[one.place])]))


def draw_answers(
    axes: Axes, plane: Plane, sample: Sample, target: sphere.FloatArray, answers: Sequence[sphere.FloatArray]
) -> None:
    """Draw head, annotations, consensus and answers over a picture: the truth below, the first answer on top."""
    drawn = [(target, TRUTH, "o"), *reversed([*zip(answers, COLOURS, MARKS, strict=False)])]
    for direction, colour, _ in drawn:
        draw_line(axes, plane, sphere.great_circle_arc(sample.head, direction, ARC_POINTS), colour, PEN)
    if sample.head_radius >= PEN.box_from:
        draw_line(axes, plane, box_outline(sample.head_box), HEAD, PEN)
    else:
        draw_mark(axes, plane, sample.head, "s", HEAD, PEN.square, PEN)
    draw_points(axes, plane, sample.points, PEN)
    draw_mark(axes, plane, target, "o", TRUTH, PEN.ring, PEN)
    for direction, colour, mark in drawn[1:]:
        draw_spot(axes, plane, direction, mark, **_mark(colour))
    axes.set_xlim(0, plane.camera.width)
    axes.set_ylim(plane.camera.height, 0)


def view_plane(head: sphere.FloatArray, target: sphere.FloatArray, answers: Sequence[sphere.FloatArray]) -> Plane:
    """A square pinhole view centred on the target, upright, that reaches beyond the head and the answers that are not too far.

    What no view of 110 degrees would show leaves it as it is: one answer far off must not make all the others small.
    """
    wanted = VIEW_MARGIN * 2.0 * sphere.angle_between(np.stack([head, *answers]), target)
    size = round(HEIGHT_IN * DPI)
    camera = Camera.from_fov("pinhole", size, size, max([VIEW_FOV[0], *wanted[wanted <= VIEW_FOV[1]]]))
    return Plane(camera, sphere.rotation_from_pose(*sphere.lonlat_from_direction(target), 0.0))


def _picture(panorama: UInt8Array, heat: NDArray[np.float32] | None, plane: Plane) -> UInt8Array:
    """What a plane shows of a panorama, under a heatmap (H, W) where there is one."""
    picture = np.asarray(sphere_to_view(panorama, plane.camera, plane.rotation), dtype=np.uint8)
    return picture if heat is None else _under(picture, sphere_to_view(heat / heat.max(), plane.camera, plane.rotation))


def _under(picture: UInt8Array, share: NDArray[Any]) -> UInt8Array:
    """A picture (h, w, 3) under the colours of a heatmap's shares (h, w) of its maximum: the larger, the less clear."""
    share = np.clip(share, 0.0, 1.0)
    opacity = HEAT_OPACITY * np.sqrt(share)[..., None]
    colour = 255.0 * mpl.colormaps[HEAT](share)[..., :3]
    return np.asarray(np.rint((1.0 - opacity) * picture + opacity * colour), dtype=np.uint8)


def _frame(view: Plane) -> sphere.FloatArray:
    """Directions (n, 3) around the frame of a view."""
    side = np.linspace(0.0, 1.0, ARC_POINTS)
    x = np.concatenate([side, np.ones_like(side), side[::-1], np.zeros_like(side)])
    pixels = np.stack([x, np.roll(x, ARC_POINTS)], axis=-1) * (view.camera.width, view.camera.height)
    return sphere.rotate(view.rotation, view.camera.rays(pixels).directions)


def _circle(centre: sphere.FloatArray, radius: float) -> sphere.FloatArray:
    """Directions (n, 3) at an angle around a direction."""
    turn = np.linspace(0.0, 2.0 * np.pi, 2 * ARC_POINTS)
    return sphere.exp_map(centre, radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1))


# --- words and numbers ------------------------------------------------------------------------------------------------


def _mark(colour: str) -> dict[str, Any]:
    """Arguments of matplotlib for the mark of an answer."""
    return {"color": colour, "markersize": MARK, "markeredgecolor": "black", "markeredgewidth": 0.6}


def _legend(panels: Panels) -> list[list[tuple[tuple[Line2D, ...], str]]]:
    """Lines of the legend: what is true, then the methods, as many on a line as there is room for."""

    def line(pen: Pen, **how: Any) -> tuple[Line2D, ...]:  # noqa: ANN401 - matplotlib's arguments
        halo = Line2D([], [], color="black", linewidth=pen.line + pen.halo, alpha=0.55)
        return halo, Line2D([], [], linewidth=pen.line, **how)

    def ring(colour: str, shape: str, size: float) -> tuple[Line2D, ...]:
        how: dict[str, Any] = {"linestyle": "none", "marker": shape, "markersize": size, "markerfacecolor": PAPER}
        edges = (("black", PEN.line + PEN.halo), (colour, PEN.line))
        return tuple(Line2D([], [], markeredgecolor=edge, markeredgewidth=width, **how) for edge, width in edges)

    truth = [
        (ring(HEAD, "s", PEN.square), "head"),
        ((*line(PEN, color=TRUTH), *ring(TRUTH, "o", PEN.ring)), "target (consensus)"),
        ((Line2D([], [], linestyle="none", color=POINT, **_DOT),), "annotation (° from the others)"),
        (line(THIN, color=TRUTH, linestyle="--"), "10° and 30° around the target"),
        (line(THIN, color=TRUTH, linestyle=":"), "frame of the view"),
    ]
    methods = [
        (line(PEN, marker=shape, **_mark(colour)), short_name(method.label))
        for method, colour, shape in zip(panels.methods, COLOURS, MARKS, strict=False)
    ]
    room = max(1, int((WIDTH_IN - 0.2) / max(0.5 + LETTER_IN * len(label) for _, label in methods)))
    return [truth, *(methods[start : start + room] for start in range(0, len(methods), room))]


def _draw_legend(figure: Figure, entries: Sequence[tuple[tuple[Line2D, ...], str]], top: float) -> None:
    handles: list[Any] = [own for own, _ in entries]  # matplotlib lays the handles of a tuple over one another
    figure.legend(
        handles, [label for _, label in entries], loc="upper left",
        bbox_to_anchor=(GAP_IN / WIDTH_IN, top), ncols=len(entries), borderpad=0.0, borderaxespad=0.0, columnspacing=1.4,
        handletextpad=0.6,
    )  # fmt: skip


def _draw_scale(figure: Figure, down: float, name: str) -> None:
    """What the colours of the heatmap mean, ``down`` inches below the top: a bar from 0 to its maximum, over grey."""
    height = figure.get_size_inches()[1]
    share = np.linspace(0.0, 1.0, 256)[None, :]
    bar = _under(np.full((1, 256, 3), 128, np.uint8), share)
    text = figure.text(GAP_IN / WIDTH_IN, 1.0 - down / height, f"heatmap of {name}, from 0 to its maximum", va="top")
    width, high = 0.8, 0.09
    right = text.get_window_extent().x1 / figure.dpi + 0.1
    box = (right / WIDTH_IN, 1.0 - (down + high - 0.015) / height, width / WIDTH_IN, high / height)
    axes: Axes = figure.add_axes(box, xticks=[], yticks=[])
    axes.imshow(bar, aspect="auto")
    axes.spines[:].set(linewidth=0.4)


def _write(axes: Axes, panels: Panels, one: Chosen, human: float, sample: Sample, view: Plane) -> None:
    """Beside a row: why it is here, its condition, how far away the target is, how far off each method and annotator was."""
    axes.set_xlim(0.0, TEXT_IN - GAP_IN)
    axes.set_ylim(HEIGHT_IN, 0.0)
    suite, condition = sample.row["suite"], sample.row["condition"]
    arc = np.degrees(sphere.angle_between(sample.head, panels.targets[one.place]))
    lines = [suite] if suite == condition else [suite, condition.removeprefix(f"{suite}=")]
    lines += [f"target {arc:.0f}° away", f"view {np.degrees(view.camera.hfov):.0f}° wide"]
    if panels.by != PRIMARY:
        lines.append(f"{LABELS[panels.by]} {panels.score[one.place]:.3g}")
    axes.text(0.0, LINE_IN, one.why, weight="bold", size=TYPE + 1.5)
    for number, text in enumerate(lines, 2):
        axes.text(0.0, LINE_IN * number, _fitted(text, TEXT_IN - GAP_IN))
    axes.text(0.0, LINE_IN * (len(lines) + 2.5), "angular distance")
    entries = [
        (method.distances[one.place], {"marker": shape, **_mark(colour)})
        for method, colour, shape in zip(panels.methods, COLOURS, MARKS, strict=False)
    ]
    if not np.isnan(human):
        entries.append((human, {"color": POINT, **_DOT}))
    first = len(lines) + 3
    below = int(HEIGHT_IN / LINE_IN) - first
    for number, (distance, mark) in enumerate(entries):
        left, down = TEXT_IN / 2.0 * (number // below), LINE_IN * (first + number % below + 0.5)
        axes.plot(left + 0.05, down - 0.035, linestyle="none", **mark)
        axes.text(left + 0.14, down, f"{distance:.1f}°")


def _fitted(text: str, room: float) -> str:
    """A text cut to ``room`` inches in the middle, since ends tell conditions apart."""
    most = int(room / LETTER_IN)
    return text if len(text) <= most else f"{text[: most - most // 2 - 1]}…{text[-(most // 2) :]}"


def _numbers(panels: Panels, one: Chosen, human: float, sample: Sample) -> Iterator[dict[str, object]]:
    """Rows of ``panels.csv``."""

    def degrees(direction: sphere.FloatArray, name: str) -> dict[str, object]:
        lon, lat = np.degrees(sphere.lonlat_from_direction(direction))
        return {f"{name}_lon_deg": round(float(lon), 6), f"{name}_lat_deg": round(float(lat), 6)}

    target = panels.targets[one.place]
    person = {"panel": one.why, **{name: sample.row[name] for name in ("sample_id", "image_path", "suite", "condition")}}
    for method in panels.methods:
        yield {
            **person,
            **({panels.by: panels.score[one.place]} if panels.by != PRIMARY and method is panels.methods[0] else {}),
            "method": method.label, "file": method.file.name, PRIMARY: method.distances[one.place],
            **degrees(method.directions[one.place], "gaze"), **degrees(target, "target"), **degrees(sample.head, "head"),
        }  # fmt: skip
    if not np.isnan(human):
        yield {**person, "method": HUMAN, PRIMARY: human, **degrees(target, "target"), **degrees(sample.head, "head")}
