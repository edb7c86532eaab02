"""Plots of a board: errors by latitude and arc, their distribution, and who differs from the best.

Conventions
-----------
The error is the primary metric of the board's protocol, in its unit. Bars are the intervals of the rows. Sizes are those of a
paper's text width (7 inches, 8 point type). Predictors keep their colour and marker in every plot: the palette of Okabe and Ito
(2008), told apart by people with any kind of colour vision, with a marker shape beside it; annotators are a dashed line in the
colour of the text. Figures are made without pyplot, so nothing global changes, and without dates, so the same records give the
same files.

Each plot is saved as PNG and as SVG with outlined type, with its data as CSV beside it, and handed on as a second SVG for the
page: real text, and the colours of ink and grid left to the page, so that it follows a dark background.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leaderboard.comparison import ALPHA
from leaderboard.records import Estimate, GroupScores, ScoreRecord
from leaderboard.scale import both_ways
from leaderboard.seeds import Row
from leaderboard.tables import DECIMALS, BoardTables, group_label
from leaderboard.text import inert
from srgaze360.figures import DPI, GRID, INK, PALETTE, STYLE, WIDTH_IN, save_figure
from srgaze360.files import write_text

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")
LEGEND_COLUMNS = 5


class Ticks(NamedTuple):
    """An axis of errors: where it ends, and the distance between ticks."""

    longest: float
    step: float


ERROR_TICKS = {"deg": Ticks(180.0, 30.0), "rad": Ticks(np.pi, 0.5), "fraction of the photo's sides": Ticks(1.0, 0.2)}


class Series(NamedTuple):
    """How a predictor is drawn, and its row of the board."""

    row: Row
    label: str
    colour: str
    marker: str
    human: bool

    @property
    def record(self) -> ScoreRecord:
        """Its record."""
        return self.row.record

    @property
    def primary(self) -> str:
        """The metric that is drawn."""
        return self.row.protocol.primary

    @property
    def error(self) -> str:
        """What is drawn, in words with its unit."""
        return f"{self.row.protocol.error} ({self.row.protocol.unit})"

    @property
    def point_style(self) -> dict[str, Any]:
        """Arguments of matplotlib for its points."""
        return {"color": self.colour, "marker": self.marker, "markersize": 4.0}

    @property
    def line(self) -> Literal["-", "--"]:
        """Style of the line."""
        return "--" if self.human else "-"


class Picture(NamedTuple):
    """A saved plot: its files, its title, what it shows, and an SVG element to put into a page."""

    files: list[Path]
    title: str
    caption: str
    svg: str


class Drawn(NamedTuple):
    """A figure, and the numbers in it: a row per point or interval."""

    figure: Figure
    data: pd.DataFrame


def series(rows: Sequence[Row]) -> list[Series]:
    """Give every row its colour and marker, by its place."""
    drawn = []
    place = 0
    for row in rows:
        colour = INK if row.human else PALETTE[place % len(PALETTE)]
        # past the palette's end, colours return with other markers
        marker = "o" if row.human else MARKERS[(place + place // len(PALETTE)) % len(MARKERS)]
        drawn.append(Series(row, short_name(row.name), colour, marker, row.human))
        place += not row.human
    return drawn


def short_name(name: str, letters: int = 32) -> str:
    """A name, a submitter's too, as one line of text that is not too long."""
    text = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    return text if len(text) <= letters else text[: letters - 1] + "…"


def with_interval(estimates: Sequence[Estimate], least: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Values (k,) and the lengths (2, k) of their bars, NaN where there is none; what lies below ``least`` is drawn there."""
    value, low, high = (
        np.array([getattr(e, name) if getattr(e, name) is not None else np.nan for e in estimates], dtype=np.float64).clip(
            least
        )
        for name in ("value", "low", "high")
    )
    return value, np.stack([value - low, high - value])


def data_rows(one: Series, groups: Sequence[GroupScores]) -> list[dict[str, object]]:
    """The estimates of a predictor for groups, as rows of a plot's data."""
    return [
        {"predictor": one.row.name, "suite": group.suite, "group": group.group, **group.metrics[one.primary].model_dump()}
        for group in groups
    ]


def _legend(figure: Figure, drawn: Sequence[Series], *, lines: bool) -> None:
    handles = [mpl.lines.Line2D([], [], linestyle=s.line if lines else "none", **s.point_style) for s in drawn]
    rows = -(-len(drawn) // LEGEND_COLUMNS)
    columns = -(-len(drawn) // rows)
    figure.legend(
        handles, [s.label for s in drawn], loc="outside upper left", ncols=columns, handletextpad=0.5, columnspacing=1.4
    )


def bands_figure(board: BoardTables, drawn: Sequence[Series], by: str, label: str) -> Drawn | None:
    """Mean error of each predictor in each band of a breakdown; None where people are not grouped by it, or are too few."""
    del board
    bands = [g for g in drawn[0].record.breakdowns if g.by == by]
    rows = [row for one in drawn for row in data_rows(one, [g for g in one.record.breakdowns if g.by == by])]
    if all(row["value"] is None for row in rows):
        return None
    figure = Figure(figsize=(WIDTH_IN, 3.0), layout="constrained")
    axes = figure.subplots()
    offsets = (np.arange(len(drawn)) - (len(drawn) - 1) / 2.0) * min(0.06, 0.5 / len(drawn))
    for one, offset in zip(drawn, offsets, strict=True):
        found = {g.group: g.metrics[one.primary] for g in one.record.breakdowns if g.by == by}
        places = [(place, found[band.group]) for place, band in enumerate(bands) if band.group in found]
        value, errors = with_interval([estimate for _, estimate in places])
        x = [place + offset for place, _ in places]
        axes.errorbar(x, value, yerr=errors, linestyle=one.line, linewidth=1.0, elinewidth=1.3, **one.point_style)
    counts = [band.metrics[drawn[0].primary].people for band in bands]
    names = [group_label(band.group) for band in bands]
    axes.set_xticks(range(len(bands)), [f"{name}\nn = {n}" for name, n in zip(names, counts, strict=True)])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(bands) - 0.5)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel(label)
    axes.set_ylabel(f"mean {drawn[0].row.protocol.error}\n({drawn[0].row.protocol.unit})")
    _legend(figure, drawn, lines=True)
    return Drawn(figure, pd.DataFrame(rows))


def cumulative_figure(board: BoardTables, drawn: Sequence[Series]) -> Drawn | None:
    """Share of people whose error is at most x, on the ranking suite, of whoever has a number there; None if nobody has."""
    del board
    drawn = [one for one in drawn if one.record.overall.metrics[one.primary].value is not None]
    if not drawn:
        return None
    figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
    axes = figure.subplots()
    ticks = ERROR_TICKS[drawn[0].row.protocol.metrics[drawn[0].primary].unit]
    longest = ticks.longest
    grid = np.linspace(0.0, longest, 361)
    found = []
    for place, one in enumerate(drawn):
        table = one.row.samples
        errors = np.sort(table.loc[table["suite"] == one.record.ranking_suite, one.primary].dropna().to_numpy(dtype=np.float64))
        share = np.searchsorted(errors, grid, side="right") / max(len(errors), 1)
        found.append(pd.DataFrame({"predictor": one.row.name, one.primary: grid, "share": share}))
        # markers every sixth of the way, moved a little from predictor to predictor
        axes.plot(grid, share, linestyle=one.line, linewidth=1.4, markevery=(30 + 6 * (place % 10), 60), **one.point_style)
    axes.set_xlim(0.0, longest)
    axes.set_ylim(0.0, 1.01)
    axes.set_xticks(np.arange(0.0, longest + ticks.step / 100.0, ticks.step))
    axes.set_xlabel(drawn[0].error)
    axes.set_ylabel("share of people at or below")
    _legend(figure, drawn, lines=True)
    return Drawn(figure, pd.concat(found, ignore_index=True))


def differences_figure(board: BoardTables, drawn: Sequence[Series]) -> Drawn | None:
    """Paired differences of every predictor from the best, overall; None where there is nobody to compare."""
    overall = next((one for one in board.standings if one.section == "Overall"), None)
    if overall is None:
        return None
    result = overall.result
    by_name = {one.row.name: one for one in drawn}
    figure = Figure(figsize=(WIDTH_IN, 0.75 + 0.24 * len(result.against)), layout="constrained")
    axes = figure.subplots()
    protocol = drawn[0].row.protocol
    written = f"{{:+.{DECIMALS[protocol.metrics[drawn[0].primary].unit]}f}}".format
    rows = []
    for y, (name, found) in enumerate(result.against.items()):
        one, (value, low, high, *_) = by_name[name], found.difference.difference
        # open where the difference is not significant
        face = one.colour if found.adjusted < ALPHA else "none"
        bar = np.array([[value - low], [high - value]])
        axes.errorbar([value], [y], xerr=bar, elinewidth=1.3, markerfacecolor=face, **{**one.point_style, "markersize": 3.0})
        interval = "" if np.isnan(low) else f" ({written(low)} to {written(high)})"  # of one cluster there is none
        axes.text(1.02, y, written(value) + interval, transform=axes.get_yaxis_transform(), va="center", size=7.0)
        numbers = {"difference": value, "low": low, "high": high, "p_holm": found.adjusted}
        rows.append({"predictor": name, "best": result.best, **numbers, "people": result.people, "clusters": result.clusters})
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [short_name(name) for name in result.against])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    scale = both_ways(
        [(found.difference.difference.low, found.difference.difference.high) for found in result.against.values()]
    )
    axes.set_xscale("symlog", linthresh=scale.linear, linscale=0.5)
    axes.set_xlim(scale.start, scale.end)
    axes.set_xticks(scale.ticks, [f"{tick:g}" for tick in scale.ticks])
    axes.minorticks_off()
    error = f"{protocol.error} less that of {short_name(result.best)}"
    axes.set_xlabel(f"{error} ({protocol.unit}, same people; logarithmic beyond {scale.linear:g})")
    return Drawn(figure, pd.DataFrame(rows))


class Plot(NamedTuple):
    """A plot of a board: title, what it shows, and the function that draws it, or returns None where there is nothing to."""

    title: str
    caption: str
    draw: Callable[[BoardTables, Sequence[Series]], Drawn | None]


PLOTS: dict[str, Plot] = {
    "differences": Plot(
        "Differences from the best",
        "Paired over the same people of the ranking suite, with 95 % intervals; open markers are not significant after Holm's "
        "correction.",
        differences_figure,
    ),
    "latitude": Plot(
        "Error against latitude",
        "Means with their intervals, ranking suite.",
        partial(bands_figure, by="target_latitude", label="absolute latitude of the target"),
    ),
    "arc": Plot(
        "Error against arc",
        "Means with their intervals, ranking suite.",
        partial(bands_figure, by="head_target_arc", label="arc from head to target"),
    ),
    "reach": Plot(
        "Error against distance",
        "Means with their intervals.",
        partial(bands_figure, by="reach", label="distance from eyes to target (fractions of the photo's sides)"),
    ),
    "cumulative": Plot(
        "Cumulative distribution of errors", "People of the ranking suite; further up and left is better.", cumulative_figure
    ),
}


def save_plots(board: BoardTables, folder: Path, plots: Mapping[str, Plot]) -> list[Picture]:
    """Draw plots of a board by name into ``folder`` as PNG and SVG, the data beside it as CSV."""
    pictures = []
    with mpl.rc_context(STYLE):
        drawn = series(board.rows)
        for name, plot in plots.items():
            made = plot.draw(board, drawn)
            if made is None:
                continue
            files = save_drawn(made, folder, name)
            pictures.append(Picture(files, plot.title, plot.caption, _for_page(made.figure, name, plot.title)))
    return pictures


def save_drawn(drawn: Drawn, folder: Path, name: str, dpi: int = DPI) -> list[Path]:
    """Write a figure as PNG and SVG and its numbers as CSV; the same figure gives the same bytes."""
    files = [*save_figure(drawn.figure, folder, name, dpi), folder / f"{name}.csv"]
    safe = drawn.data.map(lambda value: inert(value) if isinstance(value, str) else value)
    write_text(files[2], safe.to_csv(index=False, lineterminator="\n"))
    return files


def _for_page(figure: Figure, name: str, title: str) -> str:
    """The figure as an SVG element for a page: text as text, ink and grid in the page's colours, ids of its own."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(
            stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)  # would apply to the whole page
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*"', r"\1\2", svg, count=1)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # plots on one page must not share ids
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    return svg.replace(INK, "currentColor").replace(GRID, "var(--rule)")
