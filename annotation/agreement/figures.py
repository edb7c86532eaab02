"""Plots of an agreement, for a page and for a paper.

Conventions
-----------
Those of :mod:`srgaze360.figures`; angles are degrees. Every plot is saved as PNG and SVG, with the numbers in it as CSV
beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from annotation.agreement.measure import Agreement
from srgaze360 import sphere
from srgaze360.figures import GRID, INK, PALETTE, STYLE, WIDTH_IN, save_figure
from srgaze360.files import write_text

ARC_EDGES = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 180.0)
LEAST_IN_BIN = 10
BINS = 61
REACH = 0.99  # share of the offsets that the plot of offsets shows


class Drawn(NamedTuple):
    """A figure and the numbers in it."""

    figure: Figure
    data: pd.DataFrame


def deviations_figure(found: Agreement) -> Drawn:
    """Share of people whose annotations deviate from their mean by at most x."""
    figure = Figure(figsize=(WIDTH_IN, 2.8), layout="constrained")
    axes = figure.subplots()
    one = found.spread
    values = {"median": one.deviation_median, "mean": one.deviation_mean, "95 %": one.deviation_95}
    longest = float(np.ceil(np.nanquantile(np.degrees(one.deviation_95), 0.99)))
    grid = np.linspace(0.0, max(longest, 1.0), 241)
    rows = []
    for (name, angles), colour, line in zip(values.items(), PALETTE, ("-", "--", ":"), strict=False):
        ordered = np.sort(np.degrees(angles[~np.isnan(angles)]))
        share = np.searchsorted(ordered, grid, side="right") / max(len(ordered), 1)
        axes.plot(grid, share, color=colour, linestyle=line, linewidth=1.6, label=name)
        rows.append(pd.DataFrame({"deviation": name, "angle_deg": grid, "share": share}))
    axes.set_xlim(0.0, grid[-1])
    axes.set_ylim(0.0, 1.01)
    axes.set_xlabel("angle between a person's annotations and their mean (degrees)")
    axes.set_ylabel("share of people at or below")
    axes.legend(title="of a person's angles", loc="lower right")
    return Drawn(figure, pd.concat(rows, ignore_index=True))


def arc_figure(found: Agreement) -> Drawn | None:
    """Deviation against the arc from head to target: median and quartiles of people; None where heads are not known."""
    target = sphere.spherical_mean(found.annotated.local, found.annotated.weights).direction
    arc = np.degrees(sphere.angle_between(found.annotated.heads, target))
    deviation = np.degrees(found.spread.deviation_mean)
    rows = []
    for low, high in pairwise(ARC_EDGES):
        own = deviation[(arc >= low) & (arc < high) & ~np.isnan(deviation)]
        if len(own) >= LEAST_IN_BIN:
            first, middle, third = np.quantile(own, [0.25, 0.5, 0.75])
            rows.append({"arc_from_deg": low, "arc_to_deg": high, "people": len(own), "first_quartile_deg": first,
                         "median_deg": middle, "third_quartile_deg": third})  # fmt: skip
    if not rows:
        return None
    data = pd.DataFrame(rows)
    figure = Figure(figsize=(WIDTH_IN, 2.8), layout="constrained")
    axes = figure.subplots()
    place = np.arange(len(data))
    middle = data["median_deg"].to_numpy()
    bars = np.stack([middle - data["first_quartile_deg"], data["third_quartile_deg"] - middle])
    axes.errorbar(place, middle, yerr=bars, color=PALETTE[0], marker="o", markersize=4.0, linewidth=1.2, elinewidth=1.4)
    bands = data[["arc_from_deg", "arc_to_deg", "people"]].itertuples(index=False)
    names = [f"{low:g}–{high:g}°\nn = {n}" for low, high, n in bands]
    axes.set_xticks(place, names)
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(data) - 0.5)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("arc from head to the mean annotation")
    axes.set_ylabel("mean deviation (degrees):\nmedian and quartiles of people")
    return Drawn(figure, data)


def offsets_figure(found: Agreement) -> Drawn:
    """Where annotations lie about the mean of the others of the same person, right and up as the photo was seen."""
    offsets, angles = found.offsets.offset_deg, found.offsets.angle_deg
    reach = max(float(np.ceil(np.quantile(angles, REACH))), 1.0)
    edges = np.linspace(-reach, reach, BINS + 1)
    counts, _, _ = np.histogram2d(offsets[:, 0], offsets[:, 1], bins=[edges, edges])
    figure = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    share, place = figure.subplots(1, 2, width_ratios=[1.0, 1.25])

    grid = np.linspace(0.0, reach, 241)
    share.plot(grid, np.searchsorted(np.sort(angles), grid, side="right") / len(angles), color=PALETTE[0], linewidth=1.6)
    share.set_xlim(0.0, reach)
    share.set_ylim(0.0, 1.01)
    share.set_xlabel("angle to the mean of the person's\nother annotations (degrees)")
    share.set_ylabel("share of annotations at or below")

    colours = mpl.colormaps["Blues"].with_extremes(bad="white")
    shown = np.ma.masked_equal(counts.T, 0.0)
    norm = mpl.colors.LogNorm(vmin=0.5, vmax=max(float(counts.max()), 2.0))
    image = place.pcolormesh(edges, edges, shown, cmap=colours, norm=norm, rasterized=True)
    for part, line in ((0.5, "-"), (0.9, "--")):
        radius = float(np.quantile(angles, part))
        place.add_patch(Circle((0.0, 0.0), radius, fill=False, edgecolor=INK, linestyle=line, linewidth=1.2))
        place.plot([], [], color=INK, linestyle=line, linewidth=1.2, label=f"{part:.0%} within {radius:.1f}°")
    place.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.2, handlelength=1.6)
    place.set_aspect("equal")
    place.set_xlim(-reach, reach)
    place.set_ylim(-reach, reach)
    place.set_xlabel("offset to the right (degrees)")
    place.set_ylabel("offset upwards (degrees)")
    plain = mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}")
    figure.colorbar(image, ax=place, label=f"annotations in {edges[1] - edges[0]:.2g}° squares", format=plain)
    middle = (edges[:-1] + edges[1:]) / 2.0
    right, up = np.meshgrid(middle, middle, indexing="ij")
    data = pd.DataFrame({"right_deg": right.ravel(), "up_deg": up.ravel(), "annotations": counts.ravel().astype(int)})
    return Drawn(figure, data[data["annotations"] > 0])


def annotators_figure(found: Agreement) -> Drawn | None:
    """Every annotator: median angle to the others, mean offset, share of outliers, with intervals; None without names."""
    table = found.annotator_table()
    if table.empty:
        return None
    table = table.sort_values("median_deg", ascending=False, ignore_index=True)
    figure = Figure(figsize=(WIDTH_IN, 1.1 + 0.2 * len(table)), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    place = np.arange(len(table))
    series = (
        (panels[0], "median_deg", PALETTE[0], "o", "", 0.0),
        (panels[1], "right_deg", PALETTE[1], "s", "right", -0.12),
        (panels[1], "up_deg", PALETTE[2], "D", "up", 0.12),
        (panels[2], "outliers", PALETTE[5], "^", "", 0.0),
    )
    for axes, name, colour, marker, label, shift in series:
        value = table[name].to_numpy()
        bars = np.stack([value - table[f"{name}_low"], table[f"{name}_high"] - value])
        axes.errorbar(value, place + shift, xerr=bars, color=colour, marker=marker, linestyle="none", markersize=4.0,
                      elinewidth=1.3, label=label, clip_on=False)  # fmt: skip
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(place, [f"{name} ({n})" for name, n in zip(table["annotator"], table["annotations"], strict=True)])
    panels[0].set_ylim(-0.6, len(table) - 0.4)
    panels[0].set_xlim(left=0.0)
    panels[2].set_xlim(left=0.0)
    panels[1].axvline(0.0, color=GRID, linewidth=1.0)
    panels[1].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handletextpad=0.3, columnspacing=1.2)
    panels[0].set_xlabel("median angle to\nthe others' mean (degrees)")
    panels[1].set_xlabel("mean offset (degrees)")
    panels[2].set_xlabel("share of outliers")
    return Drawn(figure, table)


FIGURES: dict[str, Callable[[Agreement], Drawn | None]] = {
    "deviations": deviations_figure,
    "arc": arc_figure,
    "offsets": offsets_figure,
    "annotators": annotators_figure,
}


def save_figures(found: Agreement, folder: Path) -> list[Path]:
    """Draw every plot into ``folder``: PNG, SVG and the numbers as CSV."""
    files = []
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            made = draw(found)
            if made is not None:
                files += save_figure(made.figure, folder, name)
                write_text(folder / f"{name}.csv", made.data.to_csv(index=False, lineterminator="\n"))
                files.append(folder / f"{name}.csv")
    return files
