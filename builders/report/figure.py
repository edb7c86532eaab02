"""The condition report of a dataset in one figure, ``conditions.png``.

Conventions
-----------
Angles are degrees. Sizes are inches on a page 7 inches wide, measured from its
upper left corner; no type is smaller than 7 points. Colours are those of Okabe and Ito (2008), told apart by people with any
kind of colour vision; on paper without colour the fill, the stroke and the lightness do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builders.report.tally import WHOLE, density, examples, uniform_arc, uniform_latitude
from srgaze360 import sphere
from srgaze360.dataset import ANNOTATIONS_FILE, SPLITS, Dataset, DatasetInfo, Sample
from srgaze360.drawing import INK, Pen, Plane, draw_people, save, show, style
from srgaze360.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REPORT_FILE = "conditions.png"
WIDTH, DPI, TYPE = 7.0, 200, 7.0
LATITUDE_EDGES = np.arange(-90.0, 91.0, 10.0)
ARC_EDGES = np.arange(0.0, 181.0, 5.0)
BLUE, ORANGE, GREEN, VERMILION, YELLOW, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#f0e442", "#d0d5db"
SPLIT_COLOURS = dict(zip(SPLITS, (BLUE, YELLOW, ORANGE), strict=True))
_OF_EXAMPLES = ("sample_id", "panorama_id", "image_path", "head_u0", "head_v0", "head_u1", "head_v1", "head_lon_deg",
                "head_lat_deg", "head_radius_deg", "gaze_lon_deg", "gaze_lat_deg", "in_frame")  # fmt: skip


# --- the figure -------------------------------------------------------------------------------------------------------


class _Page:
    """A figure laid out from the top down, in inches."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure, self.height = figure, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        box = (left / WIDTH, 1.0 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes: Axes = self.figure.add_axes(box)
        return axes

    def text(self, left: float, top: float, text: str, **how: Any) -> None:  # noqa: ANN401 - matplotlib's arguments
        self.figure.text(left / WIDTH, 1.0 - top / self.height, text, va="top", **how)


class _Line(NamedTuple):
    """A line of the list of conditions: a suite's heading, a condition, or both where they bear one name."""

    label: str
    heading: bool
    counts: Mapping[str, int] | None


PLOT_TOP, PLOT_HEIGHT, BARS_TOP = 0.4, 1.5, 2.54
LINE_HEIGHT = 0.135


def draw_report(out: Path, info: DatasetInfo, rows: pd.DataFrame) -> None:
    """Draw ``conditions.png`` of the dataset in folder ``out``; ``rows`` are those of :func:`builders.report.tally.read_rows`.

    Histograms of the latitudes of heads and targets and of the arcs between them, people per condition, and for every condition
    an example with its people drawn. A panorama that cannot be read leaves a note in its place.
    """
    with style(TYPE):
        save(report_figure(out, info, rows), out / REPORT_FILE, DPI)


def report_figure(out: Path, info: DatasetInfo, rows: pd.DataFrame) -> Figure:
    """The figure that :func:`draw_report` saves; make and save it under :func:`srgaze360.drawing.style`."""
    from matplotlib.figure import Figure

    conditions = [(suite, condition) for suite, names in info.suites.items() for condition in names]
    lists = _balanced(_lines(info, rows))
    panels_top = BARS_TOP + LINE_HEIGHT * max(map(_length, lists)) + 0.45
    columns = min(len(conditions), 4 if len(conditions) <= 24 else 5)
    pitch = WIDTH / columns
    across = min(pitch - 0.1, 3.4)
    down = across / 2.0 + 0.24
    height = panels_top + 0.08 + down * -(-len(conditions) // columns)
    figure = Figure(figsize=(WIDTH, height))
    page = _Page(figure, height)
    _draw_latitudes(page.axes(0.5, PLOT_TOP, 2.8, PLOT_HEIGHT), rows)
    _draw_arcs(page.axes(4.05, PLOT_TOP, 2.8, PLOT_HEIGHT), rows)
    _draw_counts(page, lists)
    _heading(page, 0.05, "a", "Latitude of heads and targets")
    _heading(page, 0.05, "b", "Arc from head to target", left=3.6)
    _heading(page, BARS_TOP - 0.2, "c", "People per suite and condition")
    _heading(page, panels_top - 0.22, "d", "Examples: head (yellow square), great-circle arc (cyan), target (magenta ring)")
    people = _example_people(out, info, examples(rows))
    for index, key in enumerate(conditions):
        row, column = divmod(index, columns)
        left, top = 0.05 + column * pitch, panels_top + 0.06 + row * down
        _draw_example(page, left, top, across, key, people[key])
    return figure


def _heading(page: _Page, top: float, letter: str, text: str, left: float = 0.05) -> None:
    page.text(left, top, letter, weight="bold", size=9.0)
    page.text(left + 0.17, top + 0.015, text, size=8.0)


def _plot_axes(axes: Axes, edges: sphere.FloatArray, label: str, step: float) -> None:
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0.0)
    axes.set_xticks(np.arange(edges[0], edges[-1] + 1.0, step))
    axes.set_xlabel(label)
    axes.set_ylabel("share per degree (%)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_latitudes(axes: Axes, rows: pd.DataFrame) -> None:
    lat = np.linspace(-90.0, 90.0, 181)
    axes.stairs(100.0 * density(rows["head_lat_deg"], LATITUDE_EDGES), LATITUDE_EDGES, fill=True, color=BLUE, alpha=0.3)
    axes.stairs(100.0 * density(rows["head_lat_deg"], LATITUDE_EDGES), LATITUDE_EDGES, color=BLUE, label="heads")
    if rows["arc_deg"].notna().any():
        targets = density(rows["gaze_lat_deg"], LATITUDE_EDGES)
        axes.stairs(100.0 * targets, LATITUDE_EDGES, color=VERMILION, linewidth=1.4, label="targets")
    axes.plot(lat, 100.0 * uniform_latitude(lat), "--", color=INK, linewidth=0.9, label="even over the sphere")
    _plot_axes(axes, LATITUDE_EDGES, "latitude (°)", 30.0)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderpad=0.2, borderaxespad=0.0, columnspacing=1.2)


def _draw_arcs(axes: Axes, rows: pd.DataFrame) -> None:
    whole = rows["lens"] == WHOLE
    mixed = ~whole & (rows["suite"] == "mixed")
    groups = (
        ("photos, suite mixed", mixed, BLUE, "-", True),
        ("photos, test suites", ~whole & ~mixed, ORANGE, "-", False),
        ("whole panoramas", whole, GREEN, (0, (5, 1)), False),
    )
    known = rows["arc_deg"].notna()
    for label, chosen, colour, stroke, fill in groups:
        if not (chosen & known).any():
            continue
        share = 100.0 * density(rows["arc_deg"][chosen], ARC_EDGES)
        if fill:
            axes.stairs(share, ARC_EDGES, fill=True, color=colour, alpha=0.3)
        axes.stairs(share, ARC_EDGES, color=colour, linewidth=1.2, linestyle=stroke, label=label)
    if not known.any():
        axes.text(0.5, 0.6, "no target's direction is known", transform=axes.transAxes, ha="center")
    arc = np.linspace(0.0, 180.0, 181)
    axes.plot(arc, 100.0 * uniform_arc(arc), "--", color=INK, linewidth=0.9, label="target anywhere")
    _plot_axes(axes, ARC_EDGES, "angle between head and target (°)", 30.0)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.06), borderpad=0.0, borderaxespad=0.0, labelspacing=0.3)


# --- people per condition ---------------------------------------------------------------------------------------------


def _lines(info: DatasetInfo, rows: pd.DataFrame) -> list[list[_Line]]:
    """The lines of each suite."""
    sizes = rows.groupby(["suite", "condition", "split"], observed=True).size().to_dict()
    suites = []
    for suite, conditions in info.suites.items():
        counts = {c: {split: int(sizes.get((suite, c, split), 0)) for split in SPLITS} for c in conditions}
        if conditions == [suite]:
            suites.append([_Line(suite, heading=True, counts=counts[suite])])
            continue
        axes, _ = _named(conditions[0])
        heading = f"{suite} ({axes})" if axes not in ("", suite) else suite
        levels = [_Line(_named(condition)[1], heading=False, counts=counts[condition]) for condition in conditions]
        suites.append([_Line(heading, heading=True, counts=None), *levels])
    return suites


def _length(suites: Sequence[Sequence[_Line]]) -> int:
    return sum(map(len, suites))


def _balanced(suites: list[list[_Line]]) -> list[list[list[_Line]]]:
    """Suites in one to three lists side by side, in order, none broken, the longest as short as it can be."""
    total = _length(suites)
    most = 1 if total <= 8 else 2 if total <= 24 else 3
    for capacity in range(max(-(-total // most), *map(len, suites), 1), total + 1):
        lists: list[list[list[_Line]]] = [[]]
        for lines in suites:
            if _length(lists[-1]) + len(lines) > capacity:
                lists.append([])
            lists[-1].append(lines)
        if len(lists) <= most:
            return lists
    return [suites]


def _draw_counts(page: _Page, lists: Sequence[Sequence[Sequence[_Line]]]) -> None:
    from matplotlib.patches import Patch

    everything = [line.counts for suites in lists for lines in suites for line in lines if line.counts]
    largest = max(sum(counts.values()) for counts in everything)
    used = [split for split in SPLITS if any(counts[split] for counts in everything)]
    pitch = (WIDTH - 0.1) / len(lists)
    labels = [_breadth(line.label) for suites in lists for lines in suites for line in lines if line.counts]
    room = min(0.5 * pitch, max(labels) + 0.3)
    for index, suites in enumerate(lists):
        lines = [line for group in suites for line in group]
        axes = page.axes(0.05 + index * pitch + room, BARS_TOP, pitch - room - 0.12, LINE_HEIGHT * len(lines))
        axes.set_ylim(len(lines), 0)
        axes.set_xlim(0.0, largest * (1.0 + 0.45 / (pitch - room - 0.57)))  # room for the number behind the longest bar
        axes.set_axis_off()
        for place, line in enumerate(lines):
            indent = 0.0 if line.heading else 0.1
            text = _fitted(line.label, (room if line.counts else pitch) - indent - 0.1)
            axes.annotate(
                text, (0.0, place + 0.5), (72.0 * (indent - room), 0), textcoords="offset points",
                va="center", weight="bold" if line.heading else "normal", annotation_clip=False,
            )  # fmt: skip
            if line.counts is None:
                continue
            start = 0
            for split in used:
                axes.barh(
                    place + 0.5, line.counts[split], 0.72, start, color=SPLIT_COLOURS[split], edgecolor=INK, linewidth=0.3
                )
                start += line.counts[split]
            axes.annotate(f"{start:,}", (start, place + 0.5), (2.5, 0), textcoords="offset points", va="center")
    handles = [Patch(facecolor=SPLIT_COLOURS[split], edgecolor=INK, linewidth=0.3, label=split) for split in used]
    anchor = (1.0 - 0.05 / WIDTH, 1.0 - (BARS_TOP - 0.22) / page.height)
    page.figure.legend(
        handles=handles, loc="upper right", bbox_to_anchor=anchor, ncols=3, borderpad=0.0, borderaxespad=0.0,
        handlelength=1.0, handleheight=0.8, columnspacing=1.0,
    )  # fmt: skip


def _named(condition: str) -> tuple[str, str]:
    """Axes and levels of a condition: ``tilt_pitch=5,tilt_yaw=90`` has the axes ``pitch, yaw``, the levels ``5, 90``.

    A condition without axes has its name for a level.
    """
    items = [item.partition("=") for item in condition.split(",")]
    if not all(equals for _, equals, _ in items):
        return "", condition
    axes = [axis for axis, _, _ in items]
    first, _, _ = axes[0].partition("_")
    if len(axes) > 1 and all(axis.startswith(f"{first}_") for axis in axes):
        axes = [axis.removeprefix(f"{first}_") for axis in axes]
    return ", ".join(axes), ", ".join(level for _, _, level in items)


def _breadth(text: str) -> float:
    """About how wide a text is, inches: letters of this typeface are 0.59 of its size wide, on average."""
    return len(text) * 0.59 * TYPE / 72.0


def _fitted(text: str, room: float) -> str:
    """A text that fits into ``room`` inches; the middle goes if it does not, since ends tell conditions apart."""
    most = int(room / _breadth("x"))
    tail = most // 2
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[-tail:]}"


# --- examples ---------------------------------------------------------------------------------------------------------


def _example_people(out: Path, info: DatasetInfo, chosen: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], list[Sample]]:
    """Everyone on the chosen panoramas, by (suite, condition)."""
    ids = pa.array(sorted(set(chosen.values())))
    table = pq.read_table(out / ANNOTATIONS_FILE, columns=list(_OF_EXAMPLES), filters=pc.field("panorama_id").isin(ids))
    frame = table.to_pandas()
    frame["gaze_points_deg"] = [[] for _ in range(len(frame))]  # dots of every annotator would not be seen at this size
    people: dict[str, list[Sample]] = {}
    for sample in Dataset(out, info, frame).samples():
        people.setdefault(sample.row["panorama_id"], []).append(sample)
    return {key: people[panorama] for key, panorama in chosen.items()}


def _draw_example(page: _Page, left: float, top: float, width: float, key: tuple[str, str], people: Sequence[Sample]) -> None:
    suite, condition = key
    axes = page.axes(left, top + 0.14, width, width / 2.0)
    # bold type is a seventh wider
    name = _fitted(suite, width / 1.15 if suite == condition else width / 2.0)
    title = axes.annotate(name, (0, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", weight="bold")
    if suite != condition:
        level = _fitted(_named(condition)[1], width - 1.15 * _breadth(name) - 0.08)
        axes.annotate(level, (1, 1), (4, 2), xycoords=(title, "axes fraction"), textcoords="offset points")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=INK, linewidth=0.4)
    try:
        panorama = people[0].panorama()
    except InputError:
        axes.set_facecolor(GREY)
        axes.text(0.5, 0.5, "cannot be read", transform=axes.transAxes, ha="center", va="center")
        return
    pixels = round(width * DPI)
    small = cv2.resize(panorama, (pixels, pixels // 2), interpolation=cv2.INTER_AREA)
    show(axes, np.asarray(small, dtype=np.uint8))
    mark = 2.8
    pen = Pen(line=0.6, halo=0.7, square=mark, ring=mark + 0.4, dot=0.0, box_from=np.pi * mark / (72.0 * width))
    draw_people(axes, Plane.panorama(pixels - pixels % 2), people, pen)
